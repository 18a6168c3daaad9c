"""Central differences: an opinion on the derivatives that owes nothing to automatic differentiation.

Each derivative is contracted with a random direction on its last input and compared with the difference of the
function one order below, ``(f(x + h t) - f(x - h t)) / 2h``, sample by sample. In float64 where there is an exact
reference, whose derivatives and values are compared; else in float32, with larger steps and a wider bound. A sample
whose one-sided differences disagree lies at a kink and is skipped; the report says how many.

Where the derivative is not that of the value on purpose (``StopGradient``, ``tf.custom_gradient``), differences are
taken once more of what the model declares (:class:`pullback_export.gate.exact_source.HeldSource`), which decide. Where
no step settles, differences are extrapolated, and decide as far as they are known. Of large rows, which
are dear, one is tried first, and the others where it, or the last, is smooth at some step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.parity import Report, Row

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Function
from pullback_export.gate.differences.attempts import (
    FLOAT32,
    FLOAT64,
    TRUTH,
    Attempt,
    Precision,
    of_one_row,
    settled,
    steady_at,
    tried,
)
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.differences.difference_quotient import DifferenceQuotient
from pullback_export.gate.differences.extrapolation import Outcome, extrapolated
from pullback_export.gate.exact_source import ExactSource, HeldSource
from pullback_export.gate.live_model import rows_of
from pullback_export.gate.samples import Sample
from pullback_export.gate.verdicts.excuses import HELD
from pullback_export.overrides.declared.held_gradients import NotHeldError
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]


# Rows of a sample that are checked, and components of a Laplacian.
MOST_ROWS = 8
MOST_COMPONENTS = 32


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What is compared: the ``reference`` results for ``inputs``, those of ``sample`` with seeds."""

    source: Source
    exact: ExactSource | None
    sample: Sample
    inputs: Mapping[str, Array]
    reference: Mapping[str, Array]
    interacting: bool


def check(
    source: Source,
    exact: ExactSource | None,
    function: Function,
    sample: Sample,
    inputs: Mapping[str, Array],
    reference: Mapping[str, Array],
    interacting: bool = False,
    conventions: Conventions | None = None,
    known: Mapping[str, Array] | None = None,
) -> Report:
    """One row for each request of ``function`` that differences can check; a note for each that they cannot.

    ``inputs`` are those of ``sample``, with seeds; ``reference`` holds the results for them, ``known`` what outputs are
    known already: of ``exact`` where there is one, else of the live model.
    ``interacting``: samples influence each other, so that only sums over the batch can be compared. ``conventions``
    says which requests pass ops that TensorFlow gives another gradient than their derivative on purpose.
    """
    report = Report()
    answers = _Answers(source, exact, sample, inputs, reference, interacting)
    for request in function.requests:
        reason = _not_comparable(source, function, request, inputs)
        if reason:
            report += Report(notes=(f"{request}: no central differences: {reason}",))
            continue
        found = _check(answers, request, known or {})
        passed = conventions.of(request) if conventions is not None and not found.ok else ()
        if passed:
            found = _as_declared(answers, found, passed, request)
        report += found
    return report


def _as_declared(answers: _Answers, plain: Report, passed: Sequence[str], request: Request) -> Report:
    """What becomes of ``plain``, where the request has passed ops whose gradient is a convention.

    Differences of what these ops declare decide. Only where an op cannot be held, ``plain`` is a warning.
    """
    because = f"the model has {', '.join(passed)}, whose gradient TensorFlow defines otherwise"
    exact = answers.exact
    if exact is not None and set(passed) <= HELD:
        try:
            held = _check(dataclasses.replace(answers, source=exact.source), request, {}, held=True)
        except (NotHeldError, tf.errors.OpError, LookupError, ValueError) as problem:
            said = " ".join(str(problem).split())[:200]
            return _warned(plain, because) + Report(notes=(f"{request}: not held at the sample: {said}",))
        if not held.ok:
            return held
        because += "; differences of what it declares agree"
    return _warned(plain, because)


def _warned(report: Report, because: str) -> Report:
    rows = tuple(
        dataclasses.replace(row, problem="", warning=f"{row.problem}; {because}") if row.problem else row
        for row in report.rows
    )
    return Report(rows, report.notes)


