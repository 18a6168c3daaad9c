"""What the live model says of every sample: the side of the gate that artifacts are compared with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback.parity import Report, compare

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate.differences import finite_differences
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.exact_source import ExactSource
from pullback_export.gate.live_model import Arrays, Refused, in_every_row, refusal_of_given, rows_of, values
from pullback_export.gate.points_apart import require_apart
from pullback_export.gate.references import all_references
from pullback_export.gate.samples import Sample, last_finite
from pullback_export.gate.supervision.limits import OverLimit
from pullback_export.gate.truth import Truth, truth_of, without_truth
from pullback_export.gate.verdicts.surroundings import Surroundings
from pullback_export.gate.verdicts.verdict import Expected
from pullback_export.sources.batches import FUNCTIONS, POINTS
from pullback_export.sources.source import Source


@dataclasses.dataclass(frozen=True)
class AcceptedSample:
    """One sample of one function: inputs with seeds, the live model's answer, and the truth of what has one."""

    sample: Sample
    inputs: Arrays
    reference: Arrays
    surroundings: Surroundings
    truth: Arrays = dataclasses.field(default_factory=dict)

    @property
    def independent(self) -> bool:
        return self.surroundings.independent

    def expected(self, name: str, least: float = 0.0) -> Expected:
        """What an artifact has to say of one output, whose scale is at least ``least``."""
        drawn, extreme = self.sample.given is None, self.sample.extreme
        return Expected(self.reference[name], self.truth.get(name), least, self.independent, drawn, extreme)

    @property
    def best(self) -> Arrays:
        """The reference in its own dtype: the truth, rounded, and the live answer where they are not the same point."""
        return {name: self.expected(name).rounded for name in self.reference}


@dataclasses.dataclass(frozen=True)
class Live:
    """What the live model says: by function and sample, its answer; None where it rejects the sample.

    ``refusals`` says why not, in the model's words.
    """

    source: Source
    functions: Sequence[Function]
    samples: Sequence[Sample]
    inputs: Sequence[Sequence[Arrays]]
    answers: Sequence[Sequence[Arrays | None]]
    interacting: bool
    exact: ExactSource
    truths: Sequence[Truth]
    refusals: Sequence[Mapping[int, str]] = ()

    def independent(self, index: int) -> bool:
        """Whether rows may go through the function of this index in other company than that of their sample."""
        return self.source.batched and not self.interacting and not self.functions[index].totals

    @property
    def centre(self) -> int:
        """The sample for differences: drawn, not the caller's, whose background of zeros may lie on kinks."""
        smooth = [index for index, sample in enumerate(self.samples) if sample.smooth]
        return max((index for index in smooth if self.answers[0][index] is not None), default=smooth[0])

    def accepted(self, index: int) -> dict[int, AcceptedSample]:
        """Every sample that the model accepts, for the function of this index."""
        function = self.functions[index]
        exact, truth = self.exact.functions[function.name], self.truths[index]
        return {
            number: AcceptedSample(
                sample,
                inputs,
                answer,
                Surroundings(function, exact, inputs, self.independent(index), sample.given is None),
                truth.of(number),
            )
            for number, (sample, inputs, answer) in enumerate(
                zip(self.samples, self.inputs[index], self.answers[index], strict=True)
            )
            if answer is not None
        }

    def skipped(self, index: int) -> Report:
        """A note for each sample that the model rejects."""
        refused = self.refusals[index].items()
        return Report(
            notes=tuple(
                f"{self.samples[number].label}: the live model rejects it; skipped ({said})" for number, said in refused
            )
        )

    def measured(self, index: int, conventions: Conventions | None) -> Report:
        """Its derivatives against central differences; where those at a drawn sample object, the caller's decides."""
        function, answers = self.functions[index], self.answers[index]
        chosen = last_finite(self.samples, answers, self.centre)
        if not function.requests or answers[chosen] is None:
            return Report()
        report = self._measured_at(index, chosen, conventions)
        own = next(
            (i for i, item in enumerate(self.samples) if item.given is not None and answers[i] is not None), None
        )
        if own is None or own == chosen or (report is not None and report.ok):
            return report or Report()
        label = self.samples[chosen].label
        note = (
            f"{label}: central differences are off or cannot be computed there; skipped, those at the caller's decide"
        )
        return Report(notes=(note,)) + (self._measured_at(index, own, conventions) or Report())

    def _measured_at(self, index: int, chosen: int, conventions: Conventions | None) -> Report | None:
        """None where the live model refuses a neighbour of the sample, of which an assertion may be the cause."""
        sample, inputs, reference = self.samples[chosen], self.inputs[index][chosen], self.answers[index][chosen]
        assert reference is not None
        function = self.functions[index]
        truth, outputs = self.truths[index].of(chosen), self.truths[0].of(chosen)
        # Differences are taken of the truth where all of the function has one.
        has_truth = set(truth) == set(reference) or self.source.dtype == "float64"
        exact = self.exact if has_truth or self.exact.source is not self.source else None
        known = {name: outputs[name] for name in self.source.outputs if name in outputs and exact is not None}
        answers = reference | truth
        try:
            return finite_differences.check(
                self.source, exact, function, sample, inputs, answers, self.interacting, conventions, known
            )
        except (tf.errors.OpError, ArithmeticError, ValueError, OverLimit) as problem:
            said = " ".join(str(problem).split())
            if self.samples[chosen].given is None and any(item.given is not None for item in self.samples):
                return None
            return Report(notes=(f"{sample.label}: no central differences: beside it the live model fails: {said}",))


