"""What an integration costs over a call by hand, as a ratio of one run: what runs the model twice is noticed."""

from __future__ import annotations

import pathlib

import pytest

from tests.benchmarks import overhead


def test_integrations_cost_little_over_the_call(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # OpenMDAO writes a folder where it runs
    bundle, _ = overhead.exported(tmp_path)
    found = overhead.measure(bundle, 60)
    # On a busy machine 1.0 and 1.5: the value and the gradient are two graphs in CasADi.
    assert found["SciPy, `bundle.flat`"] < 1.5 * found["by hand"]
    assert found["CasADi, its own ONNX Runtime"] < 3 * found["by hand"]
    assert all(text in overhead.table(found) for text in ("Pyomo", "OpenMDAO", "| by hand |"))
