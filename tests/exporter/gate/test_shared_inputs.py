"""The gate on inputs that all rows share: what it draws, and derivatives by them that are wrong."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.derivatives.tape_step import Step
from pullback_export.gate.live_model import joined
from pullback_export.gate.sampling.given import read_samples
from pullback_export.gate.sampling.resampling import Resampler
from pullback_export.sources.source import Source

from tests.exporter import test_shared_inputs as shared_inputs

X, P = np.arange(12.0).reshape(4, 3), np.array([0.1, 2.0, -3.0])


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_rows_of_any_number_belong_to_the_same_shared_input(rows: int) -> None:
    """It is drawn as it was given, whatever its first axis is; only extreme samples change it."""
    specs = tf.TensorSpec([None, 3], tf.float64, "x"), tf.TensorSpec([3], tf.float64, "p")
    source = Source("function", specs, ("y",), lambda *tensors: tensors, True, shared=frozenset("p"))
    (given,) = read_samples(source, {"x": X, "p": P})
    assert given.count == 4
    drawn = Resampler(source, [given]).draw("usual", rows, {}, 1)
    np.testing.assert_array_equal(drawn["p"], P)
    assert drawn["x"].shape == (rows, 3)
    assert not Resampler(source, [given]).draw("zeros", rows, {}, 1)["p"].any()
    (alone,) = read_samples(source, {"p": P})
    assert alone.numbers is not None
    assert set(alone.arrays) == {"p"}


def test_samples_go_together_where_they_share_the_same() -> None:
    one, other = {"x": X, "p": P}, {"x": X[:2], "p": P}
    together = joined([one, other], {"p"})
    assert together is not None
    assert {name: array.shape for name, array in together.items()} == {"x": (6, 3), "p": (3,)}
    assert joined([one, {**other, "p": P + 1}], {"p"}) is None
    assert joined([one, {**other, "x": X[:, :2]}], {"p"}) is None


def scaled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a step of differentiation wrong by a percent, where rows share the input."""
    right = getattr(Step, name)

    def wrong(self: Any, *args: Any) -> Any:
        found = right(self, *args)
        return found * 1.01 if self._is_shared else found

    monkeypatch.setattr(Step, name, wrong)


@pytest.mark.parametrize(
    ("request_", "step"),
    [("gradient(e, p)", "_forward"), ("jacobian(y, p)", "_forward"), ("hessian(e, x, p)", "_forward"),
     ("derivative(e, t)", "_forward"), ("vjp(y, p)", "vjp"), ("vjp(e, t)", "vjp"), ("jvp(y, p)", "jvp")],
)  # fmt: skip
def test_differences_contradict_a_wrong_derivative(
    request_: str, step: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live model, the graphs and the truth are wrong alike: only central differences can tell."""
    scaled(step, monkeypatch)
    with pytest.raises(pullback.ParityError, match="differs from central differences"):
        export(
            shared_inputs.oscillator,
            tmp_path / "b",
            [request_],
            inputs=shared_inputs.specs("float32", 4),
            batched=True,
            formats="onnx",
        )


def test_laws_contradict_it_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two requests by the shared input are bound by one."""
    right = Step.jvp
    monkeypatch.setattr(Step, "jvp", lambda self, tangent: right(self, tangent) * (1.01 if self._is_shared else 1.0))
    requests = ["jacobian(y, p)", "jvp(y, p)"]
    with pytest.raises(pullback.ParityError, match="contradict each other: J t == jvp t"):
        export(
            shared_inputs.oscillator,
            tmp_path / "b",
            requests,
            inputs=shared_inputs.specs("float32", 4),
            batched=True,
            formats="onnx",
        )