def _check(answers: _Answers, request: Request, known: Mapping[str, Array], held: bool = False) -> Report:
    source, exact = answers.source, answers.exact
    precision = _precision(source, exact)
    total = request.is_total(source.shared)
    independent = source.batched and not answers.interacting and not total
    some = slice(MOST_ROWS) if independent else ...
    seeds = [seed.name for seed in request.seeds if seed.owner.name in source.shared]
    of_rows = rows_of(answers.inputs, some, {*source.shared, *seeds})
    quotient = DifferenceQuotient(
        source,
        request,
        of_rows,
        independent,
        {name: array[some] for name, array in known.items()},
        HeldSource(exact.source, of_rows) if held and exact is not None else exact,
        float(np.finfo(precision.dtype).eps),
    )
    over_batch = answers.sample.rows if answers.interacting or total else None
    result = np.asarray(answers.reference[request.name], np.float64)[some] / request.scale
    rows = quotient.rows
    quotient, attempts = _tried(quotient, result, precision, over_batch)
    best = min(attempts, key=lambda attempt: (not attempt.covers, attempt.relative))
    few = not best.covers
    steady = np.ones(best.smooth.shape, bool)
    if over_batch is None and (few or best.relative > precision.bound):
        steady = steady_at(quotient, best, precision)
        best = dataclasses.replace(best, smooth=best.smooth & steady)
    doubtful = best.relative > precision.bound and not settled(attempts, precision.bound)
    outcome = None
    if best.size and (doubtful or few) and steady.any():
        one = quotient.row(0) if quotient.is_large else quotient
        found = extrapolated(one, precision.longest, over_batch, best.size, precision.bound, precision.kink)
        outcome = found.compared(best.predicted, best.smooth, steady, doubtful)
    return _report(request, answers.sample, precision, best, outcome, held, rows - quotient.rows)


def _tried(
    quotient: DifferenceQuotient, result: Array, precision: Precision, over_batch: int | None
) -> tuple[DifferenceQuotient, list[Attempt]]:
    """Attempts, and at what: the first row alone, where rows are large and smooth at no step."""
    steps: Sequence[float] = precision.steps
    if quotient.is_large:
        attempts, steps = of_one_row(quotient, result, precision)
        if not steps:
            return quotient.row(0), attempts
    return quotient, tried(quotient, result, steps, precision, over_batch, precision.agrees)


def _precision(source: Source, exact: ExactSource | None) -> Precision:
    """An operator of the exact reference that has no kernel leaves float32's noise."""
    if source.dtype == "float64":
        return FLOAT64
    return TRUTH if exact is not None and exact.coverage.exact else FLOAT32


def _not_comparable(source: Source, function: Function, request: Request, inputs: Mapping[str, Array]) -> str:
    names = {spec.name for spec in source.inputs}
    if not {item.name for item in request.wrt} <= names or request.of.name not in source.outputs:
        return "it is about an inner layer"
    if sum(other.name == request.name for other in function.requests) > 1:
        return "it adds up several requests"
    components = int(np.prod(inputs[request.wrt[0].name].shape[source.depth(request.wrt[0].name) :]))
    if request.differs_by_component and components > MOST_COMPONENTS:
        return f"it has more than {MOST_COMPONENTS} components"
    return ""


def _report(
    request: Request,
    sample: Sample,
    precision: Precision,
    best: Attempt,
    found: Outcome | None,
    held: bool,
    left: int,
) -> Report:
    """The row, by the ``best`` attempt; where no two of them agree, or most meet kinks, by what was ``found``.

    So many rows are ``left`` out.
    """
    smooth = best.smooth if found is None else found.smooth
    error = np.where(best.smooth, np.abs(best.measured - best.predicted), 0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape)) if error.size else None
    rms = float(np.sqrt(np.mean(error**2))) if error.size else 0.0
    worst = best.worst if found is None else found.error if found.alone else max(found.error, best.worst)
    relative, problem, warning = worst / best.size if best.size else 0.0, "", ""
    if found is not None and relative <= precision.bound < found.uncertainty / best.size:
        known = found.uncertainty / best.size
        warning = f"central differences settle at no step; extrapolated, they are known to {known:.1g} and agree"
    if relative > precision.bound:
        what = "central differences of what the model declares" if held else "central differences"
        problem = f"differs from {what} by {relative:.2g} of the scale"
    stage = f"central differences in {precision.dtype}: {sample.label}"
    row = Row(
        stage,
        request.name,
        precision.dtype,
        error.shape,
        worst,
        rms,
        best.size,
        precision.bound,
        at,
        problem,
        warning,
    )
    kinks = int((~smooth).sum())
    notes = [f"{request}: {kinks} of {error.size} central differences lie at a kink and were skipped"] if kinks else []
    if left:
        notes.append(f"{request}: central differences of one row alone, which is large: {left} more were not tried")
    return Report((row,), tuple(notes))
