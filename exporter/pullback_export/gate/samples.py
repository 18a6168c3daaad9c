"""The inputs that parity is measured on: the caller's, random ones, zeros, large values, several batch sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source

LARGE = 100.0
# Rows of the caller's samples that are compared at most, evenly spaced.
MOST_ROWS = 256
# Sizes tried for a free axis that is not the batch: the first that the model takes.
FREE_SIZES = (5, 8, 16, 32, 64, 128)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Inputs by name. ``rows`` is the batch size, None without one. ``smooth``: fit for central differences."""

    label: str
    inputs: dict[str, np.ndarray[Any, Any]]
    rows: int | None
    smooth: bool
    golden: bool


def draw_samples(source: Source, given: Mapping[str, Any]) -> list[Sample]:
    """The caller's samples first, if any; raises :class:`ExportError` where they do not fit the inputs."""
    known = _given(source, given)
    rng = np.random.default_rng(20)
    free = _free_size(source, known)

    def draw(kind: str, rows: int | None) -> dict[str, np.ndarray[Any, Any]]:
        return {
            spec.name: _draw(
                spec, source.batched, rows, free, kind, known.get(spec.name), rng, source.spreads.get(spec.name)
            )
            for spec in source.inputs
        }

    samples = []
    if known and source.batched:
        known = {name: _spread_out(array) for name, array in known.items()}
    if known:
        rows = len(next(iter(known.values()))) if source.batched else None
        mixed = draw("normal", rows) | known
        samples.append(Sample("the given samples", mixed, rows, True, True))
    if not source.batched:
        samples += [Sample(f"random {index}", draw("normal", None), None, True, index == 0) for index in range(2)]
        return [
            *samples,
            Sample("zeros", draw("zeros", None), None, False, True),
            Sample("large values", draw("large", None), None, False, False),
        ]
    samples += [
        Sample("7 random rows", draw("normal", 7), 7, True, not known),
        Sample("1 random row", draw("normal", 1), 1, False, False),
        Sample("2 rows of zeros", draw("zeros", 2), 2, False, True),
        Sample("2 rows of large values", draw("large", 2), 2, False, False),
        Sample("0 rows", draw("normal", 0), 0, False, False),
    ]
    return samples


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


def _spread_out(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if len(array) <= MOST_ROWS:
        return array
    chosen: np.ndarray[Any, Any] = array[np.linspace(0, len(array) - 1, MOST_ROWS).astype(int)]
    return chosen


def _given(source: Source, given: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    specs = {spec.name: spec for spec in source.inputs}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, values in given.items():
        if name not in specs:
            raise ExportError(f"samples: there is no input {name!r}; inputs: {', '.join(specs)}")
        spec = specs[name]
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ExportError(f"samples[{name!r}] must be numbers, got {array.dtype}")
        array = array.astype(spec.dtype.as_numpy_dtype)
        if not spec.shape.is_compatible_with(array.shape):
            raise ExportError(f"samples[{name!r}] must have shape {tuple(spec.shape.as_list())}, got {array.shape}")
        arrays[name] = array
    if source.batched and len({len(array) for array in arrays.values()}) > 1:
        sizes = {name: len(array) for name, array in arrays.items()}
        raise ExportError(f"samples have different numbers of rows: {sizes}; give as many of each input")
    if source.batched and any(len(array) == 0 for array in arrays.values()):
        raise ExportError("samples are empty; give at least one row or leave them out")
    return arrays


def _free_size(source: Source, known: Mapping[str, Any]) -> int:
    """A size for the free axes that are not the batch, which the model takes."""
    start = 1 if source.batched else 0
    if not any(size is None for spec in source.inputs for size in spec.shape.as_list()[start:]):
        return 0
    rng = np.random.default_rng(0)
    for size in FREE_SIZES:
        inputs = [_draw(spec, source.batched, 1, size, "normal", known.get(spec.name), rng) for spec in source.inputs]
        try:
            source.call(*(tf.constant(array) for array in inputs))
        except (tf.errors.OpError, ValueError):
            continue
        return size
    raise ExportError(
        f"the model takes none of the sizes {FREE_SIZES} on its free axes; give samples={{...}} that it takes"
    )


def _draw(
    spec: Any,
    batched: bool,
    rows: int | None,
    free: int,
    kind: str,
    known: np.ndarray[Any, Any] | None,
    rng: np.random.Generator,
    scaling: tuple[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    sizes: Iterable[int | None] = spec.shape.as_list()
    shape = []
    for axis, size in enumerate(sizes):
        if batched and axis == 0:
            shape.append(rows or 0)
        elif size is not None:
            shape.append(size)
        else:
            shape.append(known.shape[axis] if known is not None else free)
    dtype = spec.dtype.as_numpy_dtype
    if spec.dtype == tf.bool:
        return rng.integers(0, 2, shape).astype(bool)
    if spec.dtype.is_integer:
        low, high = (int(known.min()), int(known.max()) + 1) if known is not None and known.size else (0, 2)
        return rng.integers(low, high, shape).astype(dtype) if kind != "zeros" else np.full(shape, low, dtype)
    if kind == "zeros":
        return np.zeros(shape, dtype)
    centre, spread = (
        (float(np.mean(known)), float(np.std(known)) or 1.0) if known is not None and known.size else (0.0, 1.0)
    )
    if not np.isfinite(centre + spread):
        centre, spread = 0.0, 1.0
    if scaling is not None and known is None:
        centre, spread = scaling
    drawn = centre + (LARGE if kind == "large" else 1.0) * spread * rng.normal(size=shape)
    return np.asarray(drawn, dtype)  # what has no axes is a scalar by now, which ONNX Runtime does not take
