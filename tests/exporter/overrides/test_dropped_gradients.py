"""Forward mode and second order through gradient operators that TensorFlow omits, or does not differentiate."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.overrides import overrides
from pullback_export.overrides.dropped_gradients import GRADIENTS
from pullback_export.overrides.silent_gradients import REPLACED
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework import ops as tf_ops

from tests.lowering.case import Arg, assert_close, convert, run_onnx
from tests.lowering.test_gradient_registry import LAZY

Function = Callable[[Any], Any]
IMAGE = (2, 4, 5, 3)
RAW = tf.raw_ops


def resized(kind: str, size: tuple[int, int] = (7, 3), **options: Any) -> Function:
    return lambda x: getattr(RAW, kind)(images=tf.tanh(x), size=size, **options)


def scaled(x: Any) -> Any:
    return RAW.ScaleAndTranslate(
        images=tf.tanh(x), size=[6, 3], scale=[1.4, 0.8], translation=[0.3, -0.2], kernel_type="triangle"
    )


def cropped(x: Any, method: str = "bilinear") -> Any:
    """Image and boxes both depend on ``x``."""
    boxes = tf.constant([[0.1, 0.2, 0.8, 0.9], [0.3, 0.1, 0.7, 0.6]])
    return tf.image.crop_and_resize(tf.tanh(x), boxes, [1, 0], [3, 4], method)


def segments(reduce: Callable[..., Any]) -> Function:
    return lambda x: reduce(tf.tanh(x), [0, 3, 1, 2, 3], [0, 0, 1, 3, 3])


def sparse_sum(x: Any) -> Any:
    a = tf.sparse.SparseTensor([[0, 1], [1, 0], [2, 2]], tf.tanh(x[:3]), [3, 4])
    b = tf.sparse.SparseTensor([[0, 0], [1, 0]], tf.sin(x[3:5]), [3, 4])
    return tf.sparse.add(a, b).values


def filled(x: Any) -> Any:
    sparse = tf.sparse.SparseTensor([[0, 1], [2, 0], [3, 2]], tf.tanh(x[:3]), [5, 4])
    result = RAW.SparseFillEmptyRows(
        indices=sparse.indices, values=sparse.values, dense_shape=sparse.dense_shape, default_value=tf.sin(x[3])
    )
    return result.output_values


def ragged_filled(x: Any) -> Any:
    result = RAW.RaggedFillEmptyRows(value_rowids=[0, 0, 3], values=tf.tanh(x[:3]), nrows=5, default_value=tf.sin(x[3]))
    return result.output_values


def sparse_slice(x: Any) -> Any:
    sparse = tf.sparse.SparseTensor([[0, 1], [1, 0], [1, 3], [2, 2]], tf.tanh(x[:4]), [3, 4])
    return tf.sparse.slice(sparse, [1, 0], [2, 3]).values


def quantised(x: Any) -> Any:
    return tf.quantization.fake_quant_with_min_max_args(x, -1, 1)


def quantised_by(x: Any) -> Any:
    """The range depends on ``x`` too."""
    low, high = tf.reduce_min(x) * 0.5, tf.reduce_max(x) * 0.6
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high)


def quantised_per_channel(x: Any) -> Any:
    low, high = tf.reduce_min(x, [0, 1, 2]) * 0.5, tf.reduce_max(x, [0, 1, 2]) * 0.6
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(x, low, high)


# What a row goes through, the function, the shape of its input, and whether it is smooth (else only the law holds).
ROWS: dict[str, tuple[str, Function, tuple[int, ...], bool]] = {
    "bilinear": ("ResizeBilinearGrad", resized("ResizeBilinear", half_pixel_centers=True), IMAGE, True),
    "bilinear_corners": ("ResizeBilinearGrad", resized("ResizeBilinear", align_corners=True), IMAGE, True),
    "bicubic": ("ResizeBicubicGrad", resized("ResizeBicubic", half_pixel_centers=True), IMAGE, True),
    "nearest": ("ResizeNearestNeighborGrad", resized("ResizeNearestNeighbor", half_pixel_centers=True), IMAGE, True),
    "scale_and_translate": ("ScaleAndTranslateGrad", scaled, IMAGE, True),
    "crop": ("CropAndResizeGradImage", cropped, IMAGE, True),
    "crop_nearest": ("CropAndResizeGradImage", partial(cropped, method="nearest"), IMAGE, True),
    "fake_quant": (
        "FakeQuantWithMinMaxArgsGradient",
        lambda x: tf.quantization.fake_quant_with_min_max_args(x, -1, 1),
        (9,),
        False,
    ),
    "fake_quant_vars": ("FakeQuantWithMinMaxVarsGradient", quantised_by, IMAGE, False),
    "fake_quant_channels": ("FakeQuantWithMinMaxVarsPerChannelGradient", quantised_per_channel, IMAGE, False),
    "segment_sum": ("SparseSegmentSumGrad", segments(tf.sparse.segment_sum), (4, 3), True),
    "segment_mean": ("SparseSegmentMeanGrad", segments(tf.sparse.segment_mean), (4, 3), True),
    "segment_sqrt_n": ("SparseSegmentSqrtNGrad", segments(tf.sparse.segment_sqrt_n), (4, 3), True),
    "filled_rows": ("SparseFillEmptyRowsGrad", filled, (4,), True),
    "ragged_filled_rows": ("RaggedFillEmptyRowsGrad", ragged_filled, (4,), True),
    "sparse_add": ("SparseAddGrad", sparse_sum, (5,), True),
    "sparse_slice": ("SparseSliceGrad", sparse_slice, (4,), True),
    "pool_argmax": (
        "MaxPoolGradWithArgmax",
        lambda x: tf.nn.max_pool_with_argmax(tf.sin(x), 2, 2, "SAME")[0],
        IMAGE,
        True,
    ),
    "softsign": ("SoftsignGrad", lambda x: tf.nn.softsign(x * 2), (7,), True),
    "local_response": ("LRNGrad", lambda x: tf.nn.lrn(x, 1, 1.5, 0.7, 0.6), IMAGE, True),
    "cumulative_logsumexp": ("CumulativeLogsumexp", lambda x: tf.math.cumulative_logsumexp(x * 3, 1), (3, 6), True),
    "cumulative_logsumexp_exclusive": (
        "CumulativeLogsumexp",
        lambda x: tf.math.cumulative_logsumexp(x * 3, 1, exclusive=True, reverse=True)[:, :-1],
        (3, 6),
        True,
    ),
}


def dtype_of(name: str) -> str:
    """TensorFlow's kernels of some operators are float32 only."""
    only = ("bilinear", "bicubic", "nearest", "scale", "crop", "fake", "local")
    return "float32" if name.startswith(only) else "float64"


