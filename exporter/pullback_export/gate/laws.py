"""Laws between the derivatives of a bundle: what one of them says of the same map, another has to say too.

For a map ``f`` with Jacobian ``J`` and, where it is scalar, Hessian ``H``::

    <w, jvp t> == <vjp w, t>       J t == jvp t        w J == vjp w
    H == H'                        H v == hvp v        trace H == Laplacian

Of several outputs, the weighted Hessian is symmetric too, and the sum of the Hessians with its weights; times ``v``
it is the hvp with the same weights.

They hold at every point where derivatives exist, and need no differences. A gradient operator that TensorFlow has no
derivative of, for one, makes a jvp zero where the vjp is right. Every term is compared with the sum of the absolute
values of what it is a sum of, so that cancellation counts for nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from pullback.parity import Report, Row
from pullback.selection import Selection

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Function
from pullback_export.gate.live_answers import Live
from pullback_export.gate.samples import last_finite
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
# In float64, with room for constants that gradient rules hold in float32; and where the live model in float32 is all
# there is, or some operator of the truth.
BOUND, LOOSE_BOUND = 1e-6, 1e-3
_SUM = "bi,bijk->bjk"  # of Hessians with weights
ORDER = "order of differentiation"


@dataclasses.dataclass(frozen=True)
class Answered:
    """A request with its result, unscaled, ``(B, *rest)`` in float64, and its seed, the direction of an hvp.

    ``widths`` counts the components of each input that it is about; None for an inner layer. ``weights`` are the other
    seed of an hvp of several outputs.
    """

    request: Request
    result: Array
    seed: Array | None
    widths: tuple[int | None, ...] = ()
    weights: Array | None = None


@dataclasses.dataclass(frozen=True)
class Pair:
    """What two requests say of one quantity, and the size that their difference is measured by; ``(B, ...)``."""

    law: str
    first: Request
    second: Request
    left: Array
    right: Array
    size: Array


def laws(functions: Sequence[Function], live: Live) -> Report:
    """One row for each law that two requests of the bundle are bound by, on an ordinary sample."""
    if live.interacting:
        return Report()  # there is no derivative of one sample then
    chosen = last_finite(live.samples, live.answers[0], live.centre)
    answered: list[Answered] = []
    bound = BOUND
    for index, function in enumerate(functions):
        reference = live.answers[index][chosen]
        if reference is None:
            continue
        truth = live.truths[index].of(chosen)
        exact = set(truth) == set(reference) and live.exact.functions[function.name].coverage.exact
        if not exact and live.source.dtype == "float32":
            bound = LOOSE_BOUND
        answered += _of_function(function, reference | truth, live.inputs[index][chosen], live.source)
    return check_laws(answered, bound, live.samples[chosen].label)


def check_laws(answered: Sequence[Answered], bound: float, label: str) -> Report:
    """The laws between these answers; a broken one is a failure that names both requests."""
    rows = []
    for pair in _pairs(answered):
        finite = np.isfinite(pair.left) & np.isfinite(pair.right)
        error = np.abs(np.subtract(pair.left, pair.right, where=finite, out=np.zeros(pair.left.shape)))
        error = np.where(np.isnan(pair.left) != np.isnan(pair.right), math.inf, error)
        largest = float(error.max(initial=0.0))
        scale = float(pair.size[np.isfinite(pair.size)].max(initial=0.0))
        problem = ""
        if largest > bound * scale:
            relative = largest / scale if scale else math.inf
            problem = f"{pair.first} and {pair.second} contradict each other: {pair.law} is off by {relative:.2g}"
        worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape)) if error.size else None
        rows.append(
            Row(
                f"law {pair.law}: {label}",
                f"{pair.first} and {pair.second}",
                "float64",
                pair.left.shape,
                largest,
                float(np.sqrt(np.mean(np.square(error)))) if error.size else 0.0,
                scale,
                bound,
                worst,
                problem,
            )
        )
    return Report(tuple(rows))


def _of_function(
    function: Function, results: Mapping[str, Array], inputs: Mapping[str, Array], source: Source
) -> Iterator[Answered]:
    """The requests whose result is theirs alone, with one batch axis in any case.

    By an input that all rows share, what they say together is that of one sample, whose output has the rows. Where rows
    meet points, pairs of them are the batch, and by an input that has only one of these axes, that axis is.
    """
    for request in function.requests:
        if sum(other.name == request.name for other in function.requests) > 1:
            continue
        missing = {axis for item in request.wrt for axis in source.missing(item.name)}
        of = request.wrt[0].name if request.kind == "vjp" else request.of.name  # whose batch axes the result has
        result = _with_one_batch(np.asarray(results[request.name], np.float64) / request.scale, of, missing, source)
        seeds = [
            _with_one_batch(np.asarray(inputs[seed.name], np.float64), seed.owner.name, missing, source)
            for seed in request.seeds
        ]
        if result.size:
            widths = tuple(_width(item, inputs, source.depth(item.name)) for item in request.wrt)
            weights = seeds[0] if len(seeds) > 1 else None
            yield Answered(request, result, seeds[-1] if seeds else None, widths, weights)


def _with_one_batch(array: Array, of: str, missing: Set[int], source: Source) -> Array:
    """``array``, which has the batch axes of ``of``, with the ``missing`` ones behind, and the others as one."""
    kept = [axis for axis in range(source.batch_axes) if axis not in missing]
    if not kept:
        return array[np.newaxis]
    if kept == [1] and not source.missing(of):
        array = array.swapaxes(0, 1)
    return array.reshape(math.prod(array.shape[: len(kept)]), *array.shape[len(kept) :])


def _width(selection: Selection, inputs: Mapping[str, Array], lead: int) -> int | None:
    if selection.name not in inputs:
        return None
    whole = inputs[selection.name]
    sample = np.empty(whole.shape[lead:], bool)
    return sample[selection.of_sample(lead)].size if selection.index else sample.size


def _pairs(answered: Sequence[Answered]) -> Iterator[Pair]:
    for one, other in itertools.permutations(answered, 2):
        law = _LAWS.get((one.request.kind, other.request.kind))
        if law is not None and (_about_the_same(one.request, other.request) or _of_one_block(one, other)):
            yield from law(one, other)
    for one in answered:
        if one.request.kind in _SECOND:
            yield from _symmetric(one)
    for one, other in itertools.combinations(answered, 2):
        kinds = {one.request.kind, other.request.kind}
        same = one.request.of == other.request.of and one.request.wrt != other.request.wrt
        if same and sorted(map(str, one.request.wrt)) == sorted(map(str, other.request.wrt)):
            if kinds == {"derivative"}:
                yield Pair(ORDER, one.request, other.request, one.result, other.result, np.abs(one.result))
            elif len(kinds) == 1 and kinds <= _SECOND:
                yield from _transposed(one, other)


def _about_the_same(one: Request, other: Request) -> bool:
    return one.of == other.of and set(one.wrt) == set(other.wrt) and len(set(one.wrt)) == 1


def _of_one_block(one: Answered, other: Answered) -> bool:
    """Whether both are of the same mixed second derivatives: a dense one, in either order, and a product."""
    first, second = one.request, other.request
    mixed = first.kind in _SECOND and second.kind == "hvp" and len(second.wrt) == 2
    return mixed and first.of == second.of and second.wrt in (first.wrt, first.wrt[::-1])


def _products(matrix: Array, vector: Array, of_rows: bool) -> tuple[Array, Array]:
    """``matrix @ vector``, or ``vector @ matrix``, per sample, and the same of absolute values."""
    rows = "bij,bi->bj" if of_rows else "bij,bj->bi"
    return np.einsum(rows, matrix, vector), np.einsum(rows, np.abs(matrix), np.abs(vector))


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _matrix(matrix: Array, columns: int) -> Array:
    """``(B, *out, *in)`` as ``(B, out, in)``."""
    return matrix.reshape(len(matrix), -1, columns)


def _transposes(jvp: Answered, vjp: Answered) -> Iterator[Pair]:
    """``<w, jvp t> == <vjp w, t>``."""
    assert jvp.seed is not None and vjp.seed is not None
    forward, backward = _flat(vjp.seed) * _flat(jvp.result), _flat(vjp.result) * _flat(jvp.seed)
    size = np.abs(forward).sum(axis=1) + np.abs(backward).sum(axis=1)
    yield Pair("<w, jvp t> == <vjp w, t>", vjp.request, jvp.request, forward.sum(axis=1), backward.sum(axis=1), size)


def _along(jacobian: Answered, jvp: Answered) -> Iterator[Pair]:
    """``J t == jvp t``."""
    assert jvp.seed is not None
    product, size = _products(_matrix(jacobian.result, _flat(jvp.seed).shape[1]), _flat(jvp.seed), False)
    yield Pair("J t == jvp t", jacobian.request, jvp.request, product, _flat(jvp.result), size)


def _against(jacobian: Answered, vjp: Answered) -> Iterator[Pair]:
    """``w J == vjp w``."""
    assert vjp.seed is not None
    product, size = _products(_matrix(jacobian.result, _flat(vjp.result).shape[1]), _flat(vjp.seed), True)
    yield Pair("w J == vjp w", jacobian.request, vjp.request, product, _flat(vjp.result), size)


def _equal(gradient: Answered, jacobian: Answered) -> Iterator[Pair]:
    """A gradient is a Jacobian of one row."""
    left, right = _flat(gradient.result), _flat(jacobian.result)
    yield Pair("gradient == Jacobian", gradient.request, jacobian.request, left, right, np.abs(left))


def _square(hessian: Answered) -> Array | None:
    """``(B, out, in, in2)``, or None where an inner layer's size is not known."""
    first, second = hessian.widths
    return None if first is None or second is None else hessian.result.reshape(len(hessian.result), -1, first, second)


