"""What stands for inputs of a model that a bundle drops: constants of sizes that suit what it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError

# Sizes that are tried for free axes: all different, so that it shows where each goes, else all the same.
_BATCH = 3
_PRIMES = (37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
_EQUAL = (8, 32, 64, 224, 1)

Axis = tuple[str, int]
Shapes = Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Placeholders:
    """``specs`` of the inputs that are dropped; ``sizes`` of their free axes: a number, or an axis of what is given.

    No output depends on them, yet the live model computes with them as far as the layers that are replaced.
    """

    specs: tuple[tf.TensorSpec, ...]
    sizes: Mapping[Axis, int | Axis]

    @staticmethod
    def of(inputs: Sequence[tf.TensorSpec], kept: Sequence[str], inner: Callable[..., Shapes]) -> Placeholders:
        """For the ``inputs`` of a model that are not in ``kept``.

        ``inner(*tensors)`` gives the shapes of the layers that are replaced, for all inputs of the model: which axes
        of theirs are those of the inputs is found by trying. Raises :class:`ExportError` where no size can be had.
        """
        dropped = tuple(spec for spec in inputs if spec.name not in kept)
        if not any(size is None for spec in dropped for size in spec.shape.as_list()):
            return Placeholders(dropped, {})
        said = ""
        for tried in _trials(inputs):
            try:
                shapes = inner(*(_constant(spec.dtype, tried[spec.name]) for spec in inputs))
            except Exception as problem:  # whatever a model raises on sizes that it does not take
                said = " ".join(str(problem).split())[:200]
                continue
            known = {**{name: tried[name] for name in tried if name in kept}, **shapes}
            free = [(spec.name, axis) for spec in dropped for axis, size in enumerate(spec.shape) if size is None]
            return Placeholders(dropped, {at: _same(tried[at[0]][at[1]], at[1], known) for at in free})
        names = ", ".join(spec.name for spec in dropped)
        raise ExportError(f"inputs: the model takes no size of {names} that was tried ({said}); name them in inputs=[]")

    def tensor(self, spec: tf.TensorSpec, given: Mapping[str, Any], name: str) -> Any:
        """The tensor for one of them; ``given`` are the bundle's inputs, by their names in the model."""
        sizes = [self._size((spec.name, axis), given) if size is None else size for axis, size in enumerate(spec.shape)]
        return tf.identity(_constant(spec.dtype, sizes), name=name)

    def _size(self, at: Axis, given: Mapping[str, Any]) -> Any:
        size = self.sizes[at]
        return size if isinstance(size, int) else tf.shape(given[size[0]])[size[1]]


def _trials(inputs: Sequence[tf.TensorSpec]) -> Iterator[dict[str, list[int]]]:
    for sizes in (_PRIMES, *((size,) for size in _EQUAL)):
        free = iter(sizes * sum(spec.shape.rank for spec in inputs))
        yield {
            spec.name: [
                size if size is not None else _BATCH if axis == 0 else next(free)
                for axis, size in enumerate(spec.shape.as_list())
            ]
            for spec in inputs
        }


def _same(size: int, axis: int, known: Shapes) -> int | Axis:
    """The axis of what is given that has this size, of the same number where there is one; else the size itself."""
    found = [(name, number) for name, shape in known.items() for number, one in enumerate(shape) if one == size]
    return min(found, key=lambda at: at[1] != axis, default=size)


def _constant(dtype: tf.DType, sizes: Any) -> Any:
    """Ones, which more functions are defined at than zeros; of whole numbers zeros, which every table has."""
    return tf.ones(sizes, dtype) if dtype.is_floating else tf.zeros(sizes, dtype)
