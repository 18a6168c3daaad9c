"""What operators say of the sizes of their results: one function for each kind.

A rule gives a list with an entry for each axis, None where it does not say, or None for all of them. It says nothing
but what holds in every run in which the operator does not fail. Numbers are TensorFlow's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback_export.overrides.symbolic_sizes.analysis import Partial, Size
from pullback_export.overrides.symbolic_sizes.vectors import Known, constant, vector

Rule = Callable[[Any, int, Known], Partial | None]


def sizes_by_operator(op: Any, index: int, known: Known) -> Partial | None:
    """What the operator's rule says of its result ``index``; None without one."""
    rule = _RULES.get(op.type)
    return rule(op, index, known) if rule is not None else None


def _like(number: int) -> Rule:
    """The first result is as large as the operand of this number."""
    return lambda op, index, known: known(op.inputs[number]) if index == 0 else None


def _each_like_its_own(op: Any, index: int, known: Known) -> Partial | None:
    return known(op.inputs[index])


def _broadcast(op: Any, index: int, known: Known) -> Partial | None:
    return _broadcast_of([known(item) for item in op.inputs])


def _broadcast_of(shapes: list[Any]) -> Partial | None:
    """Axes are aligned at the end; an axis of size 1 follows the others, and all others are equal."""
    if any(shape is None for shape in shapes):
        return None
    rank = max(len(shape) for shape in shapes)
    columns = zip(*([1] * (rank - len(shape)) + list(shape) for shape in shapes), strict=True)
    return [_common([size for size in column if size != 1]) for column in columns]


def _common(others: list[Size]) -> Size | None:
    """The size that all have; None where some might be 1 or differ."""
    return others[0] if others and all(size == others[0] for size in others) else None


def _product(op: Any, index: int, known: Known) -> Partial | None:
    left, right = (known(item) for item in op.inputs)
    names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    turned = [op.get_attr(name) for name in names]
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    batch = _broadcast_of([left[:-2], right[:-2]]) or []
    return [*batch, left[-1 if turned[0] else -2], right[-2 if turned[1] else -1]]


def _window(op: Any, index: int, known: Known) -> Partial | None:
    """Convolutions and poolings keep the batch, and with one step at a time and padding the picture's size."""
    sizes = known(op.inputs[0])
    if sizes is None or index:
        return None
    if op.get_attr("padding") != b"SAME" or any(step != 1 for step in op.get_attr("strides")):
        return [sizes[0], *[None] * (len(sizes) - 1)]
    first = 2 if op.get_attr("data_format").startswith(b"NC") else 1
    pictures = range(first, first + len(sizes) - 2)
    return [size if axis == 0 or axis in pictures else None for axis, size in enumerate(sizes)]


def _reduction(op: Any, index: int, known: Known) -> Partial | None:
    sizes, axes = known(op.inputs[0]), constant(op.inputs[1])
    if sizes is None or axes is None:
        return None
    reduced = {axis % len(sizes) for axis in ([axes] if isinstance(axes, int) else axes)} if sizes else set()
    if op.get_attr("keep_dims"):
        return [1 if axis in reduced else size for axis, size in enumerate(sizes)]
    return [size for axis, size in enumerate(sizes) if axis not in reduced]


def _transpose(op: Any, index: int, known: Known) -> Partial | None:
    sizes, order = known(op.inputs[0]), constant(op.inputs[1])
    return None if sizes is None or order is None else [sizes[axis] for axis in order]


def _expand(op: Any, index: int, known: Known) -> Partial | None:
    sizes, axis = known(op.inputs[0]), constant(op.inputs[1])
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if sizes is None or not isinstance(axis, int):
        return None
    at = axis % (len(sizes) + 1)
    return [*sizes[:at], 1, *sizes[at:]]


def _squeeze(op: Any, index: int, known: Known) -> Partial | None:
    sizes, axes = known(op.inputs[0]), op.get_attr("squeeze_dims")
    if sizes is None or not axes:
        return None
    dropped = {axis % len(sizes) for axis in axes}
    return [size for axis, size in enumerate(sizes) if axis not in dropped]


def _as_told(number: int) -> Rule:
    """The operand of this number is a vector of the result's sizes; -1 in it says nothing."""
    return lambda op, index, known: vector(op.inputs[number], known) if index == 0 else None


def _tile(op: Any, index: int, known: Known) -> Partial | None:
    sizes, times = known(op.inputs[0]), vector(op.inputs[1], known)
    if sizes is None or times is None or len(sizes) != len(times):
        return None
    return [size if time == 1 else time if size == 1 else None for size, time in zip(sizes, times, strict=True)]


def _pack(op: Any, index: int, known: Known) -> Partial | None:
    sizes = known(op.inputs[0])
    if sizes is None:
        return None
    at = op.get_attr("axis") % (len(sizes) + 1)
    return [*sizes[:at], None, *sizes[at:]]


def _unpack(op: Any, index: int, known: Known) -> Partial | None:
    sizes = known(op.inputs[0])
    if not sizes:
        return None
    at = op.get_attr("axis") % len(sizes)
    return [size for axis, size in enumerate(sizes) if axis != at]


def _along(number: int, axis_at: int) -> Rule:
    """All axes are those of the operand of this number, but the one that the operand ``axis_at`` says."""

    def rule(op: Any, index: int, known: Known) -> Partial | None:
        sizes, axis = known(op.inputs[number]), constant(op.inputs[axis_at])
        if sizes is None or not isinstance(axis, int):
            return None
        return [None if at == axis % len(sizes) else size for at, size in enumerate(sizes)]

    return rule