def _square_for(hessian: Answered, hvp: Answered) -> Array | None:
    """The same with the input of the direction last."""
    square = _square(hessian)
    same = square is None or len(hvp.request.wrt) == 1 or hvp.request.wrt == hessian.request.wrt
    return square if same else np.asarray(square).swapaxes(2, 3)


def _symmetric(hessian: Answered) -> Iterator[Pair]:
    """``H == H'``."""
    square = _square(hessian)
    if square is not None and len(set(hessian.request.wrt)) == 1:
        yield Pair("H == H'", hessian.request, hessian.request, square, square.swapaxes(2, 3), np.abs(square))


def _transposed(one: Answered, other: Answered) -> Iterator[Pair]:
    """Mixed second derivatives in either order."""
    left, right = _square(one), _square(other)
    if left is not None and right is not None:
        yield Pair(ORDER, one.request, other.request, left, right.swapaxes(2, 3), np.abs(left))


def _hessian_product(hessian: Answered, hvp: Answered) -> Iterator[Pair]:
    """``H v == hvp v``, of several outputs summed with its weights."""
    assert hvp.seed is not None
    square = _square_for(hessian, hvp)
    if square is None:
        return
    if hvp.weights is not None:
        weights = _flat(hvp.weights)
        yield _weighted_along(hessian, np.einsum(_SUM, weights, square), hvp, _size_of_sum(weights, square))
    elif square.shape[1] == 1:  # else it is of several outputs, weighted by another seed
        product, size = _products(square[:, 0], _flat(hvp.seed), False)
        yield Pair("H v == hvp v", hessian.request, hvp.request, product, _flat(hvp.result), size)


