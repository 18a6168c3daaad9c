"""The live model's answers: eagerly, one backward pass per seed (vectorised beyond 64 seeds)."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.errors import PullbackError

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.errors import ExportError
from pullback_export.gate.sampling.given import Given
from pullback_export.gate.supervision import limits
from pullback_export.sources.source import Source

Arrays = dict[str, np.ndarray[Any, Any]]
# Inputs that go through the live model at once, where rows are independent: a tape keeps every value in between, which
# for an image of this size is a gigabyte.
BYTES_AT_ONCE = 5 * 2**19
# Rows of the first drawn sample, unless they are large.
MANY = 7


class Refused(ExportError):
    """The live model rejects a sample: it raises some exception. ``said`` is its own message, on one line."""

    def __init__(self, said: str) -> None:
        super().__init__(f"the live model fails on a sample: {said}; pass samples={{...}} that it accepts")
        self.said = said


class OutOfLimits(Refused):
    """An evaluation of the live model took too long, or too much memory."""


def live(function: Function, inputs: Mapping[str, Any]) -> Arrays | None:
    """The live model's answer; None where it does not accept the input (an empty batch, say)."""
    try:
        return answer(function, inputs)
    except Refused:
        return None


def answer(function: Function, inputs: Mapping[str, Any], whole: bool = False) -> Arrays:
    """The live model's answer, derivatives and all; raises :class:`Refused`. For ``whole`` see :meth:`Limits.watch`."""
    with refusals(f"answer {function.name}", whole):
        tensors = [tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs]
        results = function.compute(mostly_one_by_one, *tensors)
        found = {name: np.asarray(result) for name, result in zip(function.outputs, results, strict=True)}
    return in_every_row(found, function.shared, inputs, function.whole)


def live_rows(function: Function, inputs: Mapping[str, Any]) -> Arrays | None:
    """The same for rows that do not influence each other, as many at once as memory should hold."""
    whole = function.whole
    return in_pieces(functools.partial(live, function), inputs, rows_at_once(inputs, whole), whole)


