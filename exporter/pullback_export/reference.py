"""The live model's answers: eagerly, one backward pass per seed (vectorised beyond 64 seeds)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives import Function
from pullback_export.errors import ExportError
from pullback_export.parity_samples import Sample
from pullback_export.source import Source
from pullback_export.vectorization import mostly_one_by_one

Arrays = dict[str, np.ndarray[Any, Any]]
# Inputs that go through the live model at once, where rows may be parted: a tape keeps every value in between, which
# for an image of this size is a gigabyte.
BYTES_AT_ONCE = 5 * 2**19


def live(function: Function, inputs: Mapping[str, Any]) -> Arrays | None:
    """The live model's answer; None where it does not accept the input (an empty batch, say)."""
    tensors = [tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs]
    try:
        results = function.compute(mostly_one_by_one, *tensors)
    except (tf.errors.OpError, ValueError) as problem:
        if any(0 in np.shape(item) for item in inputs.values()):
            return None
        raise _fails(problem) from problem
    return {name: np.asarray(result) for name, result in zip(function.outputs, results, strict=True)}


def live_rows(function: Function, inputs: Mapping[str, Any]) -> Arrays | None:
    """The same for rows that do not influence each other, as many at once as memory should hold."""
    rows = len(next(iter(inputs.values())))
    size = rows_at_once(inputs)
    if rows <= size:
        return live(function, inputs)
    parts = [live(function, rows_of(inputs, slice(at, at + size))) for at in range(0, rows, size)]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return {name: np.concatenate([part[name] for part in found]) for name in function.outputs}


def rows_at_once(inputs: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """How many rows like these make :data:`BYTES_AT_ONCE`, and at least one."""
    rows = len(next(iter(inputs.values())))
    each = sum(array.nbytes for array in inputs.values()) / max(rows, 1)
    return max(1, int(BYTES_AT_ONCE // max(each, 1)))


def rows_of(inputs: Mapping[str, Any], rows: Any) -> Arrays:
    """The chosen rows of every input."""
    return {name: array[rows] for name, array in inputs.items()}


def references(
    function: Function, source: Source, drawn: Sequence[Sample], inputs: Sequence[Arrays], interacting: bool
) -> list[Arrays | None]:
    """The live model's answer to each sample. Samples that do not influence each other go through it together."""
    per_sample = [{name: array.shape[1:] for name, array in item.items()} for item in inputs]
    if not source.batched or interacting or any(shapes != per_sample[0] for shapes in per_sample):
        return [live(function, item) for item in inputs]
    together = {name: np.concatenate([item[name] for item in inputs]) for name in inputs[0]}
    answer = live_rows(function, together)
    assert answer is not None
    found: list[Arrays | None] = []
    start = 0
    for sample in drawn:
        rows = sample.rows or 0
        found.append({name: array[start : start + rows] for name, array in answer.items()})
        start += rows
        if rows == 0 and not _takes(source, sample):
            found[-1] = None
    return found


def values(source: Source, inputs: Mapping[str, Any]) -> Arrays:
    """Outputs of the live model, without derivatives."""
    try:
        results = source.call(*(tf.constant(inputs[spec.name], spec.dtype) for spec in source.inputs))
    except (tf.errors.OpError, ValueError) as problem:
        raise _fails(problem) from problem
    return {name: np.asarray(result) for name, result in zip(source.outputs, results, strict=True)}


def _takes(source: Source, sample: Sample) -> bool:
    """Whether the live model accepts the sample at all (an empty batch, say)."""
    try:
        source.call(*(tf.constant(sample.inputs[spec.name], spec.dtype) for spec in source.inputs))
    except (tf.errors.OpError, ValueError):
        return False
    return True


def _fails(problem: Exception) -> ExportError:
    return ExportError(f"the live model fails on a sample: {problem}; give samples={{...}} that it takes")
