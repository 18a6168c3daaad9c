"""``BundleComp`` in OpenMDAO: partials forward and reverse, points side by side, an optimum."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import openmdao.api as om
import pullback
import pytest
import tensorflow as tf
from pullback.integrations.openmdao import BundleComp
from pullback_export import export


@pytest.fixture(autouse=True)
def outputs_elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMDAO writes reports into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENMDAO_REPORTS", "0")


def problem(bundle: pullback.Bundle, points: int, mode: str = "auto") -> Any:
    found = om.Problem()
    found.model.add_subsystem("net", BundleComp(bundle, vec_size=points), promotes=["*"])
    found.setup(mode=mode)
    rng = np.random.default_rng(0)
    for tensor in bundle.spec.inputs:
        found.set_val(tensor.name, rng.uniform(-1, 1, found.get_val(tensor.name).shape))
    found.run_model()
    return found


@pytest.mark.parametrize("points", [1, 3])
def test_check_partials(valley: pullback.Bundle, pair: pullback.Bundle, products: pullback.Bundle, points: int) -> None:
    """At the default settings of ``check_partials``: the step follows the dtype of the model."""
    for bundle in (valley, pair, products):
        bound = 2e-3 if bundle.spec.inputs[0].dtype == "float32" else 1e-7
        checked = problem(bundle, points).check_partials(out_stream=None)["net"]
        for pair_, found in checked.items():
            error, size = found["abs error"], found["magnitude"].fd
            for way in (error.forward, error.reverse):
                assert way is None or way <= bound * max(size, 1), (bundle.path, pair_, way)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_totals_are_those_of_the_bundle(pair: pullback.Bundle, products: pullback.Bundle, mode: str) -> None:
    for bundle in (pair, products):
        found = problem(bundle, 1, mode)
        totals = found.compute_totals(["u", "s"], ["a", "b"])
        feeds = {name: found.get_val(name)[None] for name in "ab"}
        expected = pair(**feeds)
        for (of, wrt), total in totals.items():
            want = getattr(expected, f"d{of}_d{wrt}")[0].reshape(total.shape)
            np.testing.assert_allclose(total, want, rtol=1e-12, atol=1e-14)


def test_an_optimum(valley: pullback.Bundle) -> None:
    found = om.Problem(driver=om.ScipyOptimizeDriver(optimizer="SLSQP", tol=1e-9, disp=False))
    found.model.add_subsystem("net", BundleComp(valley), promotes=["*"])
    found.model.add_design_var("x", lower=-2, upper=2)
    found.model.add_objective("y")
    found.setup()
    found.set_val("x", [-0.5, 0.5, 0.2])
    found.run_driver()
    np.testing.assert_allclose(found.get_val("x"), 1, atol=2e-2 if valley.spec.inputs[0].dtype == "float32" else 1e-3)


def test_one_evaluation_gives_values_and_partials(pair: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes values alone does not pay for partials after its first step."""
    runs: list[int] = []
    plain = BundleComp._evaluate

    def counted(self: Any, feeds: Any, names: list[str]) -> Any:
        runs.append(len(names))
        return plain(self, feeds, names)

    monkeypatch.setattr(BundleComp, "_evaluate", counted)
    found = problem(pair, 1)
    first = found.compute_totals(["u"], ["a"])
    np.testing.assert_array_equal(found.compute_totals(["u"], ["a"])["u", "a"], first["u", "a"])
    assert runs == [6]
    for shift in (1.0, 2.0, 3.0):
        found.set_val("a", [0.1 + shift, 0.2])
        found.run_model()
        found.run_model()
    assert runs == [6, 6, 2, 2, 2, 2, 2]
    moved = found.compute_totals(["u"], ["a"])
    found.set_val("a", [0.4, 0.2])
    found.run_model()
    assert runs[7:] == [4, 6]
    expected = pair(a=[[3.1, 0.2]], b=found.get_val("b")[None])
    np.testing.assert_allclose(moved["u", "a"], expected.du_da[0], rtol=1e-12)
    assert not np.allclose(first["u", "a"], moved["u", "a"])


def test_what_is_missing_is_named(tmp_path: pathlib.Path, pair: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="vec_size=0"):
        BundleComp(pair, vec_size=0)
    inputs = [tf.TensorSpec([None, 2], tf.float64, "x")]
    bare = export(lambda x: {"y": tf.sin(x)}, tmp_path / "bare.pullback", inputs=inputs)
    with pytest.raises(pullback.NotExportedError, match=r"jacobian\(y, x\)"):
        BundleComp(bare)
