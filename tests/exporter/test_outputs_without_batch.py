"""Outputs without a batch axis beside batched ones: a regularisation term, a constant vector, a counter."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback import InputError
from pullback_export import ExportError, compare, export

SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")
RNG = np.random.default_rng(0)


class Model(tf.Module):
    def __init__(self) -> None:
        self.w = tf.Variable(RNG.normal(size=(3, 2)).astype(np.float32))
        self.steps = tf.Variable(17, trainable=False)

    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        return {
            "y": tf.tanh(x @ self.w),
            "energy": tf.reduce_sum(x**2 * tf.nn.softplus(x), 1),
            "penalty": 1e-2 * tf.reduce_sum(self.w**2),
            "centre": tf.constant([0.5, 1.5, -2.0, 4.0]),
            "steps": tf.identity(self.steps),
            "flag": tf.constant([[True, False]]),
        }


SHARED: dict[str, tuple[tuple[int, ...], str]] = {
    "penalty": ((), "float32"),
    "centre": ((4,), "float32"),
    "steps": ((), "int32"),
    "flag": ((1, 2), "bool"),
}
REQUESTS = ("gradient(energy, x)", "hessian(energy, x)", "jacobian(y, x)", "vjp(y, x)", "jvp(y, x)", "hvp(energy, x)")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, pathlib.Path]:
    model, path = Model(), tmp_path_factory.mktemp("shared") / "it.pullback"
    export(model, path, REQUESTS)
    return model, path


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_they_are_one_for_all_rows(exported: tuple[Model, pathlib.Path], backend: str) -> None:
    model, path = exported
    bundle = pullback.load(path, backend=backend, threads=2)
    assert bundle.verify().ok
    specs = {spec.name: spec for spec in bundle.spec.outputs}
    for name, (shape, dtype) in SHARED.items():
        assert (specs[name].shape, specs[name].dtype) == (shape, dtype)
    assert specs["y"].shape == ("B", 2)
    for rows in (0, 1, 2, 7, 5000):
        x = RNG.normal(size=(rows, 3)).astype(np.float32)
        expected, found = model(tf.constant(x)), bundle(x)
        for name, want in expected.items():
            np.testing.assert_allclose(getattr(found, name), want, rtol=1e-5, atol=1e-5)
            assert getattr(found, name).shape == want.shape
        assert found.denergy_dx.shape == (rows, 3)
    only = bundle(x, fetch=("steps", "energy"))
    assert only.steps == 17
    assert only.energy.shape == (5000,)
    with pytest.raises(InputError, match="batch axis in every input and output"):
        bundle(x, chunk=100)


def test_directions_and_flat_views(exported: tuple[Model, pathlib.Path]) -> None:
    bundle = pullback.load(exported[1])
    x, seeds = np.ones((2, 3), np.float32), np.eye(3, dtype=np.float32)[:, None].repeat(2, 1)
    tangents = bundle.jvp(x=x, fwd_x=seeds)
    np.testing.assert_allclose(tangents.fwd_y.transpose(1, 2, 0), bundle(x).dy_dx, rtol=1e-5, atol=1e-6)
    flat = bundle.flat(of="energy", wrt="x")
    np.testing.assert_allclose(flat.gradient(x[0]), bundle(x).denergy_dx[0], rtol=1e-6)
    np.testing.assert_allclose(flat.hess(x[0]), bundle(x).d2energy_dx2[0], rtol=1e-6)


def test_compare_knows_them(exported: tuple[Model, pathlib.Path]) -> None:
    model, path = exported
    assert compare(model, path, {"x": RNG.normal(size=(5, 3))}).ok
    model.steps.assign_add(1)
    try:
        report = compare(model, path, {"x": RNG.normal(size=(5, 3))})
    finally:
        model.steps.assign_sub(1)
    assert {row.output for row in report.failures} == {"steps"}


REFUSED: list[tuple[Any, tuple[str, ...], str]] = [
    (lambda x: {"y": x, "mean": tf.reduce_mean(x)}, (), "'mean' has no batch axis and changes with the samples"),
    (lambda x: {"y": x, "mean": tf.reduce_mean(x, 0, keepdims=True)}, (), "'mean' has no batch axis and changes"),
    (lambda x: {"y": x, "rows": tf.shape(x)[0]}, (), "'rows' has no batch axis and changes"),
    (lambda x: {"y": x, "c": tf.constant(1.0)}, ("gradient(c, x)",), "c has no batch axis; export with batched=False"),
    (lambda x: {"y": x, "c": tf.constant([1.0, 2.0])}, ("vjp(c, x)",), "c has no batch axis"),
    (lambda x: {"y": x, "some": tf.boolean_mask(x, x[:, 0] > 0)}, (), "'some' has no batch axis"),
]


@pytest.mark.parametrize(("model", "requests", "problem"), REFUSED)
def test_what_depends_on_the_batch_is_refused(
    model: Any, requests: tuple[str, ...], problem: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ExportError, match=problem):
        export(model, tmp_path / "it", requests, inputs=[SPEC])
    assert not list(tmp_path.iterdir())
