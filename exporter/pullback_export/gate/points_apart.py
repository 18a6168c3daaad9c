"""Whether points are apart: where functions meet points, one point alone gives what it gives among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pullback.manifest import Tolerance
from pullback.parity import compare

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate.live_model import Arrays, Refused, point_count, values
from pullback_export.gate.samples import Sample
from pullback_export.sources.source import Source

# Points that are computed alone.
MOST_POINTS = 4


def require_apart(
    source: Source, functions: Sequence[Function], sample: Sample, whole: Arrays, tolerance: Tolerance
) -> None:
    """Raises :class:`ExportError` where what the model gives at a point changes with the other points.

    ``whole`` are the live model's values for ``sample``, with all of its points. Outputs of which no derivative was
    requested may be anything.
    """
    points = point_count(source, sample.inputs)
    wanted = {request.of.name for function in functions for request in function.requests} & set(source.outputs)
    for name in sorted(wanted):
        if whole[name].ndim < 2 or whole[name].shape[1] != points:
            raise ExportError(
                f"output {name!r} of shape {whole[name].shape} has no axis of the points, of which there are {points}:"
                " with batch_axes=2 a derivative is of what each function gives at each point, (B, N, ...)"
            )
    alone = _alone(source, sample, points) or {}
    for name in sorted(wanted) if alone else ():
        part = alone[name]
        if part.ndim > 1 and compare({name: whole[name][:, : part.shape[1]]}, {name: part}, tolerance).ok:
            continue
        raise ExportError(
            f"output {name!r} at one point changes with the other points, so there is no derivative for each point;"
            " leave batch_axes= out: derivatives are those of each function then, by all of its points. If the axis of"
            f" one of {', '.join(sorted(source.points))} counts something else than points, say it: batched={{...}}"
            " (docs/howto/points.md)"
        )


def _alone(source: Source, sample: Sample, points: int) -> Arrays | None:
    """Values at the first points, computed one at a time, or two where the model rejects one alone; else None."""
    for size in (1, 2):
        count = min(points, MOST_POINTS) // size * size
        try:
            parts = [
                values(source, _points_of(source, sample.inputs, slice(at, at + size))) for at in range(0, count, size)
            ]
        except Refused:
            continue
        if parts:
            return {name: _joined([part[name] for part in parts], size) for name in source.outputs}
    return None


def _joined(parts: Sequence[np.ndarray[Any, Any]], size: int) -> np.ndarray[Any, Any]:
    """One after the other along the axis of the points; the first where there is no such axis."""
    has_points = all(part.ndim > 1 and part.shape[1] == size for part in parts)
    return np.concatenate(parts, axis=1) if has_points else parts[0]


def _points_of(source: Source, inputs: Arrays, points: slice) -> Arrays:
    """The chosen points of every input that has them."""
    return {
        name: array[(slice(None),) * source.lead(name) + (points,)] if name in source.points else array
        for name, array in inputs.items()
    }