def in_pieces(
    run: Callable[[Arrays], Arrays | None], inputs: Mapping[str, Any], size: int, whole: Collection[str]
) -> Arrays | None:
    """``run(inputs)``, ``size`` rows at a time; None where any of the pieces gives None.

    Right where rows do not influence each other, and every result has one row for each. Here and below, ``whole`` are
    the inputs that have no rows: all rows share them.
    """
    rows = row_count(inputs, whole)
    if rows <= size:
        return run(dict(inputs))
    parts: list[Arrays] = []
    for at in range(0, rows, size):
        part = run(rows_of(inputs, slice(at, at + size), whole))
        if part is None:
            return None
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_at_once(inputs: Mapping[str, np.ndarray[Any, Any]], whole: Collection[str]) -> int:
    """How many rows like these make :data:`BYTES_AT_ONCE`, and at least one."""
    size = sum(array.nbytes for name, array in inputs.items() if name not in whole)
    return max(1, int(BYTES_AT_ONCE // max(size / max(row_count(inputs, whole), 1), 1)))


def are_large(inputs: Mapping[str, np.ndarray[Any, Any]], whole: Collection[str]) -> bool:
    """Whether fewer than :data:`MANY` rows like these make :data:`BYTES_AT_ONCE`.

    Few of them are dear, and prove as much as many small ones: an image passes through an operator at thousands of
    places.
    """
    return rows_at_once(inputs, whole) < MANY


def row_count(inputs: Mapping[str, np.ndarray[Any, Any]], whole: Collection[str]) -> int:
    """The batch size: the length of any input with rows; 1 where the first one is a number, which has none."""
    first = next(array for name, array in inputs.items() if name not in whole)
    return len(first) if np.ndim(first) else 1


def point_count(source: Source, inputs: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """How many points there are, where functions meet points; 1 elsewhere."""
    name = next(iter(sorted(source.points)), None)
    return 1 if name is None else int(inputs[name].shape[source.lead(name)])


def in_every_row(
    answer: Mapping[str, Any], shared: Collection[str], inputs: Mapping[str, Any], whole: Collection[str]
) -> Arrays:
    """``answer`` with the outputs that are ``shared`` by all rows once for each row, as the gate compares them."""
    rows = row_count(inputs, whole)
    return {
        name: np.broadcast_to(array, (rows, *np.shape(array))).copy() if name in shared else array
        for name, array in answer.items()
    }


def rows_of(inputs: Mapping[str, Any], rows: Any, whole: Collection[str] = ()) -> Arrays:
    """The chosen rows of every input."""
    return {name: array if name in whole else array[rows] for name, array in inputs.items()}


def of_one_size(inputs: Sequence[Arrays], among: Iterable[int], whole: Collection[str]) -> list[list[int]]:
    """The indices ``among`` those of ``inputs``, together where rows and what all share have the same sizes."""
    groups: dict[Any, list[int]] = {}
    for index in among:
        sizes = ((name, array.shape if name in whole else array.shape[1:]) for name, array in inputs[index].items())
        groups.setdefault(tuple(sizes), []).append(index)
    return list(groups.values())


def joined(inputs: Sequence[Arrays], whole: Collection[str]) -> Arrays | None:
    """The rows of all ``inputs``, one after the other; None where their sizes or what has no rows differ."""
    first = inputs[0] if inputs else {}
    for other in inputs[1:]:
        for name, array in first.items():
            if name in whole:
                if not np.array_equal(array, other[name], equal_nan=array.dtype.kind == "f"):
                    return None
            elif array.shape[1:] != other[name].shape[1:]:
                return None
    return {
        name: array if name in whole else np.concatenate([one[name] for one in inputs]) for name, array in first.items()
    }


def distinct(inputs: Arrays, whole: Collection[str]) -> tuple[list[int], list[int]]:
    """The rows of ``inputs`` without those that occurred before, and where among these each row is."""
    places: dict[tuple[bytes, ...], int] = {}
    kept: list[int] = []
    found: list[int] = []
    for row in range(row_count(inputs, whole)):
        key = tuple(_contents(array[row : row + 1]) for name, array in inputs.items() if name not in whole)
        if key not in places:
            places[key] = len(kept)
            kept.append(row)
        found.append(places[key])
    return kept, found


def _contents(row: np.ndarray[Any, Any]) -> bytes:
    return repr(row.tolist()).encode() if row.dtype == object else row.tobytes()


def values(source: Source, inputs: Mapping[str, Any], whole: bool = False) -> Arrays:
    """Outputs of the live model, without derivatives; raises :class:`Refused`."""
    with refusals("values", whole):
        results = source.call(*(tf.constant(inputs[spec.name], spec.dtype) for spec in source.inputs))
        return {name: np.asarray(result) for name, result in zip(source.outputs, results, strict=True)}


def refusal_of_given(
    given: Given, run: Callable[[Arrays], Any], inputs: Arrays, problem: Refused, whole: Collection[str]
) -> ExportError:
    """What to raise where ``run(inputs)``, ``inputs`` being the caller's, raised ``problem``: it names the row."""
    where, said = given.label, problem.said
    if isinstance(problem, OutOfLimits):
        return ExportError(
            f"{where}: the live model {said}; give samples={{...}} on which it ends, or more time_limit="
        )
    if given.numbers is not None:
        first, last, said = _refused_rows(run, inputs, problem, whole)
        rows = given.numbers[[first, last]]
        where += f": row {rows[0]}" if first == last else f": rows {rows[0]} to {rows[1]} together"
        where += f" of {given.count}"
    return ExportError(f"{where}: the live model rejects it: {said}; pass samples={{...}} that it accepts")


def _refused_rows(
    run: Callable[[Arrays], Any], inputs: Arrays, problem: Refused, whole: Collection[str]
) -> tuple[int, int, str]:
    """The first row that is refused alone, twice, with what is said of it; more rows where none alone is refused."""
    first, last = 0, row_count(inputs, whole) - 1
    while first < last:
        middle = (first + last) // 2
        for low, high in ((first, middle), (middle + 1, last)):
            try:
                run(rows_of(inputs, slice(low, high + 1), whole))
            except Refused as smaller:
                first, last, problem = low, high, smaller
                break
        else:
            break
    return first, last, problem.said


@contextlib.contextmanager
def refusals(kind: str = "", whole: bool = False) -> Iterator[None]:
    """Whatever a live model raises is a refusal, and so is what takes too long; errors of this package pass."""
    try:
        with limits.watched(kind, whole):
            yield
    except PullbackError:
        raise
    except limits.OverLimit as problem:
        raise OutOfLimits(str(problem)) from problem
    except Exception as problem:
        raise Refused(_told(problem)) from problem


def _told(problem: Exception) -> str:
    """On one line, without terminal colours, names of kernels and the arguments that Keras appends."""
    said = re.sub(r"\x1b\[[0-9;]*m|\{\{.*?\}\}", "", str(problem)).split("\n\nArguments received by")[0]
    kind = "" if isinstance(problem, tf.errors.OpError | ValueError) else f"{type(problem).__name__}: "
    return kind + " ".join(said.split())
