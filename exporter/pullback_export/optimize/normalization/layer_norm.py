"""Layer normalisation as ONNX's ``LayerNormalization``, whose mean and inverse deviation its derivative reads as well.

TensorFlow writes it out: mean, difference, square, mean, root, and ``x * (scale / deviation) + (offset - mean * (scale
/ deviation))``, nine passes over memory. ONNX Runtime's operator makes two or three
(onnxruntime/core/providers/cpu/nn/layer_norm_impl.cc); its own search (layer_norm_fusion.cc) wants another order of
operators, and that nobody else reads them. Only float32: of float64 the operator returns mean and deviation as float32.
Results may change in the last place.

The rule meets the mean first. It looks ahead for a whole normalisation and puts the operator there; what follows, met
later, is recognised as results of that operator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from pullback_export.graph.values import Array, Node, Region, Value
from pullback_export.optimize.normalization.terms import Arithmetic
from pullback_export.optimize.rewrite import made_by, number_of, other_operand

_X, _MEAN, _INVERSE = "x", "mean", "inverse"


def layer_norm(graph: Region, node: Node) -> Value | None:
    """The mean, the deviation and its inverse, and the result, as those of one operator."""
    if node.outputs[0].dtype != np.float32:
        return None
    if node.op_type == "ReduceMean":
        return _mean(graph, node)
    if node.op_type == "Sqrt":
        norm = _known(_moments(node))
        return graph.emit("Reciprocal", [norm.outputs[2]]) if norm is not None else None
    return _result(node) if node.op_type in ("Mul", "Add", "Sub", "Div", "Reciprocal") else None


@dataclasses.dataclass(frozen=True)
class _Moments:
    """What ``sqrt(mean((x - mean) ** 2) + epsilon)`` is made of; ``row``: sizes of the axes of the means."""

    x: Value
    mean: Value
    row: tuple[int, ...]
    epsilon: float


@dataclasses.dataclass(frozen=True)
class _Affine:
    """``(x - mean) / deviation * scale + offset``, each for a whole row."""

    scale: Array
    offset: Array


def _mean(graph: Region, node: Node) -> Value | None:
    """The mean of the operator, where a whole normalisation follows ``node``."""
    for root in _chain(node.outputs[0], "Sub", "Mul", "ReduceMean", "Add", "Sqrt"):
        moments = _moments(root)
        if moments is None or moments.mean is not node.outputs[0] or _row(node) != moments.row:
            continue
        deviation = root.outputs[0]
        names = Arithmetic({moments.x: _X, moments.mean: _MEAN}, {deviation: _INVERSE}, moments.row)
        affine = _widest(names, deviation)
        if affine is not None:
            operands = [moments.x, *(graph.constant(item, np.float32) for item in (affine.scale, affine.offset))]
            attributes = {"axis": -len(moments.row), "epsilon": moments.epsilon}
            return graph.emit_many("LayerNormalization", operands, attributes, 3)[1]
    return None


def _chain(value: Value, *op_types: str) -> Iterator[Node]:
    """Where readers of readers of ``value`` are of these types, the last ones."""
    for reader in dict.fromkeys(value.uses()):
        if isinstance(reader, Node) and reader.op_type == op_types[0]:
            yield from _chain(reader.outputs[0], *op_types[1:]) if op_types[1:] else [reader]


def _moments(root: Node) -> _Moments | None:
    """Of a deviation."""
    total = made_by(root.inputs[0], "Add")
    for variance, constant in other_operand(total) if total is not None else ():
        means, epsilon = made_by(variance, "ReduceMean"), number_of(constant)
        square = made_by(means.inputs[0], "Mul") if means is not None else None
        if means is None or square is None or epsilon is None or not 0 <= epsilon < np.inf:
            continue
        one, other = (made_by(value, "Sub") for value in square.inputs)
        row = _row(means)
        if one is None or other is None or one.inputs != other.inputs or row is None:
            continue
        x, mean = one.inputs
        if x is not None and mean is not None and x.shape == square.outputs[0].shape:
            return _Moments(x, mean, row, epsilon)
    return None


def _row(means: Node) -> tuple[int, ...] | None:
    """Sizes of the axes that a mean goes over, where these are the last ones and stay as axes of one."""
    x, axes = means.inputs[0], means.inputs[1] if len(means.inputs) > 1 else None
    if x is None or not x.shape or axes is None or axes.const is None or not means.attributes.get("keepdims", 1):
        return None
    first = x.rank - axes.const.size
    sizes = tuple(size for size in x.dims[first:] if isinstance(size, int) and size > 0)
    is_last = {int(axis) % x.rank for axis in axes.const.ravel()} == set(range(first, x.rank))
    return sizes if sizes and is_last and len(sizes) == axes.const.size else None


def _widest(names: Arithmetic, deviation: Value) -> _Affine | None:
    """The affine function that most of what is computed from the deviation leads to."""
    found, front = None, [deviation]
    while front:
        readers = [reader for value in front for reader in value.uses() if isinstance(reader, Node)]
        front = [item.outputs[0] for item in dict.fromkeys(readers) if names.terms(item.outputs[0]) is not None]
        found = next((affine for value in front if (affine := _affine(names, value)) is not None), found)
    return found


def _affine(names: Arithmetic, value: Value) -> _Affine | None:
    """Where ``value`` is an affine function of the normalised ``x``, which one."""
    terms = dict(names.terms(value) or {})
    scale, minus = terms.pop((_INVERSE, _X), None), terms.pop((_INVERSE, _MEAN), None)
    offset = terms.pop((), np.zeros(()))
    if terms or scale is None or minus is None or not np.array_equal(scale, -minus):
        return None
    return _Affine(*(np.broadcast_to(item, names.row).astype(np.float32) for item in (scale, offset)))


def _known(moments: _Moments | None) -> Node | None:
    """The operator that has these moments."""
    norm = made_by(moments.mean, "LayerNormalization") if moments is not None else None
    if norm is None or moments is None or norm.inputs[0] is not moments.x:
        return None
    same = norm.attributes["axis"] == -len(moments.row) and norm.attributes["epsilon"] == moments.epsilon
    return norm if same else None


def _result(node: Node) -> Value | None:
    """The result or the inverse deviation of an operator, where ``node`` computes it from its other results."""
    for norm in dict.fromkeys(_norms(node, 4)):
        x, *constants = norm.inputs
        own = [item.const for item in constants if item is not None and item.const is not None]
        if x is None or len(own) != 2:
            continue
        result, mean, inverse = norm.outputs
        roots = [item for item in inverse.uses() if isinstance(item, Node) and item.op_type == "Reciprocal"]
        known = {x: _X, mean: _MEAN, inverse: _INVERSE}
        names = Arithmetic(known, {root.outputs[0]: _INVERSE for root in roots}, own[0].shape)
        terms = names.terms(node.outputs[0])
        if terms is not None and list(terms) == [(_INVERSE,)] and (terms[_INVERSE,] == 1).all():
            return inverse
        affine = _affine(names, node.outputs[0])
        if affine is not None and all(map(np.array_equal, (affine.scale, affine.offset), own)):
            return result
    return None


def _norms(node: Node, depth: int) -> Iterator[Node]:
    """Operators among what ``node`` is made of."""
    for value in node.inputs:
        maker = value.node if value is not None else None
        if maker is not None and maker.op_type == "LayerNormalization":
            yield maker
        elif maker is not None and depth and maker.op_type in ("Mul", "Add", "Sub", "Neg", "Reciprocal"):
            yield from _norms(maker, depth - 1)
