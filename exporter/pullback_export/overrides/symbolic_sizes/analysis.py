"""Sizes of TensorFlow's tensors while a graph is traced: numbers, and free sizes by where they come from.

TensorFlow knows that an axis is free, not that it is the axis of something else: it cannot tell that ``x`` and
``tanh(x @ w)`` have as many rows. Here a free size is an :class:`Axis`, the place where it first occurs; two axes that
are equal have the same size in every run. Each tensor is looked at once, so that a whole graph takes as long as it has
operators.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_ATTRIBUTE = "_pullback_sizes"


@dataclasses.dataclass(frozen=True)
class Axis:
    """Axis ``number`` of ``tensor``, whose size nothing before it says; compared by ``name``, unique in the graph."""

    name: str
    number: int
    tensor: Any = dataclasses.field(compare=False, repr=False)


Size = int | Axis
# One entry for each axis; None where an operator does not say.
Partial = Sequence[Size | None]
Sizes = tuple[Size, ...]


class Missing(Exception):
    """A rule requested the sizes of a ``tensor`` that has not been looked at."""

    def __init__(self, tensor: Any) -> None:
        super().__init__()
        self.tensor = tensor


class Analysis:
    """The sizes of one graph's tensors.

    ``rule(operator, index, known)`` gives those of the result ``index`` of an operator, or None; ``known(tensor)``
    gives those of a tensor before it.
    """

    def __init__(self, rule: Callable[[Any, int, Callable[[Any], Sizes | None]], Partial | None]) -> None:
        self._rule = rule
        self._found: dict[str, Sizes | None] = {}
        self.emitted: dict[Any, Any] = {}

    def declare(self, tensor: Any, like: Any) -> None:
        """The axes of ``tensor`` are as long as those of ``like``."""
        self._found.setdefault(tensor.name, self.of(like))

    def of(self, tensor: Any) -> Sizes | None:
        """The size of each axis; None where the rank is unknown."""
        waiting = [tensor]
        while waiting:
            current = waiting[-1]
            if current.name not in self._found:
                try:
                    self._found[current.name] = self._worked_out(current)
                except Missing as before:
                    waiting.append(before.tensor)
                    continue
            waiting.pop()
        return self._found[tensor.name]

    def _known(self, tensor: Any) -> Sizes | None:
        if tensor.name not in self._found:
            if not tensor.shape.is_fully_defined():
                raise Missing(tensor)
            self._found[tensor.name] = tuple(tensor.shape.as_list())
        return self._found[tensor.name]

    def _worked_out(self, tensor: Any) -> Sizes | None:
        if tensor.shape.rank is None:
            return None
        stated = tensor.shape.as_list()
        if None not in stated:
            return tuple(stated)
        found = self._rule(tensor.op, tensor.value_index, self._known)
        if found is None or len(found) != len(stated):
            found = [None] * len(stated)
        return tuple(_merged(stated, found, tensor))


def _merged(stated: Sequence[int | None], found: Partial, tensor: Any) -> Iterator[Size]:
    """What TensorFlow states comes first, then what the rule says; else the axis is one of its own."""
    for number, (size, other) in enumerate(zip(stated, found, strict=True)):
        if size is not None:
            yield size
        elif isinstance(other, Axis):
            yield other
        else:
            yield Axis(tensor.name, number, tensor)


def analysis_of(graph: Any, rule: Callable[[Any, int, Callable[[Any], Sizes | None]], Partial | None]) -> Analysis:
    """The analysis that belongs to ``graph`` and lives as long as it."""
    found = getattr(graph, _ATTRIBUTE, None)
    if not isinstance(found, Analysis):
        found = Analysis(rule)
        setattr(graph, _ATTRIBUTE, found)
    return found
