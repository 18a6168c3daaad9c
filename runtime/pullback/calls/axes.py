"""Free axes that have one size: those of one name, and those of a seed and of what it belongs to.

The names are in the manifest, where a seed has those of the input or output that it belongs to. In bundles that were
written before it was so, a direction ``fwd_x`` has names of its own, and takes those of ``x`` here.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping

from pullback.manifest import FunctionSpec, TensorSpec

_Size = Callable[[Mapping[str, int]], int]


def _truncated(a: int, b: int) -> int:
    """The quotient, rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "max": max,
    "floor": operator.floordiv,
    "mod": operator.mod,
    "trunc": _truncated,
}


def inputs_of(spec: FunctionSpec) -> tuple[TensorSpec, ...]:
    """The inputs of a function; the free axes of a direction are named as those of its input."""
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    owners = {
        derivative.seed: inputs[derivative.wrt[-1]]
        for derivative in spec.derivatives
        if derivative.seed is not None and derivative.kind in ("jvp", "hvp") and derivative.wrt[-1] in inputs
    }
    return tuple(_named_as(tensor, owners.get(tensor.name)) for tensor in spec.inputs)


def _named_as(tensor: TensorSpec, owner: TensorSpec | None) -> TensorSpec:
    if owner is None or len(owner.shape) != len(tensor.shape):
        return tensor
    pairs = zip(tensor.shape, owner.shape, strict=True)
    return dataclasses.replace(tensor, shape=tuple(theirs if isinstance(own, str) else own for own, theirs in pairs))


@dataclasses.dataclass(frozen=True)
class Following:
    """An axis of a seed whose size follows from axes of the inputs: ``size(sizes)``, given theirs by name."""

    seed: str
    axis: int
    size: Callable[[Mapping[str, int]], int]


def sizes_that_follow(spec: FunctionSpec) -> tuple[Following, ...]:
    """The axes of seeds whose names say how they follow from axes of the inputs."""
    inputs = [tensor for tensor in spec.inputs if tensor.name not in spec.seeds]
    known = {dim for tensor in inputs for dim in tensor.shape if isinstance(dim, str)}
    found = []
    for tensor in spec.inputs:
        for axis, dim in enumerate(tensor.shape if tensor.name in spec.seeds else ()):
            size = _Reader(dim, known).size() if isinstance(dim, str) and dim not in known else None
            if size is not None:
                found.append(Following(tensor.name, axis, size))
    return tuple(found)


class _Reader:
    """Reads a size that is written in words: sums of products of ``known`` axes, numbers and :data:`_OPERATIONS`.

    ``x_times_2_minus_1`` is ``2*x - 1``, and ``floor_x_minus_1_and_2_end_plus_1`` is ``(x - 1)//2 + 1``; what stands at
    the very end is not closed.
    """

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self._text = f"{text}_".removeprefix("n_")
        self._known = sorted(known, key=len, reverse=True)

    def size(self) -> _Size | None:
        """The size as a function of the known ones; None where the words mean nothing."""
        try:
            size = self._sum()
            return size if not self._text else None
        except ValueError:
            return None

    def _sum(self) -> _Size:
        terms = [self._product()]
        while self._text.startswith(("plus_", "minus_")):
            sign = 1 if self._take("plus_") else -int(self._take("minus_"))
            terms.append(_scaled(self._product(), sign))
        return lambda sizes: sum(term(sizes) for term in terms)

    def _product(self) -> _Size:
        factors = [self._factor()]
        while self._take("times_"):
            factors.append(self._factor())
        return lambda sizes: math.prod(factor(sizes) for factor in factors)

    def _factor(self) -> _Size:
        for name in self._known:
            if self._take(f"{name}_"):
                return lambda sizes: sizes[name]
        for name, operation in _OPERATIONS.items():
            if self._take(f"{name}_"):
                return self._operation(operation)
        number = re.match(r"(\d+)_", self._text)
        if number is None:
            raise ValueError(self._text)
        self._take(number[0])
        return lambda sizes: int(number[1])

    def _operation(self, operation: Callable[[int, int], int]) -> _Size:
        left = self._sum()
        if not self._take("and_"):
            raise ValueError(self._text)
        right = self._sum()
        if self._text and not self._take("end_"):
            raise ValueError(self._text)
        return lambda sizes: operation(left(sizes), right(sizes))

    def _take(self, words: str) -> bool:
        taken = self._text.startswith(words)
        self._text = self._text[len(words) :] if taken else self._text
        return taken


def _scaled(size: _Size, factor: int) -> _Size:
    return lambda sizes: factor * size(sizes)
