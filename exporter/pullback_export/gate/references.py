"""The live model's answer to every sample, derivatives and all: what artifacts are compared with, without a truth."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from pullback_export.derivatives.plan import Function
from pullback_export.gate.live_model import (
    Arrays,
    Refused,
    answer,
    distinct,
    joined,
    live_rows,
    of_one_size,
    refusal_of_given,
    row_count,
    rows_at_once,
    rows_of,
)
from pullback_export.gate.samples import Sample
from pullback_export.sources.source import Source


def all_references(
    functions: Sequence[Function],
    source: Source,
    drawn: Sequence[Sample],
    inputs: Sequence[Sequence[Arrays]],
    interacting: bool,
    apart: bool = False,
) -> Iterator[list[Arrays | Refused]]:
    """The answers of each function in turn, of which ``evaluate`` is the first, to its ``inputs`` for each sample.

    Where ``evaluate`` is values alone, they are read from the run of a product, which passes through the model once for
    both. What the product refuses is asked of ``evaluate`` alone: the model may have a value there and no derivative.
    """
    evaluate, *products = functions
    both = _with_values(products[0], evaluate) if products else None
    if both is not None:
        answers = references(both, source, drawn, inputs[1], interacting, apart)
        values = _read(evaluate, answers)
        left = [index for index, item in enumerate(values) if isinstance(item, Refused)]
        # Under the name of the product, whose runs say how long a run of this model takes.
        alone = dataclasses.replace(evaluate, name=both.name)
        some, those = [drawn[index] for index in left], [inputs[0][index] for index in left]
        for index, item in zip(left, references(alone, source, some, those, interacting, apart), strict=True):
            values[index] = item
        yield values
        yield _read(products[0], answers)
    for function, given in list(zip(functions, inputs, strict=True))[2 if both is not None else 0 :]:
        yield references(function, source, drawn, given, interacting, apart)


def _with_values(product: Function, evaluate: Function) -> Function | None:
    """``product``, and behind its results what ``evaluate`` gives; None where that is more than can be read from it."""
    more = tuple(name for name in evaluate.outputs if name not in product.outputs)
    shared = evaluate.shared.intersection(more)
    if evaluate.requests or product.beside is None or shared != evaluate.shared:
        return None
    compute = functools.partial(product.beside, more)
    return dataclasses.replace(product, outputs=(*product.outputs, *more), compute=compute, shared=shared)


def _read(function: Function, answers: Sequence[Arrays | Refused]) -> list[Arrays | Refused]:
    """The outputs of ``function`` among ``answers``."""
    return [item if isinstance(item, Refused) else {name: item[name] for name in function.outputs} for item in answers]


def references(
    function: Function,
    source: Source,
    drawn: Sequence[Sample],
    inputs: Sequence[Arrays],
    interacting: bool,
    apart: bool = False,
) -> list[Arrays | Refused]:
    """The live model's answer to each sample, or its refusal; a caller's sample that it refuses is an error.

    Samples of one size that do not influence each other go through it together, those without rows alone: what a
    model says of many rows says nothing of none.
    """
    found: list[Arrays | Refused | None] = [None] * len(drawn)
    full = [index for index, sample in enumerate(drawn) if sample.rows != 0]
    independent = are_independent(function, source, interacting, apart)
    for group in of_one_size(inputs, full, function.whole) if independent else ():
        together = joined([inputs[index] for index in group], function.whole) if len(group) > 1 else None
        answers = _of_distinct(function, together) if together is not None else None
        start = 0
        for index in group if answers is not None else ():
            rows = row_count(inputs[index], function.whole)
            found[index] = {name: array[start : start + rows] for name, array in (answers or {}).items()}
            start += rows
    for index, sample in enumerate(drawn):
        if found[index] is None:
            found[index] = _alone(function, sample, inputs[index], independent)
    return [item for item in found if item is not None]


def _of_distinct(function: Function, inputs: Arrays) -> Arrays | None:
    """The live model's answers to rows that do not influence each other; what occurs twice is asked once."""
    kept, places = distinct(inputs, function.whole)
    answers = live_rows(function, rows_of(inputs, kept, function.whole))
    return None if answers is None else rows_of(answers, places)


def are_independent(function: Function, source: Source, interacting: bool, apart: bool) -> bool:
    """Whether rows may go through ``function`` in any company: those of a batch, or what is ``apart`` without one."""
    return apart or (source.batched and not interacting and not function.totals)


def _alone(function: Function, sample: Sample, inputs: Arrays, independent: bool) -> Arrays | Refused:
    if independent and row_count(inputs, function.whole) > rows_at_once(inputs, function.whole):
        found = live_rows(function, inputs)
        if found is not None:
            return found
    try:
        return answer(function, inputs, whole=sample.given is not None)
    except Refused as problem:
        if sample.given is None:
            return problem
        run = functools.partial(answer, function)
        raise refusal_of_given(sample.given, run, inputs, problem, function.whole) from problem
