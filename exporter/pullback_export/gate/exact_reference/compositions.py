"""Operators that TensorFlow has no float64 kernel of, made of operators that it has one of: formulas, not kernels.

Each row gives the function that takes the place of the operator, from its attributes. It is traced in float64, with
free sizes, and called by the rewritten graph.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.gate.exact_reference import grouped_convolutions

_numbers = itertools.count()
F64, I32 = tf.float64, tf.int32


@dataclasses.dataclass(frozen=True)
class Composition:
    """``build(attributes)`` is a function of tensors, whose dtypes and ranks are ``specs(attributes)``."""

    build: Callable[[Mapping[str, Any]], Callable[..., Sequence[Any]]]
    specs: Callable[[Mapping[str, Any]], Sequence[tf.TensorSpec]]

    def definition(self, attributes: Mapping[str, Any]) -> Any:
        """The ``FunctionDef``, under a name of its own."""
        traced = tf.function(self.build(attributes), autograph=False).get_concrete_function(*self.specs(attributes))
        definition = type(traced.function_def)()
        definition.CopyFrom(traced.function_def)
        definition.signature.name = f"__composed_{next(_numbers)}"
        return definition


def _free(rank: int, dtype: tf.DType = F64) -> tf.TensorSpec:
    return tf.TensorSpec([None] * rank, dtype)


# Batch normalization: ``core/kernels/fused_batch_norm_op.cc``.


def _layout(attributes: Mapping[str, Any]) -> tuple[int, list[int], list[int]]:
    """The rank, the axes that are summed over, and the shape in which a vector of channels broadcasts."""
    layout = attributes["data_format"].s.decode()
    channel = layout.index("C")
    axes = [axis for axis in range(len(layout)) if axis != channel]
    return len(layout), axes, [-1 if axis == channel else 1 for axis in range(len(layout))]


def _batch_norm(version: int, attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    _, axes, vector = _layout(attributes)
    training, epsilon = attributes["is_training"].b, attributes["epsilon"].f
    factor = attributes["exponential_avg_factor"].f if "exponential_avg_factor" in attributes else 1.0

    def run(x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Sequence[Any]:
        here, spread = mean, variance
        new_mean, new_variance = mean, variance
        if training:
            count = tf.cast(tf.size(x) / tf.maximum(tf.size(scale), 1), F64)
            here = tf.reduce_mean(x, axes)
            spread = tf.reduce_mean(tf.square(x - tf.reshape(here, vector)), axes)
            new_mean, new_variance = here, spread * count / tf.maximum(count - 1, 1)
            if factor != 1.0:
                new_mean = (1 - factor) * mean + factor * new_mean
                new_variance = (1 - factor) * variance + factor * new_variance
        inverse = tf.math.rsqrt(spread + epsilon) * scale
        y = (x - tf.reshape(here, vector)) * tf.reshape(inverse, vector) + tf.reshape(offset, vector)
        reserved = [here, spread, tf.zeros([0], F64)]
        return [tf.identity(item) for item in (y, new_mean, new_variance, *reserved[: 3 if version == 3 else 2])]

    return run


def _batch_norm_specs(attributes: Mapping[str, Any]) -> Sequence[tf.TensorSpec]:
    return [_free(_layout(attributes)[0]), *[_free(1)] * 4]


def _batch_norm_grad(version: int, attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    """With ``x`` normalized, in training ``dx = scale / s (dy - mean(dy) - x mean(dy x))``."""
    _, axes, vector = _layout(attributes)
    training, epsilon = attributes["is_training"].b, attributes["epsilon"].f

    def run(dy: Any, x: Any, scale: Any, mean: Any, variance: Any, *_: Any) -> Sequence[Any]:
        inverse = tf.math.rsqrt(variance + epsilon)
        normal = (x - tf.reshape(mean, vector)) * tf.reshape(inverse, vector)
        slope = tf.reshape(scale * inverse, vector)
        dx = dy * slope
        if training:
            along = tf.reshape(tf.reduce_mean(dy * normal, axes), vector)
            dx = slope * (dy - tf.reshape(tf.reduce_mean(dy, axes), vector) - normal * along)
        return [dx, tf.reduce_sum(dy * normal, axes), tf.reduce_sum(dy, axes), tf.zeros([0], F64), tf.zeros([0], F64)]

    return run


def _batch_norm_grad_specs(version: int, attributes: Mapping[str, Any]) -> Sequence[tf.TensorSpec]:
    rank = _layout(attributes)[0]
    return [_free(rank), _free(rank), *[_free(1)] * (4 if version == 3 else 3)]


# Average pooling of volumes: of planes, and then along the depth. What is averaged over is a box, padded or not.


def _pool_3d(attributes: Mapping[str, Any]) -> Callable[[Any], Any]:
    size, strides = list(attributes["ksize"].list.i), list(attributes["strides"].list.i)
    padding = attributes["padding"].s.decode()

    def run(x: Any) -> Any:
        shape = tf.shape(x)
        planes = tf.reshape(x, [shape[0] * shape[1], shape[2], shape[3], shape[4]])
        planes = tf.nn.avg_pool2d(planes, size[2:4], strides[2:4], padding)
        inner = tf.shape(planes)[1:]
        lines = tf.reshape(planes, [shape[0], shape[1], inner[0] * inner[1], inner[2]])
        lines = tf.nn.avg_pool2d(lines, [size[1], 1], [strides[1], 1], padding)
        return tf.reshape(lines, [shape[0], tf.shape(lines)[1], inner[0], inner[1], inner[2]])

    return run


def _pool_3d_grad(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    pool = _pool_3d(attributes)

    def run(shape: Any, dy: Any) -> Sequence[Any]:
        with tf.GradientTape() as tape:
            x = tf.zeros(shape, F64)
            tape.watch(x)
            y = pool(x)
        return [tape.gradient(y, x, dy)]

    return run


# Local response normalization: ``y = x (bias + alpha sum of x**2 over neighbouring channels) ** -beta``.


def _lrn(attributes: Mapping[str, Any]) -> Callable[[Any], Any]:
    radius = attributes["depth_radius"].i
    bias, alpha, beta = (attributes[name].f for name in ("bias", "alpha", "beta"))

    def run(x: Any) -> Any:
        channels = tf.shape(x)[3]
        padded = tf.pad(tf.square(x), [[0, 0], [0, 0], [0, 0], [radius, radius]])
        near = tf.add_n([padded[..., shift : shift + channels] for shift in range(2 * radius + 1)])
        return x * tf.pow(bias + alpha * near, -tf.constant(beta, F64))

    return run


def _lrn_grad(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    forward = _lrn(attributes)

    def run(dy: Any, x: Any, _: Any) -> Sequence[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = forward(x)
        return [tape.gradient(y, x, dy)]

    return run


# Bilinear resizing: a product with a matrix of weights along each axis; ``core/kernels/image/resize_bilinear_op.cc``.


def _weights(before: Any, after: Any, attributes: Mapping[str, Any]) -> Any:
    """``(after, before)``."""
    wide, long = tf.cast(before, F64), tf.cast(after, F64)
    scale = wide / long
    if attributes["align_corners"].b:
        scale = tf.where(after > 1, (wide - 1) / tf.maximum(long - 1, 1), scale)
    at = tf.cast(tf.range(after), F64)
    at = (at + 0.5) * scale - 0.5 if attributes["half_pixel_centers"].b else at * scale
    lower = tf.floor(at)
    share = (at - lower)[:, tf.newaxis]
    first = tf.one_hot(tf.cast(tf.maximum(lower, 0), I32), before, dtype=F64)
    second = tf.one_hot(tf.minimum(tf.cast(tf.math.ceil(at), I32), before - 1), before, dtype=F64)
    return (1 - share) * first + share * second


def _bilinear(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    def run(x: Any, size: Any) -> Sequence[Any]:
        shape = tf.shape(x)
        rows, columns = _weights(shape[1], size[0], attributes), _weights(shape[2], size[1], attributes)
        return [tf.einsum("ih,jw,bhwc->bijc", rows, columns, x)]

    return run


def _bilinear_grad(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    def run(dy: Any, x: Any) -> Sequence[Any]:
        before, after = tf.shape(x), tf.shape(dy)
        rows, columns = _weights(before[1], after[1], attributes), _weights(before[2], after[2], attributes)
        return [tf.einsum("ih,jw,bijc->bhwc", rows, columns, dy)]

    return run


def _fixed(*ranks: int, ints: int = -1) -> Callable[[Mapping[str, Any]], Sequence[tf.TensorSpec]]:
    """Tensors of these ranks; the one of number ``ints`` holds int32."""
    return lambda attributes: [_free(rank, I32 if number == ints else F64) for number, rank in enumerate(ranks)]


def _one(build: Callable[[Mapping[str, Any]], Callable[..., Any]]) -> Callable[..., Callable[..., Sequence[Any]]]:
    """The same with its result in a list."""

    def built(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
        function = build(attributes)
        return lambda *tensors: [function(*tensors)]

    return built


COMPOSITIONS: dict[str, Composition] = {
    "AvgPool3D": Composition(_one(_pool_3d), _fixed(5)),
    "AvgPool3DGrad": Composition(_pool_3d_grad, _fixed(1, 5, ints=0)),
    "LRN": Composition(_one(_lrn), _fixed(4)),
    "LRNGrad": Composition(_lrn_grad, _fixed(4, 4, 4)),
    "ResizeBilinear": Composition(_bilinear, _fixed(4, 1, ints=1)),
    "ResizeBilinearGrad": Composition(_bilinear_grad, _fixed(4, 4)),
}
for _version, _suffix in ((1, ""), (2, "V2"), (3, "V3")):
    COMPOSITIONS[f"FusedBatchNorm{_suffix}"] = Composition(functools.partial(_batch_norm, _version), _batch_norm_specs)
    COMPOSITIONS[f"FusedBatchNormGrad{_suffix}"] = Composition(
        functools.partial(_batch_norm_grad, _version), functools.partial(_batch_norm_grad_specs, _version)
    )


# Of operators that have a kernel, though not for convolutions in groups.
IN_GROUPS = {"Conv2DBackpropInput": Composition(grouped_convolutions.backprop_input, _fixed(1, 4, 4, ints=0))}


def composition(op: Any, attributes: Mapping[str, Any], before: Sequence[int], groups: bool) -> Composition | None:
    """What takes the place of ``op``, whose operands have the dtypes ``before``; None where nothing does.

    ``groups``: it may be a convolution in groups.
    """
    found = COMPOSITIONS.get(op.name) or (IN_GROUPS.get(op.name) if groups else None)
    if found is None or any(tf.as_dtype(dtype).is_integer and tf.as_dtype(dtype) != I32 for dtype in before):
        return None
    layout = attributes["data_format"].s.decode() if "data_format" in attributes else ""
    if ("Pool3D" in op.name and layout != "NDHWC") or (op.name in IN_GROUPS and layout != "NHWC"):
        return None
    return found
