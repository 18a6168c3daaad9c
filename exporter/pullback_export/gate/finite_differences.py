"""Central differences: an opinion on the derivatives that owes nothing to automatic differentiation.

Each derivative is contracted with a random direction on its last input and compared with the difference of the
function one order below, ``(f(x + h t) - f(x - h t)) / 2h``, sample by sample. In float64 where there is an exact
reference, whose derivatives and values are compared; else in float32, with larger steps and a wider bound. A sample
whose one-sided differences disagree lies at a kink and is left out; the report says how many.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pullback.parity import Report, Row

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Function
from pullback_export.gate.difference_quotient import Judge
from pullback_export.gate.exact_source import ExactSource
from pullback_export.gate.samples import Sample
from pullback_export.gate.verdicts.excuses import SURROGATES
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Precision:
    """How differences are taken in one dtype: steps relative to the input's size, and the bound that suits them.

    One-sided differences that are further apart than ``kink`` of the size lie at a kink; curvature brings them apart
    by as much as the step is long.
    """

    dtype: str
    steps: tuple[float, ...]
    bound: float
    kink: float


FLOAT64 = Precision("float64", (1e-5, 1e-6, 1e-4, 1e-7, 1e-8), 1e-5, 1e-5)
# Of the exact reference, at points that a float32 model is made for: not as flat as a test function.
TRUTH = dataclasses.replace(FLOAT64, kink=1e-3)
FLOAT32 = Precision("float32", (1e-2, 3e-3, 3e-2, 1e-3), 2e-2, 2e-2)
# Rows of a sample that are checked, and components of a Laplacian.
MOST_ROWS = 8
MOST_COMPONENTS = 32


def check(
    source: Source,
    exact: ExactSource | None,
    function: Function,
    sample: Sample,
    inputs: Mapping[str, Array],
    reference: Mapping[str, Array],
    interacting: bool = False,
    surrogates: Sequence[str] = (),
    known: Mapping[str, Array] | None = None,
) -> Report:
    """One row for each request of ``function`` that differences can judge; a note for each that they cannot.

    ``inputs`` are those of ``sample``, with seeds; ``reference`` holds the results for them, ``known`` what outputs are
    known already: of ``exact`` where there is one, else of the live model.
    ``interacting``: samples influence each other, so that only sums over the batch can be compared. ``surrogates``:
    ops that TensorFlow gives another gradient than their derivative on purpose; with them a difference is a warning.
    """
    report = Report()
    for request in function.requests:
        reason = _cannot_judge(source, function, request, inputs)
        if reason:
            report += Report(notes=(f"{request}: no central differences: {reason}",))
            continue
        found = _check(source, exact, request, sample, inputs, reference, interacting, known or {})
        report += _as_warnings(found, surrogates) if surrogates else found
    return report


def surrogate_ops(graph: Any) -> tuple[str, ...]:
    """Ops in a traced graph whose gradient is a convention, such as ``StopGradient`` or a ``tf.custom_gradient``."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    found = {node.op for node in nodes if node.op.startswith(tuple(SURROGATES))}
    if any(node.op == "IdentityN" and "_gradient_op_type" in node.attr for node in nodes):
        found.add("tf.custom_gradient")
    return tuple(sorted(found))


def _as_warnings(report: Report, surrogates: Sequence[str]) -> Report:
    because = f"the model has {', '.join(surrogates)}, whose gradient TensorFlow defines otherwise"
    rows = tuple(
        dataclasses.replace(row, problem="", warning=f"{row.problem}; {because}") if row.problem else row
        for row in report.rows
    )
    return Report(rows, report.notes)


def _check(
    source: Source,
    exact: ExactSource | None,
    request: Request,
    sample: Sample,
    inputs: Mapping[str, Array],
    reference: Mapping[str, Array],
    interacting: bool,
    known: Mapping[str, Array],
) -> Report:
    precision = _precision(source, exact)
    parted = source.batched and not interacting
    some = slice(MOST_ROWS) if parted else ...
    judge = Judge(
        source,
        request,
        {name: array[some] for name, array in inputs.items()},
        parted,
        {name: array[some] for name, array in known.items()},
        exact,
        float(np.finfo(precision.dtype).eps),
    )
    over_batch = sample.rows if interacting else None
    result = np.asarray(reference[request.name], np.float64)[some] / request.scale
    attempts: list[_Attempt] = []
    steps = _after_one_row(judge, result, precision) if parted and judge.is_large else list(precision.steps)
    while steps:
        step = steps.pop(0)
        attempts.append(_attempt(judge, result, step, precision.kink, over_batch))
        if not attempts[-1].covers:
            steps = _past_kinks(steps, step, attempts[-1], precision.bound)
        elif attempts[-1].worst <= precision.bound * attempts[-1].size:
            break
    best = min(attempts, key=lambda attempt: (not attempt.covers, attempt.relative))
    if best.relative > precision.bound and over_batch is None:
        best = _without_jumps(judge, best, precision)
    return _report(request, sample, precision, best, _settled(attempts, precision.bound))


def _precision(source: Source, exact: ExactSource | None) -> Precision:
    """An operator of the exact reference that has no kernel leaves float32's noise."""
    if source.dtype == "float64":
        return FLOAT64
    return TRUTH if exact is not None and exact.coverage.exact else FLOAT32


