"""The live model's answer to every sample, derivatives and all: what artifacts are compared with, without a truth."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pullback_export.derivatives.plan import Function
from pullback_export.gate.live_model import Arrays, Refused, answer, joined, live_rows, refusal_of_given
from pullback_export.gate.samples import Sample
from pullback_export.sources.source import Source


def references(
    function: Function, source: Source, drawn: Sequence[Sample], inputs: Sequence[Arrays], interacting: bool
) -> list[Arrays | Refused]:
    """The live model's answer to each sample, or its refusal; a caller's sample that it refuses is an error.

    Samples that do not influence each other go through it together, those without rows alone: what a model says of
    many rows says nothing of none.
    """
    found: list[Arrays | Refused | None] = [None] * len(drawn)
    full = [index for index, sample in enumerate(drawn) if sample.rows != 0]
    independent = source.batched and not interacting and not function.totals
    together = joined([inputs[index] for index in full], function.whole) if independent else None
    if together is not None:
        whole = live_rows(function, together)
        start = 0
        for index in full if whole is not None else ():
            rows = drawn[index].rows or 0
            found[index] = {name: array[start : start + rows] for name, array in (whole or {}).items()}
            start += rows
    for index, sample in enumerate(drawn):
        if found[index] is None:
            found[index] = _alone(function, sample, inputs[index])
    return [item for item in found if item is not None]


def _alone(function: Function, sample: Sample, inputs: Arrays) -> Arrays | Refused:
    try:
        return answer(function, inputs, whole=sample.given is not None)
    except Refused as problem:
        if sample.given is None:
            return problem
        run = functools.partial(answer, function)
        raise refusal_of_given(sample.given, run, inputs, problem, function.whole) from problem
