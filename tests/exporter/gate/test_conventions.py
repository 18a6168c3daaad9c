"""Gradients by convention: they excuse nothing but themselves, and differences of what they declare decide.

Planted is a wrong gradient of ``tanh`` in TensorFlow itself: the live model, the truth and the bundle all have it.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback_export import export
from pullback_export.gate.exact_source import HeldSource
from pullback_export.overrides.declared.held_gradients import NotHeldError
from pullback_export.overrides.registered_gradient import replaced_gradient
from pullback_export.sources.opening import open_source

SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")
WRONG = replaced_gradient("Tanh", lambda right: lambda op, dy: 1.001 * right(op, dy))


@tf.custom_gradient
def straight_through(x: Any) -> Any:
    """Rounds, and passes the gradient."""
    return tf.round(4 * x) / 4, lambda dy: dy


@tf.custom_gradient
def reversed_square(x: Any) -> Any:
    """Its declared slope depends on ``x``."""
    return x**2, lambda dy: -2 * x * dy


@tf.custom_gradient
def two_of_two(x: Any, y: Any) -> Any:
    return (x * y, x - y), lambda dx, dy: (3 * dx + dy, y * dy - dx)


@tf.custom_gradient
def clipped(x: Any) -> Any:
    """Not linear: it has no tangent."""
    return tf.identity(x), lambda dy: tf.clip_by_value(dy, -0.5, 0.5)


def total(value: Any) -> dict[str, Any]:
    return {"y": tf.reduce_sum(value, 1)}


def unrelated(x: Any) -> dict[str, Any]:
    return {**total(tf.tanh(x)), "z": straight_through(x)}


def in_a_loop(x: Any) -> dict[str, Any]:
    return total(tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, straight_through(tf.tanh(v) + x)), [0, x])[1])


class Module(tf.Module):
    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        return total(tf.tanh(self.inner(x)) + tf.tanh(x) * tf.stop_gradient(x))

    @tf.function
    def inner(self, x: Any) -> Any:
        return reversed_square(x) * x


class Stopped(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.tanh(x) * keras.ops.stop_gradient(x) + straight_through(x)


def keras_model() -> Any:
    x = keras.Input((3,), name="x")
    return keras.Model(x, {"y": keras.layers.Dense(1)(Stopped()(keras.layers.Dense(4, "tanh")(x)))})


MODELS: list[tuple[str, Callable[[], Any], tuple[str, ...]]] = [
    ("unrelated", lambda: unrelated, ("gradient(y, x)", "vjp(y, x)")),
    ("beside", lambda: lambda x: total(tf.tanh(x) + straight_through(x)), ("gradient(y, x)", "jvp(y, x)")),
    ("behind", lambda: lambda x: total(tf.tanh(straight_through(x))), ("gradient(y, x)",)),
    ("between two", lambda: lambda x: total(straight_through(tf.tanh(straight_through(x)))), ("gradient(y, x)",)),
    ("before", lambda: lambda x: total(reversed_square(tf.tanh(x))), ("gradient(y, x)", "hessian(y, x)")),
    ("stopped", lambda: lambda x: total(tf.tanh(x) * tf.stop_gradient(x**2)), ("gradient(y, x)", "hvp(y, x)")),
    ("of two", lambda: lambda x: total(tf.add_n(two_of_two(tf.tanh(x), x))), ("gradient(y, x)",)),
    ("in a loop", lambda: in_a_loop, ("gradient(y, x)",)),
    ("module", Module, ("gradient(y, x)",)),
    ("keras", keras_model, ("gradient(y, x)", "jvp(y, x)")),
]
X = np.random.default_rng(3).uniform(0.2, 0.9, (5, 3)).astype(np.float32)


@contextlib.contextmanager
def planted(wrong: bool) -> Iterator[None]:
    with WRONG.active() if wrong else contextlib.nullcontext():
        yield


@pytest.mark.filterwarnings("ignore::pullback_export.errors.ParityWarning")
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize(("name", "build", "requests"), MODELS, ids=[row[0] for row in MODELS])
def test_a_wrong_rule_beside_a_convention_is_refused(
    name: str, build: Callable[[], Any], requests: tuple[str, ...], wrong: bool, tmp_path: pathlib.Path
) -> None:
    model, path = build(), tmp_path / "it.pullback"
    inputs = [SPEC] if name not in ("keras", "module") else None
    with planted(wrong):
        if wrong:
            with pytest.raises(ParityError, match="differs from central differences"):
                export(model, path, requests, inputs=inputs, samples={"x": X}, formats="onnx")
            assert not path.exists()
        else:
            bundle = export(model, path, requests, inputs=inputs, samples={"x": X}, formats="onnx")
            assert bundle.verify().ok


@pytest.mark.filterwarnings("ignore::pullback_export.errors.ParityWarning")
def test_what_is_not_linear_is_a_warning_of_its_own_request(tmp_path: pathlib.Path) -> None:
    def model(x: Any) -> dict[str, Any]:
        return {**total(clipped(3 * x) ** 2), "z": tf.reduce_sum(tf.tanh(x), 1)}

    lines: list[str] = []
    bundle = export(
        model,
        tmp_path / "it",
        ["gradient(y, x)", "gradient(z, x)"],
        inputs=[SPEC],
        formats="onnx",
        progress=lines.append,
    )
    assert bundle.verify().ok
    warned = [line for line in lines if line.startswith("warning")]
    assert len(warned) == 1
    assert warned[0].startswith("warning: dy_dx: differs from central differences")
    assert any("its backward function is not linear" in line for line in lines)
    with WRONG.active(), pytest.raises(ParityError, match="dz_dx: differs from central differences"):
        export(
            model, tmp_path / "it", ["gradient(y, x)", "gradient(z, x)"], inputs=[SPEC], formats="onnx", overwrite=True
        )


def test_a_graph_that_was_traced_before_is_not_held() -> None:
    traced = tf.function(lambda x: total(straight_through(x))).get_concrete_function(SPEC)
    source = open_source(lambda x: traced(x), [SPEC], None, None, False)
    with pytest.raises(NotHeldError, match="traced before"):
        HeldSource(source, {"x": X}).outputs({"x": X})


def test_what_is_held_is_the_tangent() -> None:
    source = open_source(lambda x: total(reversed_square(x) + x * tf.stop_gradient(x)), [SPEC], None, None, False)
    held = HeldSource(source, {"x": X})
    for shift in (0.0, 0.5):
        found = held.outputs({"x": X + shift})["y"]
        expected = X**2 - 2 * X * shift + (X + shift) * X
        np.testing.assert_allclose(found, expected.sum(axis=1, dtype=np.float64), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::pullback_export.errors.ParityWarning")
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("frequency", [3e4, 1e5])
def test_where_no_step_settles_extrapolation_decides(frequency: float, wrong: bool, tmp_path: pathlib.Path) -> None:
    def model(x: Any) -> dict[str, Any]:
        return total(tf.sin(frequency * x) + tf.tanh(x) * frequency)

    spec = tf.TensorSpec([None, 3], tf.float64, name="x")
    with planted(wrong), pytest.raises(ParityError, match="central diff") if wrong else contextlib.nullcontext():
        export(model, tmp_path / "it", ["gradient(y, x)"], inputs=[spec], samples={"x": X}, formats="onnx")