def _weighted_sum(hessian: Answered, weighted: Answered) -> Iterator[Pair]:
    """The sum of ``w[i]`` times the Hessian of output ``i``."""
    square, one = _square(hessian), _square(weighted)
    if square is None or one is None or weighted.seed is None:
        return
    weights = _flat(weighted.seed)
    left, size = np.einsum(_SUM, weights, square), _size_of_sum(weights, square)
    yield Pair("sum of w H == weighted Hessian", hessian.request, weighted.request, left, one[:, 0], size)


def _weighted_product(weighted: Answered, hvp: Answered) -> Iterator[Pair]:
    """The weighted Hessian times ``v``, where both were given the same weights."""
    square = _square_for(weighted, hvp)
    if square is None or weighted.seed is None or hvp.weights is None:
        return
    if np.array_equal(weighted.seed, hvp.weights):
        yield _weighted_along(weighted, square[:, 0], hvp, np.abs(square[:, 0]))


def _weighted_along(hessian: Answered, total: Array, hvp: Answered, size: Array) -> Pair:
    """``total``, a weighted sum of Hessians of that ``size``, times the direction of ``hvp``."""
    assert hvp.seed is not None
    direction, along = _flat(hvp.seed), "bjk,bk->bj"
    left, scale = np.einsum(along, total, direction), np.einsum(along, size, np.abs(direction))
    return Pair("sum of w H v == hvp v", hessian.request, hvp.request, left, _flat(hvp.result), scale)


def _size_of_sum(weights: Array, square: Array) -> Array:
    return np.asarray(np.einsum(_SUM, np.abs(weights), np.abs(square)))


def _trace(hessian: Answered, laplacian: Answered) -> Iterator[Pair]:
    """``trace H == Laplacian``."""
    square = _square(hessian)
    if square is not None:
        diagonal = square.diagonal(axis1=2, axis2=3)
        left, size = diagonal.sum(axis=2), np.abs(diagonal).sum(axis=2)
        law = "trace H == Laplacian"
        yield Pair(law, hessian.request, laplacian.request, left, _flat(laplacian.result), size)


# Kinds whose result is a Hessian, or a sum of Hessians with weights of their own.
_SECOND = {"hessian", "weighted_hessian"}
_LAWS = {
    ("jvp", "vjp"): _transposes,
    ("jacobian", "jvp"): _along,
    ("jacobian", "vjp"): _against,
    ("gradient", "jvp"): _along,
    ("gradient", "vjp"): _against,
    ("gradient", "jacobian"): _equal,
    ("hessian", "hvp"): _hessian_product,
    ("hessian", "weighted_hessian"): _weighted_sum,
    ("weighted_hessian", "hvp"): _weighted_product,
    ("hessian", "laplacian"): _trace,
}
