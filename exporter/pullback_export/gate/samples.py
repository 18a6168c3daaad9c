"""The inputs that parity is measured on: the caller's, and drawn ones at several batch sizes and sizes of free axes.

The caller's samples decide; what is drawn besides is drawn from them (:mod:`pullback_export.gate.sampling.resampling`),
and where there are none, from a domain that the model takes (:mod:`pullback_export.gate.sampling.domain_search`). A
drawn sample that the live model rejects is skipped, zeros and very large values among them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.gate.live_model import MANY, are_large, rows_of
from pullback_export.gate.sampling import domain_search
from pullback_export.gate.sampling.free_axes import FIRST_SEED, Sampler, Sizes, sizes_to_compare, with_found_axes
from pullback_export.gate.sampling.given import Given, read_samples
from pullback_export.gate.sampling.resampling import Resampler, sizes_of
from pullback_export.sources.source import Source

# Share of the usual sizes from which a sample of others is as rich as one of these.
AMPLE = 0.9
# Rows of the first drawn sample where they are large, or as many more as make it no size of another axis.
FEW = 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """Inputs by name. ``rows`` is the batch size, None without one. ``smooth``: fit for central differences.

    ``given`` is what the caller gave, where it is the caller's; a sample without it never refuses an export alone.
    ``resized``: free axes have other sizes than usual. ``extreme``: zeros, or far larger values than the model sees.
    ``values`` are those of the live model, where it was asked for them when the sample was drawn.
    """

    label: str
    inputs: dict[str, np.ndarray[Any, Any]]
    rows: int | None
    smooth: bool
    golden: bool
    given: Given | None = None
    resized: bool = False
    extreme: bool = False
    values: dict[str, np.ndarray[Any, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Where samples of ``source`` come from; ``notes`` say what the caller should know of it.

    ``aborting`` is an operator of the model that no other sizes are tried on, see
    :mod:`pullback_export.gate.sampling.aborting_kernels`; empty where there is none.
    """

    source: Source
    given: tuple[Given, ...]
    sampler: Sampler
    notes: tuple[str, ...]
    aborting: str = ""

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each input among the caller's samples."""
        found: dict[str, tuple[float, float]] = {}
        for item in self.given:
            for name, (low, high) in item.ranges.items():
                before = found.get(name, (low, high))
                found[name] = min(low, before[0]), max(high, before[1])
        return found


def open_samples(source: Source, samples: Any, aborting: str = "") -> Samples:
    """Reads the caller's ``samples``, or finds out what the model takes; ``source`` then names axes that go together.

    With an operator that is ``aborting``, axes go together only as ``axes=`` says.

    Raises :class:`ExportError` where the caller's do not fit the inputs, or where it takes nothing drawn for it.
    """
    given = read_samples(source, samples)
    sampler = _sampler(source, given)
    notes: list[str] = []
    if isinstance(sampler, domain_search.Drawn):
        notes.append(f"drawn at random ({sampler}); real samples would prove more: samples={{...}}")
    if not aborting:
        source = with_found_axes(source, sampler, [sizes_of(source, item.arrays) for item in given])
    return Samples(source, tuple(given), sampler.renamed(source), (*notes, *_shared(source)), aborting)


def _sampler(source: Source, given: Sequence[Given]) -> Resampler | domain_search.Drawn:
    """Draws from the caller's samples, or from a domain that the model takes where these omit inputs."""
    complete = [item for item in given if len(item.arrays) == len(source.inputs)]
    if complete and len(complete) == len(given):
        return Resampler(source, complete)
    return domain_search.search(source, given[0] if given else None)


def seen_inputs(source: Source, samples: Any) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Inputs that the model takes, the caller's or drawn ones, of one number of rows and of another."""
    given = read_samples(source, samples)
    sampler = _sampler(source, given)
    complete = [item.arrays for item in given if len(item.arrays) == len(source.inputs)]
    return complete or [sampler.draw("usual", rows, {}, 0) for rows in ((3, 2) if source.batched else (None,))]


def _shared(source: Source) -> list[str]:
    """A note for each name that several free axes have."""
    owners: dict[str, list[str]] = {}
    for name, axes in source.axes.items():
        for axis, label in axes.items():
            owners.setdefault(label, []).append(f"axis {axis} of {name}")
    return [
        f"{' and '.join(places)} have one size, {label}; axes={{...}} names them otherwise"
        for label, places in owners.items()
        if len(places) > 1 and label != source.points_axis
    ]


def draw_samples(samples: Samples) -> tuple[list[Sample], list[str]]:
    """The caller's samples first, if any, then drawn ones; and notes on free axes that have too few sizes."""
    source, sampler = samples.source, samples.sampler
    given = [_given(source, sampler, item) for item in samples.given]
    if samples.aborting and sampler.sizes:
        usual = _batches(source, sampler, bool(given)) if source.batched else _whole(sampler, bool(given), 2, None)
        return [*given, *usual], [
            f"free axes were compared at the sizes of the samples only: TensorFlow's kernel of {samples.aborting} ends"
            " the process at sizes that it cannot take; samples=[{...}, {...}] of several sizes prove more"
        ]
    known: dict[str, set[int]] = {}
    for item in given:
        if item.given is not None:
            for label, size in sizes_of(source, item.inputs).items():
                known.setdefault(label, set()).add(size)
    others, notes = sizes_to_compare(source, sampler, known)
    ample = None if source.batched or given else _ample(others, sampler.sizes)
    resized = [_resized(samples, item, number, number == ample) for number, item in enumerate(others)]
    if source.batched:
        return [*given, *_batches(source, sampler, bool(given)), *resized], notes
    extreme = None if given else _smallest(others, sampler.sizes)
    ordinary = 2 if ample is None else int(not _has_three(others, sampler.sizes))
    if not ordinary:
        resized = [dataclasses.replace(item, golden=number == ample) for number, item in enumerate(resized)]
    return [*given, *_whole(sampler, bool(given), ordinary, extreme), *resized], notes


