"""Drawn configurations of one family of ops: value and gradient agree with TensorFlow, whatever is drawn.

The inputs are small whole numbers, and so are the cotangents: sums of products are then exact in every order, an error
is an error of the rule, and ties are frequent.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import numpy as np
import onnx
import pytest
import tensorflow as tf
from hypothesis import HealthCheck
from hypothesis import strategies as st
from pullback_export.graph.dims import Dim
from pullback_export.graph.serialization import to_model
from pullback_export.lowering.converter import Converter
from pullback_export.optimize.pipeline import finish, new_graph
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

from tests.lowering.case import OPSET, Arg, _differentiable, _gradients, assert_close, run_onnx

EXAMPLES = pytest.mark.parametrize("examples", [8, pytest.param(500, marks=pytest.mark.slow)])
"""How many configurations a test draws: always the same few in ``make test``, 500 new ones in ``make test-all``."""

TOLERANCE = {"float32": 4e-6, "float64": 1e-12}
DTYPES = st.sampled_from(["float32", "float64"])
SIZES = st.sampled_from([0, 1, 1, 2, 3, 4, 5, 7])
REFUSED = (ValueError, TypeError, NotImplementedError, LookupError, tf.errors.OpError)


@dataclasses.dataclass(frozen=True)
class Example:
    """``function`` of tensors ``args`` in ``dtype``. ``text`` says what was drawn, for the reader of a failure."""

    text: str
    function: Callable[..., Any]
    args: tuple[Arg, ...]
    dtype: str = "float32"
    gradient: bool = True

    def __repr__(self) -> str:
        inputs = ", ".join(f"{arg.dtype or self.dtype}{list(arg.shape)} free {list(arg.free)}" for arg in self.args)
        return f"{self.text} of {inputs}"


def whole_numbers(low: int = -3, high: int = 3) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    return lambda rng, shape: rng.integers(low, high, shape, endpoint=True)


@st.composite
def inputs(
    draw: st.DrawFn,
    shape: Sequence[int],
    freeable: Sequence[int] | None = None,
    values: Callable[..., Any] = whole_numbers(),
    dtype: str | None = None,
) -> Arg:
    """An input of ``shape``, each of its axes (of ``freeable`` only, where given) free or fixed."""
    axes = range(len(shape)) if freeable is None else freeable
    free = tuple(axis for axis in axes if draw(st.booleans())) if draw(st.booleans()) else ()
    return Arg(tuple(shape), values, dtype, free)


def shapes(low: int, high: int, sizes: st.SearchStrategy[int] = SIZES) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of ``low`` to ``high`` axes."""
    return st.lists(sizes, min_size=low, max_size=high).map(tuple)


def agrees_with_tensorflow(strategy: st.SearchStrategy[Example], examples: int) -> None:
    """Draws ``examples`` examples and checks each; one that TensorFlow itself refuses does not count."""

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def check_drawn(example: Example) -> None:
        check(example)

    check_drawn()


def check(example: Example) -> None:
    """ONNX Runtime gives TensorFlow's values and gradients."""
    arrays = _arrays(example)
    specs = [
        tf.TensorSpec([None if axis in arg.free else size for axis, size in enumerate(arg.shape)], array.dtype)
        for arg, array in zip(example.args, arrays, strict=True)
    ]
    try:
        with safe_convolution():
            concrete = tf.function(_value_and_gradients(example), autograph=False).get_concrete_function(*specs)
        expected = [item.numpy() for item in concrete(*map(tf.constant, arrays))]
    except REFUSED as problem:
        hypothesis.reject() if _is_refusal(problem) else None
        raise
    if not expected:
        hypothesis.reject()
    actual = run_onnx(_converted(concrete, example.args), arrays)
    for index, (mine, theirs) in enumerate(zip(actual, expected, strict=True)):
        # The scale is at least that of the inputs.
        assert_close(mine, theirs, TOLERANCE.get(example.dtype, 0), f"{example}: output {index}", least=1.0)


def _is_refusal(problem: Exception) -> bool:
    """Whether TensorFlow says that the configuration is none, and not that the test is wrong."""
    return not isinstance(problem, TypeError) or "DataType" in str(problem)


def _arrays(example: Example) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(zlib.crc32(repr(example).encode()))
    return [
        np.asarray(rng.normal(size=arg.shape) if arg.draw is None else arg.draw(rng, arg.shape)).astype(
            arg.dtype or example.dtype
        )
        for arg in example.args
    ]


def _value_and_gradients(example: Example) -> Callable[..., list[Any]]:
    def evaluate(*tensors: Any) -> list[Any]:
        watched = [tensor for tensor in tensors if _differentiable(tensor)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = tf.nest.flatten(example.function(*tensors))
            totals = [tf.reduce_sum(y * _cotangent(y)) for y in outputs if _differentiable(y)]
            total = tf.add_n(totals) if totals else None
        if total is None or not watched or not example.gradient:
            return list(outputs)
        return [*outputs, *_gradients(tape, total, watched)]

    return evaluate


def _cotangent(y: Any) -> Any:
    """-3, 2, 0, -2, 3, 1, -1 in turn."""
    return tf.cast(tf.reshape(tf.range(tf.size(y)) * 5 % 7 - 3, tf.shape(y)), y.dtype)


def _converted(concrete: Any, args: Sequence[Arg]) -> onnx.ModelProto:
    """The ONNX model; every free axis has a size of its own."""
    graph = new_graph()
    values = []
    for index, (arg, tensor) in enumerate(zip(args, concrete.inputs, strict=False)):
        dims = [Dim.atom(f"x{index}_{axis}") if axis in arg.free else size for axis, size in enumerate(arg.shape)]
        values.append(graph.input(f"x{index}", np.dtype(tensor.dtype.as_numpy_dtype), tuple(dims)))
    converter = Converter()
    results = converter.convert(concrete.graph, values, graph)
    converter.check()
    graph.outputs = [(f"y{index}", value) for index, value in enumerate(results)]
    finish(graph)
    model = to_model(graph, OPSET, {})
    onnx.checker.check_model(model, full_check=True)
    return model
