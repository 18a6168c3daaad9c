"""One row of the table of operator tests, and how a row is run: TensorFlow against ONNX Runtime."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from pullback_export.graph.dims import Dim
from pullback_export.graph.serialization import to_model
from pullback_export.lowering.converter import Converter
from pullback_export.optimize.pipeline import finish, new_graph

OPSET = 18
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@dataclasses.dataclass(frozen=True)
class Arg:
    """An input: its shape and how values are drawn. ``draw(rng, shape)`` returns float64, cast to the row's dtype.

    ``dtype`` fixes another dtype (integer indices, booleans): such an input has no gradient. ``free``: axes whose
    size is free in the exported graph (the first one by default).
    """

    shape: tuple[int, ...]
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None
    dtype: str | None = None
    free: tuple[int, ...] = (0,)


def normal(*shape: int) -> Arg:
    return Arg(shape)


def uniform(low: float, high: float, *shape: int) -> Arg:
    return Arg(shape, lambda rng, size: rng.uniform(low, high, size))


def fixed(values: Any, dtype: str | None = None, free: tuple[int, ...] = (0,)) -> Arg:
    """An input with exactly these values: kinks, ties, zeros, infinities."""
    array = np.asarray(values)
    return Arg(array.shape, lambda rng, size: array, dtype, free)


def integers(low: int, high: int, *shape: int, dtype: str = "int32") -> Arg:
    return Arg(shape, lambda rng, size: rng.integers(low, high, size), dtype)


@dataclasses.dataclass(frozen=True)
class Case:
    """``function`` of tensors ``inputs``; ``ops``: TensorFlow ops that forward and gradient graphs must contain.

    ``order``: 0 forward only, 1 with the gradient, 2 with the gradient of the gradient.
    ``smooth``: central differences in float64 agree too (False at kinks and ties).
    A looser ``tolerance`` (one number, both dtypes scaled by it) needs a ``reason``.
    """

    name: str
    ops: str | tuple[str, ...]
    function: Callable[..., Any]
    inputs: tuple[Arg | tuple[int, ...], ...]
    order: int = 1
    smooth: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")
    free: tuple[bool, ...] = (True, False)
    tolerance: dict[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        if self.tolerance and not self.reason:
            raise ValueError(f"{self.name}: a looser tolerance needs a reason")

    @property
    def args(self) -> tuple[Arg, ...]:
        return tuple(item if isinstance(item, Arg) else Arg(item) for item in self.inputs)


def draw_inputs(case: Case, dtype: str) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    arrays = []
    for arg in case.args:
        values = rng.normal(size=arg.shape) if arg.draw is None else arg.draw(rng, arg.shape)
        arrays.append(np.asarray(values).astype(arg.dtype or dtype))
    return arrays


def _weights(tensor: Any) -> Any:
    """A fixed cotangent with no symmetry: ``cos`` of the flat index."""
    flat = tf.cast(tf.range(tf.size(tensor)), tf.float64)
    return tf.cast(tf.reshape(tf.cos(flat * 1.7 + 0.3), tf.shape(tensor)), tensor.dtype)


def _differentiable(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def derivative_function(case: Case) -> Callable[..., list[Any]]:
    """Outputs, gradients of a weighted sum of them, and second-order gradients, as one flat list."""

    def evaluate(*tensors: Any) -> list[Any]:
        watched = [tensor for tensor in tensors if _differentiable(tensor)]
        with tf.GradientTape() as outer:
            outer.watch(watched)
            with tf.GradientTape() as inner:
                inner.watch(watched)
                outputs = tf.nest.flatten(case.function(*tensors))
                results = list(outputs)
                if case.order < 1:
                    return results
                total = tf.add_n([_real_dot(output) for output in outputs if _differentiable(output)])
            first = _gradients(inner, total, watched)
            first = [tf.convert_to_tensor(gradient) for gradient in first]
            again = tf.add_n([_real_dot(gradient) for gradient in first])
        results += first
        if case.order > 1:
            results += _gradients(outer, again, watched)
        return results

    return evaluate


def _gradients(tape: Any, total: Any, watched: list[Any]) -> list[Any]:
    """Dense gradients, zero where nothing leads to ``total``."""
    return [tf.convert_to_tensor(item) for item in tape.gradient(total, watched, unconnected_gradients="zero")]


def _real_dot(tensor: Any) -> Any:
    if tensor.dtype.is_complex:
        real, imag = tf.math.real(tensor), tf.math.imag(tensor)
        return tf.reduce_sum(real * _weights(real)) + tf.reduce_sum(imag * _weights(imag)) * 0.7
    return tf.reduce_sum(tensor * _weights(tensor))


def op_types(graph: Any) -> set[str]:
    """Types of all ops of a function graph and of the functions that it calls."""
    definition = graph.as_graph_def()
    types = {node.op for node in definition.node}
    for function in definition.library.function:
        types |= {node.op for node in function.node_def}
    return types


def answers_of(concrete: Any, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """TensorFlow's answers by the graph as it was traced: to optimise it takes longer than to run it."""
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        return split_complex([item.numpy() for item in concrete(*map(tf.constant, arrays))])
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def convert(concrete: Any, args: Sequence[Arg], free: bool) -> onnx.ModelProto:
    """The ONNX model of a traced function; complex outputs come as ``name`` and ``name_imag``."""
    from pullback_export.lowering.flows.complex_value import ComplexValue

    graph = new_graph()
    inputs = []
    for index, (arg, tensor) in enumerate(zip(args, concrete.inputs, strict=False)):
        shape = tuple(
            (Dim.atom("B") if axis == 0 else Dim.atom(f"n{axis}_{size}")) if free and axis in arg.free else size
            for axis, size in enumerate(arg.shape)
        )
        inputs.append(graph.input(f"x{index}", np.dtype(tensor.dtype.as_numpy_dtype), shape))
    converter = Converter()
    outputs = converter.convert(concrete.graph, inputs, graph)
    converter.check()
    for index, value in enumerate(outputs):
        if isinstance(value, ComplexValue):
            graph.outputs = [*graph.outputs, (f"y{index}", value.real), (f"y{index}_imag", value.imag)]
        else:
            graph.outputs = [*graph.outputs, (f"y{index}", value)]
    finish(graph)
    model = to_model(graph, OPSET, {})
    onnx.checker.check_model(model, full_check=True)
    return model


def run_onnx(model: onnx.ModelProto, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    session = _opened(model.SerializeToString(deterministic=True))
    feeds = {f"x{index}": array for index, array in enumerate(inputs)}
    results = session.run(None, {item.name: feeds[item.name] for item in session.get_inputs()})
    return list(results)


@functools.lru_cache(maxsize=1)
def _opened(content: bytes) -> Any:
    """The last model, which most tests run with several batches."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def split_complex(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    parts: list[np.ndarray[Any, Any]] = []
    for array in arrays:
        parts += [array.real, array.imag] if np.iscomplexobj(array) else [array]
    return parts


def assert_close(
    actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float, what: str, least: float = 1e-30
) -> None:
    """``max|actual - expected| <= tolerance * max(|expected|, least)``; NaN and infinity in the same places."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, TensorFlow {expected.shape}"
    assert actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, TensorFlow {expected.dtype}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite], err_msg=f"{what}: not finite")
    scale = np.abs(expected[finite]).max(initial=0.0)
    error = np.abs(actual[finite] - expected[finite]).max(initial=0.0)
    assert error <= tolerance * max(scale, least) or error == 0, f"{what}: error {error:.3g}, scale {scale:.3g}"