def ask(
    source: Source,
    functions: Sequence[Function],
    exact: ExactSource,
    drawn: Sequence[Sample],
    inputs: Sequence[Sequence[Arrays]],
    tolerance: Tolerance,
    training: bool,
) -> Live:
    """The live model's answers to the samples ``drawn``, and the truth; ``inputs`` has them by function, with seeds.

    Raises :class:`ExportError` where samples of a "batched" model influence each other.
    """
    interacting = source.batched and samples_interact(source, functions, drawn, tolerance, training)
    answers: list[list[Arrays | None]] = []
    refusals: list[dict[int, str]] = []
    for found in all_references(functions, source, drawn, inputs, interacting):
        answers.append([None if isinstance(item, Refused) else item for item in found])
        refusals.append({number: item.said for number, item in enumerate(found) if isinstance(item, Refused)})
        _require_one(drawn, found)
    if source.shared:
        _require_rows(functions[0], drawn, answers[0])
    truths = [
        # A model in float64 is as exact as anything here.
        truth_of(
            function,
            exact.functions[function.name],
            drawn,
            given,
            found,
            source.batched and not interacting and not function.totals,
        )
        if source.dtype == "float32"
        else without_truth(len(drawn))
        for function, given, found in zip(functions, inputs, answers, strict=True)
    ]
    return Live(source, functions, drawn, inputs, answers, interacting, exact, truths, refusals)


def _require_one(drawn: Sequence[Sample], found: Sequence[Arrays | Refused]) -> None:
    """Raises the model's refusal where it takes no sample that has rows: then nothing would be compared."""
    full = [item for sample, item in zip(drawn, found, strict=True) if sample.rows != 0]
    refusal = next((item for item in full if isinstance(item, Refused)), None)
    if refusal is not None and all(isinstance(item, Refused) for item in full):
        raise refusal


def _require_rows(evaluate: Function, drawn: Sequence[Sample], answers: Sequence[Arrays | None]) -> None:
    """Raises :class:`ExportError` where something is taken for batched that is computed from what all rows share."""
    for sample, answer in zip(drawn, answers, strict=True):
        for name, array in (answer or {}).items():
            if name not in evaluate.shared and (not array.ndim or len(array) != sample.rows):
                raise ExportError(
                    f"{name!r} of shape {array.shape} has no batch axis, where there are {sample.rows} rows: name the"
                    " input that it is computed from, or export with batched=False"
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
    for size in (1, 2):
        rows = min(sample.rows or 0, 4) // size * size
        try:
            some = [rows_of(sample.inputs, slice(at, at + size), source.shared) for at in range(0, rows, size)]
            parts = [in_every_row(values(source, part), shared, part, source.shared) for part in some]
        except Refused:
            continue
        if rows:
            return {name: np.concatenate([part[name] for part in parts]) for name in source.outputs}
    return None
