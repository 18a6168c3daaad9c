"""The gate: the live model against both artifacts and against central differences, before a bundle appears.

The reference is the truth: the traced graph in float64 (see :mod:`pullback_export.gate.exact_reference`), which the
live model has to confirm, eagerly and with one backward pass per seed (vectorised beyond 64 seeds). An artifact passes
within the tolerance, scaled by the largest value, and a small multiple of the live model's own error (see
:mod:`pullback_export.gate.verdicts.verdict`). Where there is no truth, as for float64 models, the live model itself is
the reference. Points beside a sample (:mod:`pullback_export.gate.verdicts.surroundings`) are evaluated only where they
decide. The artifacts answer in a thread of their own meanwhile.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pullback import golden
from pullback.errors import PullbackError
from pullback.parity import Report, Row

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.tracing import Traced
from pullback_export.errors import ExportError
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.exact_source import ExactSource
from pullback_export.gate.laws import laws
from pullback_export.gate.live_answers import AcceptedSample, ask
from pullback_export.gate.live_model import Arrays, row_count, rows_of
from pullback_export.gate.prefetch import prefetched
from pullback_export.gate.rows_apart import rows_are_apart
from pullback_export.gate.samples import Samples, draw_samples
from pullback_export.gate.sampling.seeds import Seeds
from pullback_export.gate.supervision.limits import OverLimit
from pullback_export.gate.target_precision import Witness
from pullback_export.gate.verdicts.bounds import Bounds
from pullback_export.gate.verdicts.comparison import compare_sample
from pullback_export.gate.written_files import Answer, Artifact, artifacts
from pullback_export.sources.source import Source

# Rows of a sample that go into golden.npz at most.
GOLDEN_ROWS = 64
GOLDEN_BYTES = 2**20
# Artifacts whose answers wait for those of the live model: all of one function.
WAITING_ANSWERS = 5


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the gate found: the report, the golden cases, and the range of the samples per input."""

    report: Report
    golden: dict[str, list[golden.Case]]
    ranges: dict[str, tuple[float, float]]

    def summary(self) -> dict[str, object]:
        """The worst row of each stage and output, for the manifest."""
        worst: dict[tuple[str, str], Row] = {}
        for row in self.report.rows:
            key = (row.stage.split(":")[0], row.output)
            if key not in worst or row.relative_error > worst[key].relative_error:
                worst[key] = row
        return Report(tuple(worst.values()), self.report.notes).to_dict()


def check(
    source: Source,
    traced: Sequence[Traced],
    folder: pathlib.Path,
    formats: Sequence[str],
    samples: Samples,
    bounds: Bounds,
    training: bool,
    conventions: Conventions | None = None,
    witness: Witness | None = None,
) -> Checked:
    """Compares every artifact in ``folder`` with the live ``source``; the report may hold failures.

    ``traced`` are the functions with the graphs that artifacts are made of, the truth's too. ``conventions``
    knows what of the model has a gradient that is not its derivative. ``witness`` is the model in its own precision,
    where that of ``source`` is another.

    Raises :class:`ExportError` where samples of a "batched" model influence each other.
    """
    functions = [one.function for one in traced]
    drawn, notes = draw_samples(samples)
    apart = rows_are_apart(source, functions, drawn, bounds.usual)
    drawn, inputs, refused = Seeds.of(traced, source.batched or apart).for_all(drawn)
    written = artifacts(functions, folder, formats)
    told = threading.Event()
    tasks = [
        functools.partial(_answers_of, artifact, given, told)
        for found, given in zip(written, inputs, strict=True)
        for artifact in found
    ]
    report = Report(notes=(*samples.notes, *notes, *refused))
    cases: dict[str, list[golden.Case]] = {}
    # What artifacts answer depends on nothing that the live model says: both are asked at the same time.
    with prefetched(tasks, WAITING_ANSWERS) as answered:
        exact = ExactSource.of(source if witness is None else witness.source, traced)
        try:
            live = ask(source, functions, exact, drawn, inputs, bounds.usual, training, apart)
            measured = [live.measured(index, conventions) for index in range(len(functions))]
        finally:
            told.set()
        for index, function in enumerate(functions):
            accepted = live.accepted(index)
            compared, unfit = _compare_all(function, accepted, written[index], answered, bounds)
            report += live.skipped(index) + compared + live.truths[index].report + measured[index]
            cases[function.name] = _golden_cases(function, accepted, unfit)
        report += laws(functions, live)
        if witness is not None:
            report += witness.confirms(drawn, inputs, live.answers)
    report = Report(report.rows, tuple(dict.fromkeys(report.notes)))
    return Checked(_without_repeated_warnings(report), cases, samples.ranges)


def _answers_of(artifact: Artifact, inputs: Sequence[Arrays], told: threading.Event) -> list[Answer]:
    """What the artifact gives; one with large weights waits until the truth is ``told``, which takes as much memory."""
    if artifact.large:
        told.wait()
    return artifact.answers(inputs)


