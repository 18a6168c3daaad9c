"""A manifest that refuses what its own bundle answers is found by the gate."""

from __future__ import annotations

import pathlib

import pullback
import pytest
from pullback_export.gate.declared_inputs import rejected_calls

from tests.error_rates.faults import SizeFault
from tests.error_rates.outcome import try_fault
from tests.error_rates.subjects import RowSubject
from tests.lowering.test_rules import ROWS

GOLDEN = sorted((pathlib.Path(__file__).parents[2] / "golden" / "v1").glob("*.pullback"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_bundles_take_their_own_calls(path: pathlib.Path) -> None:
    bundle = pullback.load(path)
    specs = [function.spec for function in bundle.functions.values()]
    assert not rejected_calls(specs, bundle.samples()).rows


def test_a_call_that_the_manifest_refuses_fails() -> None:
    bundle = pullback.load(GOLDEN[0])
    (name, cases), *_ = bundle.samples().items()
    wide = [
        pullback.golden.Case({key: array[..., None] for key, array in case.inputs.items()}, case.outputs)
        for case in cases[:1]
    ]
    (row,) = rejected_calls([bundle.functions[name].spec], {name: wide}).rows
    assert not row.ok
    assert "the runtime would refuse this call" in row.problem


def test_a_seed_whose_size_is_stated_wrongly_is_caught() -> None:
    """The files are right then: only who calls the bundle would see it."""
    (case,) = (case for case in ROWS if case.name == "conv_strided_same_free")
    outcome = try_fault(SizeFault("__floordiv__", "one too large"), [RowSubject(case)])
    assert outcome.verdict == "caught", outcome