def _after_one_row(judge: Judge, result: Array, precision: Precision) -> list[float]:
    """The steps in the order in which to try them, where rows are large: one of them shows if the first meets kinks."""
    first, *others = precision.steps
    attempt = _attempt(judge.first_row(), result[:1], first, precision.kink, None)
    return [first, *others] if attempt.covers else [*_past_kinks(others, first, attempt, precision.bound), first]


def _attempt(judge: Judge, result: Array, step: float, kink: float, summed_rows: int | None) -> _Attempt:
    """Differences at ``step`` beside what ``result``, the derivative, predicts; ``summed_rows`` only as their sum."""

    def over_batch(array: Array) -> Array:
        return array if summed_rows is None else np.asarray(array.sum(axis=0))

    predicted = over_batch(judge.predicted(result))
    measured, apart = (over_batch(array).reshape(predicted.shape) for array in judge.measured(step))
    noise = judge.noise(step) * (summed_rows or 1)
    size = max(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in (predicted, measured))
    smooth = (apart <= kink * size + noise) & np.isfinite(measured - predicted)
    return _Attempt(predicted, measured, smooth, noise, size)


def _without_jumps(judge: Judge, attempt: _Attempt, precision: Precision) -> _Attempt:
    """The attempt without entries where the derivative itself jumps, although the function does not bend.

    What TensorFlow says at a tie is a convention: ``max(x, 0) + min(x, 0)`` has the slope 2 at zero. A derivative that
    is wrong is so beside the sample too.
    """
    step = min(precision.steps)
    allowed = precision.bound * attempt.size
    smooth = attempt.smooth
    here, *others = (found.reshape(smooth.shape) for found in judge.around(step))
    for beside in others:
        with np.errstate(invalid="ignore"):
            smooth = smooth & (np.abs(beside - here) <= allowed)
    return dataclasses.replace(attempt, smooth=smooth)


def _past_kinks(steps: Sequence[float], step: float, attempt: _Attempt, bound: float) -> list[float]:
    """The steps that are left, where ``step`` met too many kinks: first the smallest that rounding hardly touches.

    Longer ones meet more kinks, and come last.
    """
    allowed = 1e-3 * bound * attempt.size
    fine = sorted(left for left in steps if left < step and attempt.noise * step / left <= allowed)
    shorter = [left for left in steps if left < step and left not in fine]
    return fine + shorter + [left for left in steps if left > step]


def _cannot_judge(source: Source, function: Function, request: Request, inputs: Mapping[str, Array]) -> str:
    names = {spec.name for spec in source.inputs}
    if not {item.name for item in request.wrt} <= names or request.of.name not in source.outputs:
        return "it is about an inner layer"
    if sum(other.name == request.name for other in function.requests) > 1:
        return "it adds up several requests"
    components = int(np.prod(inputs[request.wrt[0].name].shape[1 if source.batched else 0 :]))
    if request.differs_by_component and components > MOST_COMPONENTS:
        return f"it has more than {MOST_COMPONENTS} components"
    return ""


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """Differences at one step; ``smooth`` marks the entries that do not lie at a kink."""

    predicted: Array
    measured: Array
    smooth: Array
    noise: float
    size: float

    @functools.cached_property
    def worst(self) -> float:
        """The largest difference from the prediction, beyond the noise."""
        return _distance(self.measured, self.predicted, self.smooth, self.noise)

    @property
    def covers(self) -> bool:
        """Whether at least half of the entries could be judged."""
        return not self.smooth.size or bool(self.smooth.mean() >= 0.5)

    @property
    def relative(self) -> float:
        return self.worst / self.size if self.size else 0.0


def _distance(left: Array, right: Array, where: Array, noise: float) -> float:
    """The largest difference beyond the noise."""
    return float(np.where(where, np.maximum(np.abs(left - right) - noise, 0), 0).max(initial=0.0))


def _settled(attempts: Sequence[_Attempt], bound: float) -> bool:
    """Whether two steps agree with each other: only then can differences contradict anything."""
    for i, one in enumerate(attempts):
        for other in attempts[i + 1 :]:
            where = one.smooth & other.smooth
            if where.mean() < 0.5:
                continue
            largest = float(np.where(where, np.abs(one.measured), 0).max(initial=0.0))
            if _distance(one.measured, other.measured, where, one.noise + other.noise) <= bound * largest:
                return True
    return len(attempts) == 1


def _report(request: Request, sample: Sample, precision: Precision, best: _Attempt, settled: bool) -> Report:
    error = np.where(best.smooth, np.abs(best.measured - best.predicted), 0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape)) if error.size else None
    rms = float(np.sqrt(np.mean(error**2))) if error.size else 0.0
    problem = warning = ""
    if best.relative > precision.bound and settled:
        problem = f"differs from central differences by {best.relative:.2g} of the scale"
    elif best.relative > precision.bound:
        warning = "central differences settle at no step, so they say nothing here"
    stage = f"central differences in {precision.dtype}: {sample.label}"
    row = Row(
        stage,
        request.name,
        precision.dtype,
        error.shape,
        best.worst,
        rms,
        best.size,
        precision.bound,
        at,
        problem,
        warning,
    )
    kinks = int((~best.smooth).sum())
    left_out = f"{request}: {kinks} of {error.size} central differences lie at a kink and were left out"
    return Report((row,), (left_out,) if kinks else ())
