"""Every function of ``keras.ops``: rows that agree with TensorFlow, or a reason why there are none."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.keras.ops_table import EXCLUDED, FAMILIES, public_names
from tests.lowering.case import Case
from tests.lowering.row import check_row, variants

ROWS = [case for table in FAMILIES.values() for rows in table.values() for case in rows]


@pytest.mark.parametrize(("case", "dtype", "free"), variants(ROWS))
def test_function_agrees_with_tensorflow(case: Case, dtype: str, free: bool) -> None:
    check_row(case, dtype, free)


def test_every_function_has_a_row_or_a_reason() -> None:
    covered = {name for table in FAMILIES.values() for name in table}
    assert sorted(set(public_names()) - covered - set(EXCLUDED)) == []


def test_tables_name_functions_of_keras() -> None:
    named = {name for table in FAMILIES.values() for name in table} | set(EXCLUDED)
    assert sorted(named - set(public_names()) - {name for name in named if hasattr_path(name)}) == []


def test_nothing_is_both_covered_and_excluded() -> None:
    assert sorted({name for table in FAMILIES.values() for name in table} & set(EXCLUDED)) == []


def test_row_names_are_unique() -> None:
    counts = Counter(case.name for table in FAMILIES.values() for rows in table.values() for case in rows)
    assert [name for name, count in counts.items() if count > 1] == []


def hasattr_path(name: str) -> bool:
    """Whether ``keras.ops`` has ``name``, which may be an alias of a function listed under another name."""
    import keras

    item: object = keras.ops
    for part in name.split("."):
        item = getattr(item, part, None)
    return item is not None
