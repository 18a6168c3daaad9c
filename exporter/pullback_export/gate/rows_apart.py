"""Whether rows influence each other: what is batched must not, and what is not may act on each row by itself.

Where no axis is a batch (``batched=False``) and the first axis of all inputs is a free one, a model may still treat its
rows like a batch, as networks do. Then samples of all sizes go through the live model and the truth together, and each
row is judged by itself, as if it was one. Written files are asked at each size all the same.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from pullback.manifest import Tolerance
from pullback.parity import compare

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate.live_model import (
    Arrays,
    Refused,
    are_large,
    in_every_row,
    joined,
    refusal_of_given,
    row_count,
    rows_of,
    values,
)
from pullback_export.gate.points_apart import require_apart
from pullback_export.gate.samples import Sample
from pullback_export.sources.axes import axis_names
from pullback_export.sources.batches import FUNCTIONS, POINTS
from pullback_export.sources.source import Source

# Derivatives whose result has the rows of an input or an output.
_BY_ROW = frozenset({"vjp", "jvp"})


def rows_are_apart(
    source: Source, functions: Sequence[Function], drawn: Sequence[Sample], tolerance: Tolerance
) -> bool:
    """Whether ``source``, which has no batch axis, acts on each row by itself, and all ``functions`` do so with it.

    What it said of samples of several sizes, it has to say again where their rows are in other company.
    """
    if source.batched or not _may_have_rows(source) or not all(_is_by_row(source, item) for item in functions):
        return False
    known = sorted((_Known(item.inputs, item.values) for item in drawn if item.values), key=lambda item: item.rows)
    if len({item.rows for item in known}) < 2 or not all(item.has_rows for item in known):
        return False
    parts = [*known[:-1], known[-1].backwards()]
    mixed, wanted = joined([part.inputs for part in parts], ()), joined([part.values for part in parts], ())
    if mixed is None or wanted is None:  # other axes have other sizes in each of them
        return False
    # As many rows as the largest has: no size more that the model has to be prepared for.
    some = slice(known[-1].rows)
    try:
        found = values(source, rows_of(mixed, some))
    except Refused:
        return False
    return compare(rows_of(wanted, some), found, tolerance).ok


@dataclasses.dataclass(frozen=True)
class _Known:
    """What the model gave for some inputs."""

    inputs: Arrays
    values: Arrays

    @property
    def rows(self) -> int:
        return row_count(self.inputs, ())

    @property
    def has_rows(self) -> bool:
        """Whether the values have them, numbers all of them."""
        found = self.values.values()
        return all(array.ndim and len(array) == self.rows and array.dtype.kind in "fiub" for array in found)

    def backwards(self) -> _Known:
        """The same with the last row first."""
        last_first = slice(None, None, -1)
        return _Known(rows_of(self.inputs, last_first), rows_of(self.values, last_first))


def _may_have_rows(source: Source) -> bool:
    """Whether the first axis of every input is a free one, all of them of one size, that no other axis has."""
    shapes = list(axis_names(source).values())
    first = {shape[0] if shape else None for shape in shapes}
    others = {size for shape in shapes for size in shape[1:]}
    return len(first) == 1 and all(isinstance(label, str) for label in first) and not first & others


def _is_by_row(source: Source, function: Function) -> bool:
    """Whether the results of ``function`` have rows if the outputs have."""
    inputs = {spec.name for spec in source.inputs}
    return all(
        request.kind in _BY_ROW
        and request.of.name in source.outputs
        and {item.name for item in request.wrt} <= inputs
        and all(item.is_whole for item in (request.of, *request.wrt))
        for request in function.requests
    )


def samples_interact(
    source: Source, functions: Sequence[Function], drawn: Sequence[Sample], tolerance: Tolerance, training: bool
) -> bool:
    """Whether a row alone gives something else than the row among others.

    Such rows are no batch, and have no derivative each: :class:`ExportError`, unless ``training`` requests batch
    statistics and only for gradients and vjps, which are then those of the sum over the batch, as a tape gives them.
    """
    sample, whole = _first_taken(source, drawn)
    per_sample = [request for function in functions for request in function.requests]
    if sample is None or sample.rows is None:
        return False
    shared = functions[0].shared
    for name in source.outputs:
        if name not in shared and (whole[name].ndim == 0 or whole[name].shape[0] != sample.rows):
            raise ExportError(
                f"output {name!r} has no batch axis; export with batched=False for whole-tensor derivatives, or remove"
                " it from what the model returns"
            )
    loose = Tolerance(max(1e-3, tolerance.float32), max(1e-7, tolerance.float64))
    if source.points:
        require_apart(source, functions, sample, whole, loose)
    alone = _in_parts(source, sample, shared)
    whole = in_every_row(whole, shared, sample.inputs, source.shared)
    for name in source.outputs if alone is not None else ():
        if whole[name].dtype.kind != "f" and name not in shared:
            continue
        part = (alone or {})[name]
        if compare({name: whole[name][: len(part)]}, {name: part}, loose).ok:
            continue
        if name in shared:
            raise ExportError(
                f"output {name!r} has no batch axis and changes with the samples of the batch: export with"
                " batched=False, or do not return it from the model"
            )
        if training and all(request.sums_over_batch for request in per_sample):
            return True
        raise ExportError(
            f"output {name!r} of one sample changes with the other samples of its batch, so there is no derivative per"
            " sample; export with batched=False, where derivatives are those of the whole tensor"
            + _crossed(source, whole[name])
        )
    return False


def _crossed(source: Source, array: np.ndarray[Any, Any]) -> str:
    """The end of a message, where rows of one input meet those of another: ``(B, m)``, ``(N, 2)`` to ``(B, N)``."""
    inputs = [spec.name for spec in source.inputs if source.lead(spec.name)]
    if len(inputs) < 2 or array.ndim < 2 or array.shape[0] != array.shape[1]:
        return ""
    return (
        f". If every row of {inputs[0]} meets every row of {inputs[1]}, as functions meet points, write batch_axes=2,"
        f" batched={dict(zip(inputs, (FUNCTIONS, POINTS), strict=False))} (docs/howto/points.md)"
    )


def _first_taken(source: Source, drawn: Sequence[Sample]) -> tuple[Sample | None, Arrays]:
    """The first sample of several rows that the model takes, with its values; the caller's must be taken."""
    for sample in drawn:
        if sample.rows is None or sample.rows < 2:
            continue
        try:
            return sample, values(source, sample.inputs, whole=sample.given is not None)
        except Refused as problem:
            if sample.given is not None:
                run = functools.partial(values, source)
                raise refusal_of_given(sample.given, run, sample.inputs, problem, source.shared) from problem
    return None, {}


def _in_parts(source: Source, sample: Sample, shared: Collection[str]) -> Arrays | None:
    """Values of the first rows, computed one at a time, or two where the model rejects one alone; else None."""
    most = 2 if are_large(sample.inputs, shared) else 4
    for size in (1, 2):
        rows = min(sample.rows or 0, most) // size * size
        try:
            some = [rows_of(sample.inputs, slice(at, at + size), source.shared) for at in range(0, rows, size)]
            parts = [in_every_row(values(source, part), shared, part, source.shared) for part in some]
        except Refused:
            continue
        if rows:
            return {name: np.concatenate([part[name] for part in parts]) for name in source.outputs}
    return None
