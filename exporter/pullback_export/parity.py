"""The gate: the live model against both artifacts and against central differences, before a bundle appears.

The reference is the live model, eagerly, one backward pass per seed (vectorised beyond 64 seeds). An output passes
within the tolerance, scaled by its largest reference value. Where a derivative cancels almost wholly, or inputs are
extreme, rounding alone exceeds that; then the bound is what rounding does to the live model itself (see
:mod:`pullback_export.rounding`), and the row says so.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pullback import golden
from pullback.manifest import Tolerance
from pullback.parity import Report, Row, compare

from pullback_export import differences
from pullback_export.ahead import ahead
from pullback_export.artifacts import Answer, Artifact, artifacts
from pullback_export.derivatives import Function
from pullback_export.errors import ExportError
from pullback_export.parity_samples import Sample, draw_samples, last_finite
from pullback_export.reference import Arrays, references, rows_of, values
from pullback_export.rounding import Rounding
from pullback_export.source import Source

# Rows of a sample that go into golden.npz at most.
GOLDEN_ROWS = 64
GOLDEN_BYTES = 2**20
# Artifacts whose answers are kept until the live model has answered.
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
    def twin(self) -> differences.Twin | None:
        """The model in float64, made when it is first asked for."""
        return differences.twin_of(self.source, self.samples[self.centre], self.answers[0][self.centre], self.parted)

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
        return differences.check(
            self.source, self.twin, function, sample, inputs, reference, self.interacting, surrogates
        )

    def _exact(self, function: Function) -> Function | None:
        """``function`` without the roundings of float32, where that can be had."""
        return differences.float64_function(self.twin, function) if self.source.dtype == "float32" else None


def check(
    source: Source,
    functions: Sequence[Function],
    folder: pathlib.Path,
    formats: Sequence[str],
    samples: Mapping[str, Any],
    tolerance: Tolerance,
    training: bool,
    surrogates: Sequence[str] = (),
) -> Checked:
    """Compares every artifact in ``folder`` with the live ``source``; the report may hold failures.

    ``surrogates``: ops of the model whose gradient is not their derivative, see :func:`differences.surrogate_ops`.

    Raises :class:`ExportError` where samples of a "batched" model influence each other.
    """
    drawn = draw_samples(source, samples)
    inputs = [[_with_seeds(function, sample.inputs, source.batched) for sample in drawn] for function in functions]
    written = [artifacts(function, folder, formats) for function in functions]
    tasks = [
        functools.partial(artifact.answers, given)
        for found, given in zip(written, inputs, strict=True)
        for artifact in found
    ]
    report = Report()
    cases: dict[str, list[golden.Case]] = {}
    # What artifacts answer depends on nothing that the live model says: both are asked at the same time.
    with ahead(tasks, WAITING_ANSWERS) as answered:
        live = _ask(source, functions, drawn, inputs, tolerance, training)
        for index, function in enumerate(functions):
            measured = live.measured(index, surrogates)
            judged = live.judged(index)
            report += live.left_out(index) + _compare_all(function, judged, written[index], answered, tolerance)
            report += measured
            cases[function.name] = [
                _golden(item.inputs, item.reference, None if live.interacting else item.sample.rows)
                for item in judged.values()
                if item.sample.golden
            ]
    return Checked(_without_repeated_warnings(report), cases, _ranges(source, samples))


def _ask(
    source: Source,
    functions: Sequence[Function],
    drawn: Sequence[Sample],
    inputs: Sequence[Sequence[Arrays]],
    tolerance: Tolerance,
    training: bool,
) -> Live:
    interacting = source.batched and samples_interact(source, functions, drawn, tolerance, training)
    answers = [
        references(function, source, drawn, given, interacting)
        for function, given in zip(functions, inputs, strict=True)
    ]
    return Live(source, functions, drawn, inputs, answers, interacting)


def _compare_all(
    function: Function,
    judged: Mapping[int, Judged],
    written: Sequence[Artifact],
    answered: Iterator[list[Answer]],
    tolerance: Tolerance,
) -> Report:
    """Every artifact on every sample; ``answered`` gives the answers of the next artifact to all samples."""
    report = Report()
    names = {request.name for request in function.requests}
    usual = _scales([item.reference for item in judged.values() if item.sample.smooth])
    for artifact in written:
        answers = next(answered)
        for index, item in judged.items():
            label, least = f"{artifact.stage}: {item.sample.label}", {} if item.sample.smooth else usual
            report += _compare(label, item, answers[index](), tolerance, names, least)
    return report


def _scales(references: Sequence[Arrays]) -> dict[str, float]:
    """The size of each output on ordinary samples; extreme ones, where derivatives vanish, are judged by it."""
    scales: dict[str, float] = {}
    for reference in references:
        for name, array in reference.items():
            finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
            scales[name] = max(scales.get(name, 0.0), float(finite.max(initial=0.0)))
    return scales


def samples_interact(
    source: Source, functions: Sequence[Function], drawn: Sequence[Sample], tolerance: Tolerance, training: bool
) -> bool:
    """Whether a row alone gives something else than the row among others.

    Per-sample derivatives do not exist then: :class:`ExportError`, unless ``training`` asks for batch statistics and
    only for gradients and vjps, which are then those of the sum over the batch, as a tape gives them.
    """
    sample = next((item for item in drawn if item.rows is not None and item.rows > 1), None)
    per_sample = [request for function in functions for request in function.requests]
    if sample is None or not per_sample:
        return False
    assert sample.rows is not None
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
        if training and all(request.kind in ("gradient", "vjp") for request in per_sample):
            return True
        raise ExportError(
            f"output {name!r} of one sample changes with the other samples of its batch, so there is no derivative per"
            " sample; export with batched=False for derivatives of the whole tensor"
        )
    return False


def _compare(
    stage: str, judged: Judged, actual: Arrays, tolerance: Tolerance, derivatives: set[str], least: Mapping[str, float]
) -> Report:
    """What rounding does takes long to find, and is asked for only where it decides and as far as it does."""
    reference = judged.reference
    report = again = compare(reference, actual, tolerance, stage=stage, derivatives=derivatives, scales=least)
    if report.ok or any(row.problem and not np.isfinite(row.max_error) for row in report.rows):
        return report
    for found in judged.rounding.scales(_rows_off(report, reference, actual), tolerance):
        scales = {name: max(scale, least.get(name, 0.0)) for name, scale in found.items()}
        again = compare(reference, actual, tolerance, stage=stage, derivatives=derivatives, scales=scales)
        if again.ok:
            break
    rows = tuple(
        dataclasses.replace(new, warning="within what rounding does to the live model itself")
        if new.ok and not old.ok
        else new
        for old, new in zip(report.rows, again.rows, strict=True)
    )
    return Report(rows, again.notes)


def _rows_off(report: Report, reference: Arrays, actual: Arrays) -> list[int]:
    """The first indices of what is off by more than the bound."""
    found: set[int] = set()
    for row in report.failures:
        want = np.atleast_1d(reference[row.output].astype(np.float64))
        error = np.abs(np.atleast_1d(actual[row.output].astype(np.float64)) - want)
        found |= set(np.argwhere(error > row.bound * row.scale)[:, 0].tolist())
    return sorted(found)


def _golden(inputs: Arrays, reference: Arrays, rows: int | None) -> golden.Case:
    """The case, cut to as many rows as fit :data:`GOLDEN_BYTES` where there are rows."""
    if not rows:
        return golden.Case(dict(inputs), reference)
    size = sum(array.nbytes for array in (*inputs.values(), *reference.values())) / rows
    kept = int(max(1, min(rows, GOLDEN_ROWS, GOLDEN_BYTES // max(size, 1))))
    return golden.Case({k: a[:kept] for k, a in inputs.items()}, {k: a[:kept] for k, a in reference.items()})


def _with_seeds(function: Function, inputs: Mapping[str, Any], batched: bool) -> Arrays:
    """The sample, and random seeds for the inputs that a product has more."""
    rng = np.random.default_rng(0)
    full = dict(inputs)
    for spec in function.inputs:
        if spec.name not in full:
            shape = _seed_shape(function, spec, inputs, batched)
            full[spec.name] = rng.normal(size=shape).astype(spec.dtype.as_numpy_dtype)
    return {spec.name: full[spec.name] for spec in function.inputs}


def _seed_shape(function: Function, spec: Any, inputs: Mapping[str, Any], batched: bool) -> tuple[int, ...]:
    """Free sizes of a seed follow from the tensor that it belongs to; the model need not run for the batch alone."""
    sizes = spec.shape.as_list()
    if batched and None not in sizes[1:]:
        return (len(next(iter(inputs.values()))), *sizes[1:])
    if None not in sizes:
        return tuple(sizes)
    if batched and len(next(iter(inputs.values()))) == 0:  # not every model runs for no rows
        row = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in inputs.items()}
        return (0, *function.seed_shape(spec.name, row)[1:])
    return function.seed_shape(spec.name, inputs)


def _ranges(source: Source, samples: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each real input; drawn ones say nothing about where the model was trained."""
    ranges = {}
    for spec in source.inputs:
        array = np.asarray(samples.get(spec.name, ()))
        finite = array[np.isfinite(array)] if array.dtype.kind in "fiu" else np.zeros(0)
        if finite.size:
            ranges[spec.name] = (float(finite.min()), float(finite.max()))
    return ranges


def _without_repeated_warnings(report: Report) -> Report:
    """A zero derivative on the sample of zeros alone says little; keep the warning where every sample has it."""
    alive = {row.output for row in report.rows if row.scale > 0}
    rows = tuple(
        dataclasses.replace(row, warning="") if row.output in alive and "zero in every sample" in row.warning else row
        for row in report.rows
    )
    return Report(rows, report.notes)