def _gather(op: Any, index: int, known: Known) -> Partial | None:
    sizes, indices, axis = known(op.inputs[0]), known(op.inputs[1]), constant(op.inputs[2])
    if sizes is None or indices is None or not isinstance(axis, int) or op.get_attr("batch_dims"):
        return None
    at = axis % len(sizes)
    return [*sizes[:at], *indices, *sizes[at + 1 :]]


def _pad(op: Any, index: int, known: Known) -> Partial | None:
    sizes, widths = known(op.inputs[0]), constant(op.inputs[1])
    if sizes is None or widths is None:
        return None
    return [size if width == [0, 0] else None for size, width in zip(sizes, widths, strict=True)]


def _slice(op: Any, index: int, known: Known) -> Partial | None:
    """``tf.slice``: from the start, and all or a stated size."""
    sizes, begin, taken = known(op.inputs[0]), constant(op.inputs[1]), vector(op.inputs[2], known)
    if sizes is None or taken is None:
        return None
    starts = begin or [None] * len(sizes)
    return [
        (size if start == 0 else None) if part == -1 else part
        for size, start, part in zip(sizes, starts, taken, strict=True)
    ]


def _strided_slice(op: Any, index: int, known: Known) -> Partial | None:
    """Axes that are taken whole keep their size."""
    sizes = known(op.inputs[0])
    begin, strides = constant(op.inputs[1]), constant(op.inputs[3])
    if sizes is None or strides is None:
        return None
    masks = {name: op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    taken = [at for at in range(len(strides)) if not (masks["new_axis"] | masks["ellipsis"]) >> at & 1]
    found: list[Size | None] = []
    left = list(sizes)
    for at, stride in enumerate(strides):
        if masks["ellipsis"] >> at & 1:
            many = len(left) - sum(later > at for later in taken)
            found, left = [*found, *left[:many]], left[many:]
        elif masks["new_axis"] >> at & 1:
            found.append(1)
        else:
            size, left = left[0], left[1:]
            first = masks["begin"] >> at & 1 or (begin is not None and begin[at] == 0)
            if not masks["shrink_axis"] >> at & 1:
                found.append(size if first and masks["end"] >> at & 1 and stride == 1 else None)
    return [*found, *left]


def _einsum(op: Any, index: int, known: Known) -> Partial | None:
    """Letters; an ellipsis says nothing here."""
    equation = op.get_attr("equation").decode()
    terms, _, result = equation.partition("->")
    if "." in equation:
        return None
    sizes: dict[str, Size] = {}
    for letters, operand in zip(terms.split(","), op.inputs, strict=True):
        found = known(operand)
        if found is None:
            return None
        for letter, size in zip(letters, found, strict=True):
            if size != 1:  # TensorFlow lets no letter broadcast, but what is 1 tells least
                sizes.setdefault(letter, size)
    return [sizes.get(letter) for letter in result]


_LIKE_FIRST = (
    "Identity StopGradient PreventGradient CheckNumerics Snapshot EnsureShape Cast Neg Abs Sign Exp Expm1 Log Log1p"
    " Sqrt Rsqrt Square Reciprocal Inv Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Sigmoid Erf Erfc"
    " Erfinv Ndtri Lgamma Digamma Floor Ceil Round Rint IsNan IsInf IsFinite LogicalNot Relu Relu6 LeakyRelu Elu Selu"
    " Softplus Softsign Softmax LogSoftmax BiasAdd ZerosLike OnesLike FusedBatchNormV3 Cumsum Cumprod ReverseV2 Roll"
    " LRN AddN TanhGrad SigmoidGrad SqrtGrad RsqrtGrad InvGrad ReciprocalGrad MaxPoolGrad MatrixInverse Cholesky"
    " MatrixBandPart TensorScatterUpdate TensorScatterAdd ClipByValue"
)
# The first operand of these is a cotangent, of which less is known than of the second.
_LIKE_SECOND = "ReluGrad Relu6Grad EluGrad SeluGrad SoftplusGrad SoftsignGrad LeakyReluGrad FusedBatchNormGradV3"
_BROADCASTS = (
    "Add AddV2 Sub Mul Div RealDiv DivNoNan MulNoNan FloorDiv FloorMod TruncateDiv TruncateMod Mod Maximum Minimum Pow"
    " SquaredDifference Xdivy Xlogy Xlog1py Atan2 Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd"
    " LogicalOr SelectV2"
)
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_LIKE_FIRST.split(), _like(0)),
    **dict.fromkeys(_LIKE_SECOND.split(), _like(1)),
    **dict.fromkeys(_BROADCASTS.split(), _broadcast),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _product),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative", "AvgPool", "MaxPool"), _window),
    **dict.fromkeys(("AvgPool3D", "MaxPool3D"), _window),
    **dict.fromkeys(("Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm"), _reduction),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2", "AvgPoolGrad", "AvgPool3DGrad"), _as_told(0)),
    **dict.fromkeys(("DepthwiseConv2dNativeBackpropInput", "Fill", "Empty", "StridedSliceGrad"), _as_told(0)),
    **dict.fromkeys(("Reshape", "BroadcastTo"), _as_told(1)),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _pad),
    "IdentityN": _each_like_its_own,
    "Transpose": _transpose,
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "ScatterNd": _as_told(2),
    "Tile": _tile,
    "Pack": _pack,
    "Unpack": _unpack,
    "Split": _along(1, 0),
    "SplitV": _along(0, 2),
    "ConcatV2": _along(0, -1),
    "GatherV2": _gather,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "Einsum": _einsum,
}
