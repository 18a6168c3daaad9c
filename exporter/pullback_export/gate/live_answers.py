"""What the live model says of every sample: the side of the gate that artifacts are compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback.parity import Report, compare

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate.differences import finite_differences
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.exact_source import ExactSource
from pullback_export.gate.live_model import Arrays, Refused, answer, in_every_row, live, row_count, rows_of
from pullback_export.gate.references import all_references, are_independent
from pullback_export.gate.rows_apart import samples_interact
from pullback_export.gate.samples import Sample, last_finite
from pullback_export.gate.supervision.limits import OverLimit, watched
from pullback_export.gate.truth import Truth, truth_of, without_truth
from pullback_export.gate.verdicts.surroundings import Surroundings
from pullback_export.gate.verdicts.verdict import Expected, moved_by
from pullback_export.sources.source import Source

# How far results for a row in other company may be from each other in float64, relative to the largest.
APART = 1e-9
# The same for derivatives of a batch's rows: steps that adapt to all rows, as a solver's, move them by less than that.
OWN = 1e-2
# So many rows have a company that can be another one.
LEAST_ROWS = 3


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

    ``refusals`` says why not, in the model's words. ``apart``: there is no batch, but rows do not influence each other.
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
    apart: bool = False

    def independent(self, index: int) -> bool:
        """Whether rows may go through the function of this index in other company than that of their sample."""
        return are_independent(self.functions[index], self.source, self.interacting, self.apart)

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
        # Rows that are apart have differences of their own.
        source = dataclasses.replace(self.source, batched=True) if self.apart else self.source
        try:
            return finite_differences.check(
                source, exact, function, sample, inputs, answers, self.interacting, conventions, known
            )
        except (tf.errors.OpError, ArithmeticError, ValueError, OverLimit) as problem:
            said = " ".join(str(problem).split())
            if self.samples[chosen].given is None and any(item.given is not None for item in self.samples):
                return None
            return Report(notes=(f"{sample.label}: no central differences: beside it the live model fails: {said}",))

    def keeps_apart(self, tolerance: Tolerance) -> bool:
        """Whether all of the functions, derivatives too, give for a sample alone what they gave among all of them."""
        rows = {number: row_count(item.inputs, ()) for number, item in enumerate(self.samples) if item.values}
        several = [number for number, count in rows.items() if count > 1]
        return bool(several) and all(
            self._is_the_same(index, min(several, key=lambda number: rows[number]), tolerance)
            for index in range(len(self.functions))
        )

    def require_own_derivatives(self) -> None:
        """Raises :class:`ExportError` where derivatives of a row change with the rows beside it, though values do not.

        A gradient of the model's own may mix rows. Two rows are asked again in other company; one alone may lie at a
        tie, where rounding decides.
        """
        for index, function in enumerate(self.functions):
            names = {request.name for request in function.requests}
            if not names or not self.independent(index):
                continue
            known, again = self._in_other_company(index)
            # Where sizes follow from the data, they may be others in other company: then nothing can be said.
            for name in (name for name in names & known.keys() if known[name].shape == again[name].shape):
                off = moved_by(known[name], again[name]).reshape(len(known[name]), -1).max(axis=1, initial=0.0)
                if (off > OWN * np.abs(known[name]).max(initial=0.0)).all():
                    raise ExportError(
                        f"derivative {name!r} of one sample changes with the other samples of its batch, as by a"
                        " gradient of the model's own, so there is no derivative per sample; export with batched=False,"
                        " where derivatives are those of the whole tensor"
                    )

    def _in_other_company(self, index: int) -> tuple[Arrays, Arrays]:
        """The best answers of the last row and the one in the middle, as they are and with no other rows beside them.

        Nothing where no sample of three rows or more has any.
        """
        function, truths = self.functions[index], self.truths[index].answers
        for number, sample in enumerate(self.samples):
            known = self.answers[index][number] if truths[number] is None else truths[number]
            if known is None or sample.extreme or (sample.rows or 0) < LEAST_ROWS:
                continue
            rows = [row_count(self.inputs[index][number], function.whole) - 1]
            rows.append(rows[0] // 2)
            two = rows_of(self.inputs[index][number], rows, function.whole)
            again = live(function, two) if truths[number] is None else self._truth_at(function, two)
            if again is not None:
                return rows_of(known, rows), again
        return {}, {}

    def _truth_at(self, function: Function, inputs: Arrays) -> Arrays | None:
        exact = self.exact.functions[function.name]
        try:
            with watched(f"truth {function.name}"):
                return in_every_row(exact(inputs), exact.shared, inputs, exact.whole)
        except (tf.errors.OpError, OverLimit):
            return None

    def _is_the_same(self, index: int, number: int, tolerance: Tolerance) -> bool:
        """In the truth, where there is one: nothing there is rounding."""
        function, inputs = self.functions[index], self.inputs[index][number]
        wanted, truth = self.answers[index][number], self.truths[index].of(number)
        if wanted is None:
            return False
        try:
            if set(truth) == set(wanted):
                found = self._truth_at(function, inputs)
                return found is not None and compare(truth, found, Tolerance(APART, APART)).ok
            return compare(wanted, answer(function, inputs), tolerance).ok
        except Refused:
            return False


def ask(
    source: Source,
    functions: Sequence[Function],
    exact: ExactSource,
    drawn: Sequence[Sample],
    inputs: Sequence[Sequence[Arrays]],
    tolerance: Tolerance,
    training: bool,
    apart: bool = False,
) -> Live:
    """The live model's answers to the samples ``drawn``, and the truth; ``inputs`` has them by function, with seeds.

    For what is ``apart`` see :func:`~pullback_export.gate.rows_apart.rows_are_apart`.

    Raises :class:`ExportError` where samples of a "batched" model influence each other.
    """
    interacting = source.batched and samples_interact(source, functions, drawn, tolerance, training)
    answers: list[list[Arrays | None]] = []
    refusals: list[dict[int, str]] = []
    for found in all_references(functions, source, drawn, inputs, interacting, apart):
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
            are_independent(function, source, interacting, apart),
        )
        if source.dtype == "float32"
        else without_truth(len(drawn))
        for function, given, found in zip(functions, inputs, answers, strict=True)
    ]
    live = Live(source, functions, drawn, inputs, answers, interacting, exact, truths, refusals, apart)
    if apart and not live.keeps_apart(tolerance):
        return ask(source, functions, exact, drawn, inputs, tolerance, training)
    if source.batched:
        live.require_own_derivatives()
    return live


def _require_one(drawn: Sequence[Sample], found: Sequence[Arrays | Refused]) -> None:
    """Raises the model's refusal where it takes no sample that has rows: then nothing would be compared."""
    full = [item for sample, item in zip(drawn, found, strict=True) if sample.rows != 0]
    refusal = next((item for item in full if isinstance(item, Refused)), None)
    if refusal is not None and all(isinstance(item, Refused) for item in full):
        raise refusal


def _require_rows(evaluate: Function, drawn: Sequence[Sample], answers: Sequence[Arrays | None]) -> None:
    """Raises :class:`ExportError` where something is taken for batched that is computed from what all rows share."""
    for sample, found in zip(drawn, answers, strict=True):
        for name, array in (found or {}).items():
            if name not in evaluate.shared and (not array.ndim or len(array) != sample.rows):
                raise ExportError(
                    f"{name!r} of shape {array.shape} has no batch axis, where there are {sample.rows} rows: name the"
                    " input that it is computed from, or export with batched=False"
                )