def _compare_all(
    function: Function,
    accepted: Mapping[int, AcceptedSample],
    written: Sequence[Artifact],
    answered: Iterator[list[Answer]],
    bounds: Bounds,
) -> tuple[Report, dict[int, set[int]]]:
    """Every artifact on every sample, and the rows that fit no comparison elsewhere by the number of their sample.

    ``answered`` gives the answers of the next artifact to all samples.
    """
    report = Report()
    unfit: dict[int, set[int]] = {}
    noted: dict[tuple[str, int], str] = {}
    names = {request.name for request in function.requests}
    usual = _scales([item.reference for item in accepted.values() if item.sample.smooth])
    for artifact in written:
        answers = next(answered)
        refused = _sizes_refused(artifact.stage, accepted, answers)
        noted |= {(artifact.stage.split(",")[0], index): note for index, note in refused.items()}
        for index, item in accepted.items():
            if index in refused:
                continue
            label, least = f"{artifact.stage}: {item.sample.label}", {} if item.sample.smooth else usual
            try:
                actual = _answered(answers[index], label, functools.partial(artifact.again, item.inputs))
            except ExportError:
                if item.sample.given is not None or not item.surroundings.is_refused():
                    raise
                unfit[index] = set(range(item.sample.rows or 1))
                noted["", index] = f"{item.sample.label}: the live model rejects it alone; skipped"
                continue
            found, rows = compare_sample(label, item, actual, bounds, names, least, artifact.fresh().answers)
            report += found
            if rows:
                unfit.setdefault(index, set()).update(rows)
    return report + Report(notes=tuple(noted.values())), unfit


def _sizes_refused(stage: str, accepted: Mapping[int, AcceptedSample], answers: Sequence[Answer]) -> dict[int, str]:
    """A note for each other size of free axes at which a file fails, where it takes some: no number is wrong there.

    TensorFlow has answers where nothing is left, such as to a signal that is shorter than the kernel, and ONNX Runtime
    has not.
    """
    form = stage.split(",")[0]
    resized = [index for index, item in accepted.items() if item.sample.resized]
    found = {}
    for index in resized:
        try:
            answers[index]()
        except Exception as problem:
            said = " ".join(str(problem).split())
            label = accepted[index].sample.label
            found[index] = f"{label}: the {form} file fails where the live model has an answer; skipped ({said})"
    return found if len(found) < len(resized) else {}


def _answered(answer: Answer, label: str, again: Answer) -> Arrays:
    """What an artifact gave; raises :class:`ExportError` where it failed, as the live model took the sample."""
    try:
        try:
            return answer()
        except OverLimit:
            return again()
    except PullbackError:
        raise
    except Exception as problem:
        said = " ".join(str(problem).split())
        raise ExportError(
            f"{label}: the written file fails on a sample that the live model accepts: {said}. Give samples={{...}}"
            " from the model's domain; if they are, report it as a bug of Pullback"
        ) from problem


def _scales(answers: Sequence[Arrays]) -> dict[str, float]:
    """The size of each output on ordinary samples; extreme ones, where derivatives vanish, are measured against it."""
    scales: dict[str, float] = {}
    for answer in answers:
        for name, array in answer.items():
            finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
            scales[name] = max(scales.get(name, 0.0), float(finite.max(initial=0.0)))
    return scales


def _golden_cases(
    function: Function, accepted: Mapping[int, AcceptedSample], unfit: Mapping[int, set[int]]
) -> list[golden.Case]:
    """The samples that bundles are checked with elsewhere, of ordinary ones all rows but those that are ``unfit``."""
    cases = []
    for number, item in accepted.items():
        without = unfit.get(number, set())
        rows = item.sample.rows if item.independent else None
        if item.independent and without:  # rows that are apart without a batch, too
            rows = row_count(item.inputs, function.whole)
        kept = [row for row in range(rows or 0) if row not in without]
        if not item.sample.golden or (without and (item.sample.extreme or not kept)):
            continue
        inputs, best = item.inputs, item.best
        if without:
            inputs, best, rows = rows_of(inputs, kept, function.whole), rows_of(best, kept), len(kept)
        cases.append(_golden(inputs, best, rows, function))
    return cases


def _golden(inputs: Arrays, reference: Arrays, rows: int | None, function: Function) -> golden.Case:
    """The case, cut to as many rows as fit :data:`GOLDEN_BYTES` where there are rows.

    Outputs that are ``shared`` by the rows, of which there is one for each here, are what the bundle gives.
    """
    once = {name: array[0] for name, array in reference.items() if name in function.shared}
    if not rows:
        return golden.Case(dict(inputs), reference | once)
    size = sum(array.nbytes for array in (*inputs.values(), *reference.values())) / rows
    kept = int(max(1, min(rows, GOLDEN_ROWS, GOLDEN_BYTES // max(size, 1))))
    cut = {name: array[:kept] for name, array in reference.items()}
    return golden.Case(rows_of(inputs, slice(kept), function.whole), cut | once)


def _without_repeated_warnings(report: Report) -> Report:
    """A zero derivative on the sample of zeros alone says little; keep the warning where every sample has it."""
    alive = {row.output for row in report.rows if row.scale > 0}
    rows = tuple(
        dataclasses.replace(row, warning="") if row.output in alive and "zero in every sample" in row.warning else row
        for row in report.rows
    )
    return Report(rows, report.notes)