def pulled_back(function: Function, x: Any, w: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tf.convert_to_tensor(tape.gradient(y, x, w))


def pushed_forward(function: Function, x: Any, t: Any) -> Any:
    with tf.GradientTape() as outer:
        seed = tf.zeros_like(function(x))
        outer.watch(seed)
        pulled = pulled_back(function, x, seed)
    return outer.gradient(pulled, seed, t)


@pytest.mark.parametrize("name", ROWS)
def test_forward_mode_is_the_adjoint_of_reverse_mode(name: str) -> None:
    """``<w, jvp t> == <vjp w, t>``, and the row goes through the operator."""
    op_type, function, shape, _ = ROWS[name]
    rng = np.random.default_rng(3)
    x, t = (tf.constant(rng.normal(size=shape), dtype_of(name)) for _ in range(2))
    w = tf.constant(rng.normal(size=function(x).shape), dtype_of(name))
    with overrides():
        left = float(tf.reduce_sum(w * pushed_forward(function, x, t)))
        right = float(tf.reduce_sum(pulled_back(function, x, w) * t))
        traced = tf.function(partial(pulled_back, function)).get_concrete_function(x, w)
    assert abs(left - right) <= (1e-4 if dtype_of(name) == "float32" else 1e-12) * max(abs(right), 1)
    assert abs(right) > 1e-3
    assert op_type in {op.type for op in traced.graph.get_operations()}


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[3]])
def test_second_order_agrees_with_central_differences(name: str) -> None:
    """The derivative of ``<vjp w(x), t>``, where ``w`` depends on ``x`` as well."""
    _, function, shape, _ = ROWS[name]
    single = dtype_of(name) == "float32"
    rng = np.random.default_rng(4)
    x, t, s = (tf.constant(rng.normal(size=shape), dtype_of(name)) for _ in range(3))

    def slope(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(function(x) ** 2)
        return tf.reduce_sum(tf.convert_to_tensor(tape.gradient(value, x)) * t)

    with overrides():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = slope(x)
        predicted = float(tf.reduce_sum(tf.convert_to_tensor(tape.gradient(value, x)) * s))
        step = 1e-2 if single else 1e-5
        measured = float(slope(x + step * s) - slope(x - step * s)) / (2 * step)
    assert abs(predicted - measured) <= (2e-2 if single else 1e-6) * max(abs(measured), 1)


@pytest.mark.parametrize("zero", [False, True])
def test_derivatives_of_cumulative_logsumexp_are_finite(zero: bool) -> None:
    """Cotangents of either sign and of zero; numbers far apart; terms of minus infinity weight."""
    x = tf.constant([[700.0, -700.0, 0.0, 3.0, 3.0]], tf.float64)
    w = tf.zeros_like(x) if zero else tf.constant([[1.0, -2.0, 0.0, 0.5, 1.0]], tf.float64)
    for exclusive in (False, True):
        function = partial(tf.math.cumulative_logsumexp, axis=1, exclusive=exclusive)
        expected = pulled_back(function, x, w)
        with overrides():
            np.testing.assert_allclose(pulled_back(function, x, w), expected, rtol=1e-12, atol=1e-300)
            pushed = pushed_forward(function, x, tf.ones_like(x))
        assert np.isfinite(pushed).all()
        np.testing.assert_allclose(pushed[:, 1 if exclusive else 0 :], 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_lowered(name: str) -> None:
    """ONNX Runtime gives TensorFlow's value, vjp, jvp and the derivative of the vjp."""
    _, function, shape, _ = ROWS[name]
    dtype = dtype_of(name)
    rng = np.random.default_rng(5)
    x, t = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    w = rng.normal(size=function(tf.constant(x)).shape).astype(dtype)

    def derivatives(x: Any, t: Any, w: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            pulled = pulled_back(function, x, w * tf.cast(tf.reduce_sum(x), w.dtype))
        second = tf.convert_to_tensor(tape.gradient(pulled, x, t))
        return [function(x), pulled, pushed_forward(function, x, t), second]

    with overrides():
        concrete = tf.function(derivatives).get_concrete_function(*(tf.TensorSpec(a.shape, dtype) for a in (x, t, w)))
    expected = concrete(*map(tf.constant, (x, t, w)))
    actual = run_onnx(convert(concrete, [Arg(a.shape) for a in (x, t, w)], free=False), [x, t, w])
    for mine, theirs in zip(actual, expected, strict=True):
        assert_close(mine, theirs.numpy(), 2e-5 if dtype == "float32" else 1e-10, name)


# No derivative is lost: constant in every float operand, or no operator of graphs that are exported.
CONSTANT = {
    *("BroadcastGradientArgs", "OneHot", "OnesLike", "Range", "StopGradient", "ZerosLike", "TensorArray"),
    *("Assign", "AssignAdd", "AssignSub"),  # what changes a state is refused
    *("ScatterAdd", "ScatterDiv", "ScatterMul", "ScatterSub", "ScatterNdAdd", "ScatterNdSub", "ScatterNdUpdate"),
    *("CTCBeamSearchDecoder", "CTCGreedyDecoder", "EditDistance"),  # searches, which have no derivative at all
    *("PyFunc", "PyFuncStateless", "RandomUniform", "TruncatedNormal"),  # refused by name
}
# TensorFlow raises LookupError, and ``export`` an error that names operator and layer.
REFUSED = {
    *("BlockLSTMGrad", "CropAndResizeGradBoxes", "FractionalAvgPoolGrad", "FractionalMaxPoolGrad", "IgammaGradA"),
    *("Dilation2DBackpropFilter", "Dilation2DBackpropInput", "RandomGammaGrad", "SparseMatrixSoftmaxGrad"),
    *("BatchNormWithGlobalNormalizationGrad", "RaggedTensorToVariantGradient", "SendTPUEmbeddingGradients"),
    *("CudnnRNNBackprop", "CudnnRNNBackpropV2", "CudnnRNNBackpropV3"),
    *("SparseSegmentMeanGradV2", "SparseSegmentSqrtNGradV2", "SparseSegmentSumGradV2"),
}


def written_by_gradients() -> set[str]:
    """Operators with a float result that the sources of registered gradient functions call."""
    for module in LAZY:
        importlib.import_module(f"tensorflow.python.ops.{module}")
    table = tf_ops.gradient_registry
    functions = [table.lookup(name) for name in table.list()]
    modules = {inspect.getmodule(function) for function in functions if function is not None}
    sources = [inspect.getsource(module) for module in modules if module and "tensorflow" in module.__name__]
    called = set(re.findall(r"\b(\w+)\(", "".join(sources)))
    return {name for name in dir(RAW) if name[0].isupper() and called & {name, snake_case(name)} and is_float(name)}


def snake_case(name: str) -> str:
    """As TensorFlow names the Python function of an operator."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name))
    return parts.lower()


def is_float(name: str) -> bool:
    definition = op_def_registry.get(name)
    if definition is None:
        return False
    attributes = {item.name: item for item in definition.attr}
    floats = {tf.float32.as_datatype_enum, tf.float64.as_datatype_enum}

    def may_be(output: Any) -> bool:
        allowed = attributes[output.type_attr].allowed_values.list.type if output.type_attr else [output.type]
        return not allowed or bool(floats & set(allowed))

    return any(may_be(output) for output in definition.output_arg)


def registered(name: str) -> str:
    try:
        return "not differentiable" if tf_ops.gradient_registry.lookup(name) is None else "yes"
    except LookupError:
        return "nothing"


def test_no_operator_of_a_gradient_drops_its_derivative() -> None:
    """A new one in TensorFlow comes up here: it takes a replacement, or stands in a list with its reason."""
    silent = {name for name in written_by_gradients() if registered(name) == "not differentiable"}
    assert silent - CONSTANT == set(REPLACED)


def test_every_gradient_operator_without_a_gradient_is_known() -> None:
    named = [name for name in written_by_gradients() if "Grad" in name or "Backprop" in name]
    missing = {name for name in named if registered(name) == "nothing"}
    assert missing <= set(GRADIENTS) | REFUSED
    assert set(GRADIENTS) <= missing | {"CropAndResizeGradImage", "RaggedFillEmptyRowsGrad"}


@pytest.mark.parametrize("table", [GRADIENTS, REPLACED], ids=["added", "replaced"])
def test_rows_go_through_every_operator(table: dict[str, Any]) -> None:
    assert set(table) <= {row[0] for row in ROWS.values()} | {"MaxPoolGradGradV2"}
