"""What the live model says of every sample: the side of the gate that artifacts are compared with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from pullback.manifest import Tolerance
from pullback.parity import Report, compare

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate import finite_differences
from pullback_export.gate.live_model import Arrays, references, rows_of, values
from pullback_export.gate.rounding_noise import Rounding
from pullback_export.gate.samples import Sample, last_finite
from pullback_export.sources.source import Source


@dataclasses.dataclass(frozen=True)
class Judged:
    """One sample of one function: inputs with seeds, the live model's answer, and what rounding does to it."""

    sample: Sample
    inputs: Arrays
    reference: Arrays
    rounding: Rounding


@dataclasses.dataclass(frozen=True)
class Live:
    """What the live model says: by function and sample, its answer; None where it does not take the sample."""

    source: Source
    functions: Sequence[Function]
    samples: Sequence[Sample]
    inputs: Sequence[Sequence[Arrays]]
    answers: Sequence[Sequence[Arrays | None]]
    interacting: bool

    @property
    def parted(self) -> bool:
        """Whether rows may go through the model in other company than that of their sample."""
        return self.source.batched and not self.interacting

    @property
    def centre(self) -> int:
        """The sample for differences: drawn, not the caller's, whose background of zeros may lie on kinks."""
        return max(index for index, sample in enumerate(self.samples) if sample.smooth)

    @functools.cached_property
    def twin(self) -> finite_differences.Twin | None:
        """The model in float64, made when it is first asked for."""
        return finite_differences.twin_of(
            self.source, self.samples[self.centre], self.answers[0][self.centre], self.parted
        )

    def judged(self, index: int) -> dict[int, Judged]:
        """Every sample that the model takes, for the function of this index."""
        function = self.functions[index]
        exact = functools.cache(functools.partial(self._exact, function))
        return {
            number: Judged(sample, inputs, answer, Rounding(function, exact, inputs, answer, self.parted))
            for number, (sample, inputs, answer) in enumerate(
                zip(self.samples, self.inputs[index], self.answers[index], strict=True)
            )
            if answer is not None
        }

    def left_out(self, index: int) -> Report:
        """A note for each sample that the model does not take."""
        left_out = [sample for sample, answer in zip(self.samples, self.answers[index], strict=True) if answer is None]
        return Report(notes=tuple(f"{item.label}: the live model does not take it; left out" for item in left_out))

    def measured(self, index: int, surrogates: Sequence[str]) -> Report:
        """Its derivatives against central differences."""
        function, answers = self.functions[index], self.answers[index]
        chosen = last_finite(self.samples, answers, self.centre)
        reference = answers[chosen]
        if not function.requests or reference is None:
            return Report()
        sample, inputs = self.samples[chosen], self.inputs[index][chosen]
        return finite_differences.check(
            self.source, self.twin, function, sample, inputs, reference, self.interacting, surrogates
        )

    def _exact(self, function: Function) -> Function | None:
        """``function`` without the roundings of float32, where that can be had."""
        return finite_differences.float64_function(self.twin, function) if self.source.dtype == "float32" else None


def ask(
    source: Source,
    functions: Sequence[Function],
    drawn: Sequence[Sample],
    inputs: Sequence[Sequence[Arrays]],
    tolerance: Tolerance,
    training: bool,
) -> Live:
    """The live model's answers to the samples ``drawn``; ``inputs`` holds them by function, with seeds.

    Raises :class:`ExportError` where samples of a "batched" model influence each other.
    """
    interacting = source.batched and samples_interact(source, functions, drawn, tolerance, training)
    answers = [
        references(function, source, drawn, given, interacting)
        for function, given in zip(functions, inputs, strict=True)
    ]
    return Live(source, functions, drawn, inputs, answers, interacting)


def samples_interact(
    source: Source, functions: Sequence[Function], drawn: Sequence[Sample], tolerance: Tolerance, training: bool
) -> bool:
    """Whether a row alone gives something else than the row among others.

    Such rows are no batch, and have no derivative each: :class:`ExportError`, unless ``training`` asks for batch
    statistics and only for gradients and vjps, which are then those of the sum over the batch, as a tape gives them.
    """
    sample = next((item for item in drawn if item.rows is not None and item.rows > 1), None)
    per_sample = [request for function in functions for request in function.requests]
    if sample is None or sample.rows is None:
        return False
    rows = min(sample.rows, 4)
    whole = values(source, sample.inputs)
    parts = [values(source, rows_of(sample.inputs, slice(row, row + 1))) for row in range(rows)]
    for name in source.outputs:
        if whole[name].dtype.kind != "f":
            continue
        if whole[name].ndim == 0 or whole[name].shape[0] != sample.rows:
            raise ExportError(
                f"output {name!r} has no batch axis; export with batched=False for whole-tensor derivatives"
            )
        alone = np.concatenate([part[name] for part in parts])
        loose = Tolerance(max(1e-3, tolerance.float32), max(1e-7, tolerance.float64))
        if compare({name: whole[name][:rows]}, {name: alone}, loose).ok:
            continue
        if training and all(request.sums_over_batch for request in per_sample):
            return True
        raise ExportError(
            f"output {name!r} of one sample changes with the other samples of its batch, so there is no derivative per"
            " sample; export with batched=False, where derivatives are those of the whole tensor"
        )
    return False
