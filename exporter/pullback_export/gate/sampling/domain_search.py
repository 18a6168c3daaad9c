"""A domain for every input that the caller gives no samples for: together, what the live model takes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.errors import ExportError
from pullback_export.gate.live_model import OutOfLimits, Refused, values
from pullback_export.gate.sampling.domains import Domain, domains_of
from pullback_export.gate.sampling.given import Given
from pullback_export.gate.sampling.resampling import LARGE, Resampler, sizes_of
from pullback_export.sources.axes import axis_names
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
# Sizes tried for the free axes that are not the batch: the first that the model takes.
FREE_SIZES = (5, 8, 16, 32, 64, 128)
# Rows of a try, and how many tries there are at most.
TRIED_ROWS = 3
MOST_TRIES = 250
# Tries after the first that the model takes, where it gave NaN.
MOST_AFTER = 40
# Tries that do not end in time.
MOST_STOPPED = 3


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Draws from ``domains``, by input, and what they lack from the caller's samples (``known``).

    See :class:`pullback_export.gate.samples.Sampler`.
    """

    source: Source
    domains: Mapping[str, Domain]
    sizes: dict[str, int]
    known: Given | None = None

    def renamed(self, source: Source) -> Drawn:
        """The same for ``source``, in which free axes may have the name of another one of their size."""
        names = {size for shape in axis_names(source).values() for size in shape}
        sizes = {label: size for label, size in self.sizes.items() if label in names}
        return dataclasses.replace(self, source=source, sizes=sizes)

    def draw(
        self, kind: str, rows: int | None, sizes: Mapping[str, int], seed: int, renumbered: bool = False
    ) -> Arrays:
        rng = np.random.default_rng((20, seed))
        known: Arrays = {}
        if self.known is not None:
            known = Resampler(self.source, [self.known]).draw(kind, rows, sizes, seed, renumbered)
        shapes = self._shapes(rows, {**self.sizes, **sizes})
        return {
            spec.name: known[spec.name] if spec.name in known else self._array(spec, kind, shapes, rng)
            for spec in self.source.inputs
        }

    def _shapes(self, rows: int | None, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        batch = {"B": rows or 0} if self.source.batched else {}
        return {
            name: tuple({**sizes, **batch}[size] if isinstance(size, str) else size for size in names)
            for name, names in axis_names(self.source).items()
        }

    def _array(self, spec: Any, kind: str, shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Array:
        domain, dtype = self.domains[spec.name], spec.dtype.as_numpy_dtype
        other, axis = domain.counts or (spec.name, None)
        drawn = domain.draw(rng, shapes[spec.name], shapes[other][axis] if axis is not None else 0)
        if not spec.dtype.is_floating:
            return np.asarray(drawn, dtype)
        if kind == "zeros":
            return np.zeros(shapes[spec.name], dtype)
        centre, spread = self.source.spreads.get(spec.name, (0.0, 1.0))
        return np.asarray(centre + (LARGE if kind == "large" else 1.0) * spread * drawn, dtype)

    def __str__(self) -> str:
        return "; ".join(f"{name}: {domain.name}" for name, domain in self.domains.items())


def search(source: Source, known: Given | None) -> Drawn:
    """The first domains in the order of :func:`_combinations` that the model takes, ``known`` being the caller's.

    One that gives no NaN is better than one that does. Raises :class:`ExportError` with the model's own words for the
    usual domains where it takes none of at most :data:`MOST_TRIES`.
    """
    missing = [spec for spec in source.inputs if known is None or spec.name not in known.arrays]
    best: tuple[float, Drawn] | None = None
    refusal: Refused | None = None
    last, stopped = MOST_TRIES, 0
    for number, tried in enumerate(itertools.islice(_tries(source, missing, known), MOST_TRIES)):
        rows = TRIED_ROWS if source.batched else None
        try:
            answers = values(source, tried.draw("usual", rows, {}, 0))
        except Refused as problem:
            refusal = refusal or problem
            stopped += isinstance(problem, OutOfLimits)
            if stopped == MOST_STOPPED:
                break
            continue
        finite = min((_finite(array) for array in answers.values()), default=1.0)
        if best is None or finite > best[0]:
            best = finite, tried
            last = min(last, number + MOST_AFTER)
        if finite == 1 or number >= last:
            break
    if best is not None:
        return best[1]
    assert refusal is not None
    names = ", ".join(f"{spec.name!r}: ..." for spec in source.inputs)
    raise ExportError(
        "the live model rejects all inputs that were drawn for it: normal, positive, sorted and other numbers, at free"
        f" sizes {', '.join(map(str, FREE_SIZES))}. Its error: {refusal.said}; pass samples={{{names}}} that it accepts"
    ) from refusal


def _finite(array: Array) -> float:
    """The share of numbers that are finite; that of infinite ones counts too, as they are no accident."""
    return float(1 - np.isnan(array).mean()) if array.dtype.kind == "f" and array.size else 1.0


def _tries(source: Source, missing: Sequence[Any], known: Given | None) -> Iterator[Drawn]:
    """The usual domains at every size, then the others at a few."""
    fixed = sizes_of(source, known.arrays) if known is not None else {}
    labels = [size for names in axis_names(source).values() for size in names if isinstance(size, str)]
    free = [label for label in dict.fromkeys(labels) if label not in fixed and not (source.batched and label == "B")]
    same = [dict.fromkeys(free, size) for size in (FREE_SIZES if free else (0,))]
    different = [{label: 5 + 3 * number for number, label in enumerate(reversed(free))}] if len(free) > 1 else []
    usual, *others = _combinations(source, missing)
    for sizes in (*same, *different):
        yield Drawn(source, usual, fixed | sizes, known)
    for sizes in (same[0], *different, *same[1:2]):
        for domains in others:
            yield Drawn(source, domains, fixed | sizes, known)


def _combinations(source: Source, missing: Sequence[Any]) -> list[dict[str, Domain]]:
    """The usual ones; then all floats of one kind, with each kind of one other input; then pairs of unusual ones."""
    axes = {
        spec.name: [axis for axis in range(spec.shape.rank) if axis >= source.lead(spec.name)] for spec in source.inputs
    }
    table = {
        spec.name: domains_of(
            spec,
            source.lead(spec.name),
            {name: some for name, some in axes.items() if name != spec.name},
            source.known_strings.get(spec.name, ()),
        )
        for spec in missing
    }
    usual = {name: domains[0] for name, domains in table.items()}
    found = [usual]
    floats = [spec.name for spec in missing if spec.dtype.is_floating]
    labels = dict.fromkeys(domain.name for name in floats for domain in table[name])
    alike = [
        {name: next((item for item in table[name] if item.name == label), table[name][0]) for name in floats}
        for label in labels
    ] or [{}]
    rest: list[dict[str, Domain]] = [{name: domain} for name in table if name not in floats for domain in table[name]]
    for together in alike:
        found += [usual | together | other for other in rest or [{}]]
    for some in (1, 2, 3):
        for names in itertools.combinations(table, some):
            chosen = itertools.product(*(table[name][1:] for name in names))
            found += [
                usual | dict(zip(names, domains, strict=True)) for domains in itertools.islice(chosen, MOST_TRIES)
            ]
    return list({str([domain.name for domain in item.values()]): item for item in found}.values())