def _ample(others: Sequence[Sizes], usual: Mapping[str, int]) -> int | None:
    """Which of the ``others``, if any, is as good as one of the usual sizes: all axes, and none much shorter."""
    for number, item in enumerate(others):
        if item.sizes.keys() == usual.keys() and all(item.sizes[label] >= AMPLE * usual[label] for label in usual):
            return number
    return None


def _has_three(others: Sequence[Sizes], usual: Mapping[str, int]) -> bool:
    """Whether there are three sizes of every axis among the ``others`` alone, the usual ones not counted."""
    found = {label: {item.sizes[label] for item in others if label in item.sizes} for label in usual}
    return all(len(found[label] - {size}) >= 3 for label, size in usual.items())


def _smallest(others: Sequence[Sizes], usual: Mapping[str, int]) -> Sizes | None:
    """The smallest of the ``others``, if any, in which every axis has a size and none has one: for extreme values."""
    fit = [item for item in others if item.sizes.keys() == usual.keys() and min(item.sizes.values()) > 1]
    fit = [item for item in fit if all(item.sizes[label] <= usual[label] for label in usual)]
    return min(fit, key=lambda item: sum(item.sizes.values()), default=None)


def _resized(samples: Samples, sizes: Sizes, number: int, smooth: bool) -> Sample:
    """Where there are no rows, it is what the live model was tried with."""
    if not samples.source.batched:
        return Sample(str(sizes), sizes.inputs, None, smooth, False, resized=True, values=sizes.values)
    inputs = samples.sampler.draw("usual", 2, sizes.sizes, FIRST_SEED + number, sizes.renumbered)
    return Sample(str(sizes), inputs, 2, smooth, False, resized=True)


def _batches(source: Source, sampler: Sampler, given: bool) -> list[Sample]:
    """Several batch sizes; of large rows fewer, and what is a batch alone is one of those that are a batch together."""
    one = sampler.draw("usual", 1, {}, 1)
    large = are_large(one, source.shared)
    many, few = (_few(one), 1) if large else (MANY, 2)
    together = sampler.draw("usual", many, {}, 0)
    if large:
        one = rows_of(together, slice(1), source.shared)
    found = [
        Sample(f"{many} {_alike(many, given)}", together, many, True, not given),
        Sample(f"1 {_alike(1, given)}", one, 1, False, False),
        Sample(f"{_rows(few)} of zeros", sampler.draw("zeros", few, {}, 2), few, False, not given, extreme=True),
        Sample(f"{_rows(few)} of large values", sampler.draw("large", few, {}, 3), few, False, False, extreme=True),
        Sample("0 rows", sampler.draw("usual", 0, {}, 4), 0, False, False),
    ]
    if given:
        found.append(Sample(f"2 {_alike(2, given)}", sampler.draw("usual", 2, {}, 5), 2, False, False))
    return found


def _few(row: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """As for the channels of an image, with which a file may take rows for each other."""
    sizes = {size for array in row.values() for size in array.shape[1:]}
    return next(count for count in itertools.count(FEW) if count not in sizes)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _alike(count: int, given: bool) -> str:
    rows = "row" if count == 1 else "rows"
    return f"{rows} like the samples" if given else f"random {rows}"


def _whole(sampler: Sampler, given: bool, ordinary: int, extreme: Sizes | None) -> list[Sample]:
    """As many ``ordinary`` samples of the usual sizes, and ``extreme`` values in these sizes, where they are others."""
    label, other = "like the samples" if given else "random", extreme is not None
    sizes, renumbered = (extreme.sizes, extreme.renumbered) if extreme is not None else ({}, False)
    zeros, large = (sampler.draw(kind, None, sizes, seed, renumbered) for kind, seed in (("zeros", 2), ("large", 3)))
    return [
        *(
            Sample(f"{label} {i}", sampler.draw("usual", None, {}, i), None, True, not given and not i)
            for i in range(ordinary)
        ),
        Sample("zeros", zeros, None, False, not given, resized=other, extreme=True),
        Sample("large values", large, None, False, False, resized=other, extreme=True),
    ]


def _given(source: Source, sampler: Sampler, given: Given) -> Sample:
    """The caller's arrays; inputs that they omit are drawn."""
    rows = len(given.numbers) if given.numbers is not None else None
    missing = len(given.arrays) < len(source.inputs)
    drawn = sampler.draw("usual", rows, sizes_of(source, given.arrays), 0) if missing else {}
    label = "the given samples" if given.label == "samples" else f"the given {given.label}"
    return Sample(label, {**drawn, **given.arrays}, rows, True, True, None if missing else given)


def last_finite(
    drawn: Sequence[Sample], references: Sequence[Mapping[str, np.ndarray[Any, Any]] | None], default: int
) -> int:
    """The last sample for differences without NaN or infinity: drawn integers may be neighbours of themselves, say."""
    finite = [
        index
        for index, (sample, reference) in enumerate(zip(drawn, references, strict=True))
        if sample.smooth
        and reference is not None
        and all(np.isfinite(array).all() for array in reference.values() if array.dtype.kind == "f")
    ]
    return finite[-1] if finite else default
