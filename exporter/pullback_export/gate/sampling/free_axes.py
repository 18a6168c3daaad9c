"""Free axes: which of them have one size, and the sizes at which they are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pullback_export.gate.live_model import Refused, values
from pullback_export.sources.axes import axis_names
from pullback_export.sources.source import Source

Arrays = dict[str, np.ndarray[Any, Any]]
# Rows of a try, where there is a batch.
TRIED_ROWS = 3
# Samples of other sizes are drawn with the seeds from here on.
FIRST_SEED = 10
# Larger sizes than this are not tried, where the model takes smaller ones.
MODERATE = 48
# Sizes tried for an axis at most.
MOST_TRIED = 12


class Sampler(Protocol):
    """Draws inputs of any size: from the caller's samples, or from domains that the model takes."""

    @property
    def sizes(self) -> dict[str, int]:
        """The usual sizes of the free axes that are not the batch, by their names."""

    def draw(
        self, kind: str, rows: int | None, sizes: Mapping[str, int], seed: int, renumbered: bool = False
    ) -> Arrays:
        """``rows`` rows (None without a batch) of the ``kind`` usual, zeros or large, at other ``sizes`` where given.

        ``renumbered``: whole numbers that count along an axis of another size follow it.
        """


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the free axes to compare at; ``renumbered`` as in :meth:`Sampler.draw`.

    The live model was asked for ``inputs`` of these sizes, and gave ``values``.
    """

    sizes: dict[str, int]
    renumbered: bool
    inputs: Arrays
    values: Arrays

    def __str__(self) -> str:
        return ", ".join(f"{label} = {size}" for label, size in self.sizes.items())


def with_found_axes(source: Source, sampler: Sampler, known: Sequence[Mapping[str, int]]) -> Source:
    """``source`` with one name for free axes of one size, where the model refuses that they differ.

    ``known`` are the sizes in each of the caller's samples. Axes that the caller has named keep their names.
    """
    chosen = {label for names in source.axes.values() for label in names.values()}
    found: dict[str, str] = {}
    for alike in _of_one_size([sampler.sizes, *known]):
        for together in _groups(source, sampler, alike):
            # The name of the points says which axis is a batch axis: no other axis may have it.
            group = [label for label in together if label != source.points_axis]
            named = [label for label in group if label in chosen]
            if len(group) > 1 and len(named) < 2:  # the caller says that those are two
                first = named[0] if named else group[0]
                found |= dict.fromkeys(group, first)
    if not found:
        return source
    named_axes = {
        name: {axis: found.get(label, label) for axis, label in enumerate(labels) if isinstance(label, str)}
        for name, labels in axis_names(source).items()
    }
    named_axes = {
        name: {axis: label for axis, label in names.items() if axis >= source.lead(name)}
        for name, names in named_axes.items()
    }
    return dataclasses.replace(source, axes=named_axes)


def sizes_to_compare(source: Source, sampler: Sampler, known: Mapping[str, set[int]]) -> tuple[list[Sizes], list[str]]:
    """Other sizes than the usual ones, such that every free axis has three; and a note for each that has not.

    ``known`` holds the sizes of each axis among the caller's samples. All axes change at once where the model takes
    that, else one after the other. A size of one comes besides, where the model takes it.
    """
    labels = list(sampler.sizes)
    if not labels:
        return [], []
    together = _Ladder(source, sampler, labels)
    if together.climb({label: len(known.get(label, ())) for label in labels}):
        return together.taken, []
    taken, notes = list(together.taken), []
    for label in labels:
        seen = {
            *known.get(label, ()),
            sampler.sizes[label],
            *(item.sizes[label] for item in taken if label in item.sizes),
        }
        ladder = _Ladder(source, sampler, [label], len(taken))
        ladder.climb({label: len(seen)})
        taken += ladder.taken
        seen |= {item.sizes[label] for item in ladder.taken}
        if len(seen) < 3:
            notes.append(_too_few(source, label, seen, ladder.refused))
    return taken, notes


def _too_few(source: Source, label: str, seen: set[int], refused: Mapping[int, str]) -> str:
    owners = ", ".join(name for name, names in axis_names(source).items() if label in names)
    sizes = " and ".join(map(str, sorted(seen)))
    said = next(iter(refused.values()), "")
    what = f"the free axis {label} of {owners} was compared at size {sizes} only"
    tried = f"the live model does not take {', '.join(map(str, sorted(refused)))} ({said})"
    return f"{what}: {tried}; samples=[{{...}}, {{...}}] of other sizes would prove more"


class _Ladder:
    """Tries sizes of some axes, all at once, until there are enough that the model takes."""

    def __init__(self, source: Source, sampler: Sampler, labels: Sequence[str], before: int = 0) -> None:
        self._source = source
        self._sampler = sampler
        self._labels = labels
        self._before = before
        self.taken: list[Sizes] = []
        self.refused: dict[int, str] = {}

    def climb(self, known: Mapping[str, int]) -> bool:
        """Whether there are three sizes of every axis, with those ``known`` and the usual one."""
        usual = self._sampler.sizes
        wanted = 3 - min(max(1, known[label]) for label in self._labels)
        columns = [_candidates(usual[label], number) for number, label in enumerate(self._labels)]
        for number, row in enumerate(zip(*columns, strict=False)):
            if wanted <= 0 or number >= MOST_TRIED:
                break
            sizes = dict(zip(self._labels, row, strict=True))
            if all(size != usual[label] for label, size in sizes.items()) and self._take(sizes):
                wanted -= 1
        if self.taken and all(usual[label] != 1 for label in self._labels):
            self._take(dict.fromkeys(self._labels, 1))
        return wanted <= 0

    def _take(self, sizes: dict[str, int]) -> bool:
        said, seed = "", FIRST_SEED + self._before + len(self.taken)
        for renumbered in (False, True):
            try:
                inputs, found = _tried(self._source, self._sampler, sizes, renumbered, seed)
            except Refused as problem:
                said = problem.said
            else:
                self.taken.append(Sizes(sizes, renumbered, inputs, found))
                return True
        self.refused[next(iter(sizes.values()))] = said
        return False


def _candidates(usual: int, number: int) -> Iterator[int]:
    """Sizes to try for the axis of this number: a small one, one that divides nothing, then the usual one's kin."""
    yield (3, 2, 4)[(number + (usual == 3)) % 3]
    yield _prime(usual + 2 * number) if usual <= MODERATE else _prime_below(usual - 2 * number)
    yield from (7 + number, 13 + number)
    yield from (size for size in (usual // 2, usual * 2, usual + 1, usual - 1, usual + 8, usual + 32) if size > 1)
    yield from (16, 32, 64)


def _prime(above: int) -> int:
    return next(size for size in range(above + 1, 2 * above + 3) if _is_prime(size))


def _prime_below(size: int) -> int:
    return next((less for less in range(size - 1, 1, -1) if _is_prime(less)), 2)


def _is_prime(size: int) -> bool:
    return size > 1 and all(size % divisor for divisor in range(2, int(size**0.5) + 1))


def _refusal(source: Source, sampler: Sampler, sizes: Mapping[str, int], renumbered: bool = False) -> str:
    """What the live model says against these sizes; nothing where it takes them."""
    try:
        _tried(source, sampler, sizes, renumbered, 0)
    except Refused as problem:
        return problem.said
    return ""


def _tried(
    source: Source, sampler: Sampler, sizes: Mapping[str, int], renumbered: bool, seed: int
) -> tuple[Arrays, Arrays]:
    """Inputs of these sizes and what the live model gives for them; raises :class:`Refused`."""
    inputs = sampler.draw("usual", TRIED_ROWS if source.batched else None, sizes, seed, renumbered)
    return inputs, values(source, inputs)


def _of_one_size(samples: Sequence[Mapping[str, int]]) -> list[list[str]]:
    """The axes of which all ``samples`` have the same sizes."""
    alike: dict[tuple[int | None, ...], list[str]] = {}
    for label in samples[0]:
        alike.setdefault(tuple(sizes.get(label) for sizes in samples), []).append(label)
    return [labels for labels in alike.values() if len(labels) > 1]


def _groups(source: Source, sampler: Sampler, labels: Sequence[str]) -> list[list[str]]:
    """The sets of ``labels`` that can only change together, at the first other size at which all of them can.

    Next to a size of one others are broadcast; where that is the usual one, all change from two.
    """
    usual = max(sampler.sizes[labels[0]], 2)
    others = dict.fromkeys(labels, usual) if sampler.sizes[labels[0]] != usual else {}

    def takes(some: Sequence[str], size: int) -> bool:
        sizes = others | dict.fromkeys(some, size)
        return not _refusal(source, sampler, sizes) or not _refusal(source, sampler, sizes, True)

    tried = [size for size in dict.fromkeys((usual - 1, usual + 1, usual // 2, usual * 2, usual + 8)) if size > 1]
    size = next((size for size in tried if size != usual and takes(labels, size)), None)
    if size is None:
        return []
    bound = [label for label in labels if not takes([label], size)]
    found: list[list[str]] = []
    while bound:
        group = list(bound)
        for other in bound[1:]:
            rest = [label for label in group if label != other]
            if takes(rest, size):
                group = rest
        found.append(group)
        bound = [label for label in bound if label not in group]
    return [group for group in found if len(group) > 1]
