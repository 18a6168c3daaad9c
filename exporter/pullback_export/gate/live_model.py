"""The live model's answers: eagerly, one backward pass per seed (vectorised beyond 64 seeds)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.errors import ExportError
from pullback_export.gate.samples import Sample
from pullback_export.sources.source import Source

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
    return in_pieces(functools.partial(live, function), inputs, rows_at_once(inputs))


def in_pieces(run: Callable[[Arrays], Arrays | None], inputs: Mapping[str, Any], size: int) -> Arrays | None:
    """``run(inputs)``, ``size`` rows at a time; None where any of the pieces gives None.

    Right where rows do not influence each other, and every result has one row for each.
    """
    rows = row_count(inputs)
    if rows <= size:
        return run(dict(inputs))
    parts: list[Arrays] = []
    for at in range(0, rows, size):
        part = run(rows_of(inputs, slice(at, at + size)))
        if part is None:
            return None
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_at_once(inputs: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """How many rows like these make :data:`BYTES_AT_ONCE`, and at least one."""
    each = sum(array.nbytes for array in inputs.values()) / max(row_count(inputs), 1)
    return max(1, int(BYTES_AT_ONCE // max(each, 1)))


def row_count(inputs: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """The batch size: the length of any input."""
    return len(next(iter(inputs.values())))


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
    return ExportError(f"the live model fails on a sample: {_told(problem)}; give samples={{...}} that it takes")


def _told(problem: Exception) -> str:
    """On one line, without terminal colours, names of kernels and the arguments that Keras appends."""
    said = re.sub(r"\x1b\[[0-9;]*m|\{\{.*?\}\}", "", str(problem)).split("\n\nArguments received by")[0]
    return " ".join(said.split())
