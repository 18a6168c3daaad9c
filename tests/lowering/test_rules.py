"""Every row of the tables: parity with TensorFlow in float32 and float64, free and fixed sizes, central differences."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

import pytest
from pullback_export.lowering import registry

from tests.lowering import cases
from tests.lowering.case import Case
from tests.lowering.exclusions import ROWLESS
from tests.lowering.row import check_row, variants

ROWS: list[Case] = [
    case
    for module in pkgutil.walk_packages(cases.__path__, "tests.lowering.cases.")
    if not module.ispkg
    for case in importlib.import_module(module.name).CASES
]


@pytest.mark.parametrize(("case", "dtype", "free"), variants(ROWS))
def test_row_agrees_with_tensorflow(case: Case, dtype: str, free: bool) -> None:
    check_row(case, dtype, free)


def test_every_rule_has_a_row() -> None:
    reached = {op for case in ROWS for op in ([case.ops] if isinstance(case.ops, str) else case.ops)}
    assert sorted(set(registry.load_rules()) - reached - set(ROWLESS)) == []


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in ROWS).items() if count > 1] == []
