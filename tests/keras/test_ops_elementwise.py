"""The elementwise functions of ``keras.ops``, in float32 and float64, with first and second derivatives."""

from __future__ import annotations

import pytest

from tests.keras.ops_cases.elementwise import ROWS
from tests.lowering import test_rules
from tests.lowering.case import Case


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [case for rows in ROWS.values() for case in rows], ids=lambda case: case.name)
def test_elementwise_function(case: Case, dtype: str) -> None:
    test_rules.test_row_agrees_with_tensorflow(case, dtype)
