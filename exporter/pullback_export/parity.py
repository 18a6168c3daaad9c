"""The gate: the live model against both artifacts and against central differences, before a bundle appears.

The reference is the live model, eagerly, one backward pass per seed (vectorised beyond 64 seeds). An output passes
within the tolerance, scaled by its largest reference value. Where a derivative cancels almost wholly, or inputs are
extreme, rounding alone exceeds that; then the bound is what rounding does to the live model itself (see
:func:`rounding_scale`), and the row says so.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf
from pullback import golden
from pullback.manifest import Tolerance
from pullback.parity import Report, Row, compare

from pullback_export import differences
from pullback_export.derivatives import Function
from pullback_export.errors import ExportError
from pullback_export.parity_samples import Sample, draw_samples, last_finite
from pullback_export.source import Source
from pullback_export.vectorization import mostly_one_by_one

Arrays = dict[str, np.ndarray[Any, Any]]
LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# How much further than the live model's own rounding error an artifact may be from it.
ROUNDING_FACTOR = 8.0
# Random probes of that error, in units in the last place of the inputs: what the layers of a deep network add up to.
ROUNDING_PROBES = (1.0, -1.0, 16.0, 16.0, 16.0, 16.0)
# Rows that go through the live model at once for them.
PROBED_ROWS = 16
# Rows of a sample that go into golden.npz at most.
GOLDEN_ROWS = 64
GOLDEN_BYTES = 2**20


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
    report = Report()
    cases: dict[str, list[golden.Case]] = {}
    interacting = source.batched and samples_interact(source, functions, drawn, tolerance, training)
    # Drawn samples rather than the caller's: a background of zeros lies on kinks, where differences say nothing.
    at = max(index for index, sample in enumerate(drawn) if sample.smooth)
    float64 = differences.twin_of(source, drawn[at].inputs)
    rounded = float64 if source.dtype == "float32" else None
    for function in functions:
        artifacts = _artifacts(function, folder, formats)
        names = {request.name for request in function.requests}
        cases[function.name] = []
        inputs = [_with_seeds(function, sample.inputs, source.batched) for sample in drawn]
        references = _references(function, source, drawn, inputs, interacting)
        twin = functools.cache(functools.partial(differences.float64_function, rounded, function))
        usual = _scales([r for s, r in zip(drawn, references, strict=True) if s.smooth and r is not None])
        for sample, given, reference in zip(drawn, inputs, references, strict=True):
            if reference is None:
                report += Report(notes=(f"{sample.label}: the live model does not take it; left out",))
                continue
            answers = functools.partial(_perturbed, function, twin, given, source.batched and not interacting)
            rounding = functools.cache(functools.partial(rounding_scale, answers, reference, tolerance))
            for stage, run in artifacts.items():
                label = f"{stage}: {sample.label}"
                least = {} if sample.smooth else usual
                report += _compare(label, reference, run(given), tolerance, names, rounding, least)
            if sample.golden:
                cases[function.name].append(_golden(given, reference, None if interacting else sample.rows))
        chosen = last_finite(drawn, references, at)
        if (reference := references[chosen]) is not None:
            report += differences.check(
                source, float64, function, drawn[chosen], inputs[chosen], reference, interacting, surrogates
            )
    return Checked(_without_repeated_warnings(report), cases, _ranges(source, samples))


def _references(
    function: Function, source: Source, drawn: Sequence[Sample], inputs: Sequence[Arrays], interacting: bool
) -> list[Arrays | None]:
    """The live model's answers. Samples that do not influence each other go through it as one batch."""
    per_sample = [{name: array.shape[1:] for name, array in item.items()} for item in inputs]
    if not source.batched or interacting or any(shapes != per_sample[0] for shapes in per_sample):
        return [live(function, item) for item in inputs]
    together = {name: np.concatenate([item[name] for item in inputs]) for name in inputs[0]}
    answer = live(function, together)
    assert answer is not None
    found: list[Arrays | None] = []
    start = 0
    for sample in drawn:
        rows = sample.rows or 0
        found.append({name: array[start : start + rows] for name, array in answer.items()})
        start += rows
        if rows == 0 and not _takes(source, sample):
            found[-1] = None
    return found


def _scales(references: Sequence[Arrays]) -> dict[str, float]:
    """The size of each output on ordinary samples; extreme ones, where derivatives vanish, are judged by it."""
    scales: dict[str, float] = {}
    for reference in references:
        for name, array in reference.items():
            finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
            scales[name] = max(scales.get(name, 0.0), float(finite.max(initial=0.0)))
    return scales


def _takes(source: Source, sample: Sample) -> bool:
    """Whether the live model accepts the sample at all (an empty batch, say)."""
    try:
        source.call(*(tf.constant(sample.inputs[spec.name], spec.dtype) for spec in source.inputs))
    except (tf.errors.OpError, ValueError):
        return False
    return True


def live(function: Function, inputs: Mapping[str, Any]) -> Arrays | None:
    """The live model's answer; None where it does not accept the input (an empty batch, say)."""
    tensors = [tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs]
    try:
        results = function.compute(mostly_one_by_one, *tensors)
    except (tf.errors.OpError, ValueError) as problem:
        if any(0 in np.shape(item) for item in inputs.values()):
            return None
        raise ExportError(
            f"the live model fails on a sample: {problem}; give samples={{...}} that it takes"
        ) from problem
    return {name: np.asarray(result) for name, result in zip(function.outputs, results, strict=True)}


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
    whole = _values(source, sample.inputs)
    parts = [
        _values(source, {key: array[row : row + 1] for key, array in sample.inputs.items()}) for row in range(rows)
    ]
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


def _values(source: Source, inputs: Mapping[str, Any]) -> Arrays:
    """Outputs of the live model, without derivatives."""
    try:
        results = source.call(*(tf.constant(inputs[spec.name], spec.dtype) for spec in source.inputs))
    except (tf.errors.OpError, ValueError) as problem:
        raise ExportError(
            f"the live model fails on a sample: {problem}; give samples={{...}} that it takes"
        ) from problem
    return {name: np.asarray(result) for name, result in zip(source.outputs, results, strict=True)}


def rounding_scale(
    perturbed: Callable[[], Sequence[Arrays]], reference: Arrays, tolerance: Tolerance
) -> dict[str, float]:
    """A smallest scale per output, such that the bound covers what rounding does to the live model itself.

    ``perturbed()`` gives the live model's answers as other roundings would have had them.
    """
    noise = dict.fromkeys(reference, 0.0)
    for answer in perturbed():
        for name in reference:
            difference = np.abs(answer[name].astype(np.float64) - reference[name].astype(np.float64))
            finite = difference[np.isfinite(difference)]
            noise[name] = max(noise[name], float(finite.max(initial=0.0)))
    scales = {}
    for name, array in reference.items():
        bound = tolerance.of(str(array.dtype))
        finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
        scales[name] = float(finite.max(initial=0.0)) + (ROUNDING_FACTOR * noise[name] / bound if bound else 0.0)
    return scales


def _perturbed(
    function: Function, twin: Callable[[], Function | None], inputs: Arrays, batches: bool
) -> Sequence[Arrays]:
    """The live model with every float input moved by units in the last place, together and at random (next to a kink
    any of them may decide), and that of the float64 twin where there is one. ``batches``: rows may be put together.
    """
    rng = np.random.default_rng(11)
    floats = [spec.name for spec in function.inputs if spec.dtype.is_floating]
    probes = []
    for step in ROUNDING_PROBES:
        moved = {
            name: array + step * _signs(rng, step, array) * np.finfo(array.dtype).eps * np.abs(array)
            if name in floats
            else array
            for name, array in inputs.items()
        }
        probes.append({name: array.astype(inputs[name].dtype) for name, array in moved.items()})
    rows = max(1, len(next(iter(inputs.values())))) if batches else PROBED_ROWS
    size = max(1, PROBED_ROWS // rows)
    answers: list[Arrays] = []
    for start in range(0, len(probes), size):
        group = probes[start : start + size]
        whole = {
            name: np.concatenate([item[name] for item in group]) if size > 1 else group[0][name] for name in inputs
        }
        answer = live(function, whole) or {}
        rest = {name: np.split(array, len(group)) if size > 1 else [array] for name, array in answer.items()}
        answers += [{name: parts[index] for name, parts in rest.items()} for index in range(len(group)) if rest]
    same = twin()
    exact = differences.in_float64(same, inputs) if same is not None else None
    return answers if exact is None else [*answers, exact]


def _signs(rng: np.random.Generator, step: float, array: np.ndarray[Any, Any]) -> Any:
    """Random signs for the larger steps; the small ones go the same way everywhere."""
    return rng.choice((-1.0, 1.0), array.shape) if abs(step) > 1 else 1.0


def _compare(
    stage: str,
    reference: Arrays,
    actual: Arrays,
    tolerance: Tolerance,
    derivatives: set[str],
    rounding: Callable[[], dict[str, float]],
    least: Mapping[str, float],
) -> Report:
    """``rounding``: the smallest scales, which take long to find and are asked for only where they decide."""
    report = compare(reference, actual, tolerance, stage=stage, derivatives=derivatives, scales=least)
    if report.ok or any(row.problem and not np.isfinite(row.max_error) for row in report.rows):
        return report
    scales = {name: max(scale, least.get(name, 0.0)) for name, scale in rounding().items()}
    again = compare(reference, actual, tolerance, stage=stage, derivatives=derivatives, scales=scales)
    rows = tuple(
        dataclasses.replace(new, warning="within what rounding does to the live model itself")
        if new.ok and not old.ok
        else new
        for old, new in zip(report.rows, again.rows, strict=True)
    )
    return Report(rows, again.notes)


def _golden(inputs: Arrays, reference: Arrays, rows: int | None) -> golden.Case:
    """The case, cut to as many rows as fit :data:`GOLDEN_BYTES` where there are rows."""
    if not rows:
        return golden.Case(dict(inputs), reference)
    size = sum(array.nbytes for array in (*inputs.values(), *reference.values())) / rows
    kept = int(max(1, min(rows, GOLDEN_ROWS, GOLDEN_BYTES // max(size, 1))))
    return golden.Case({k: a[:kept] for k, a in inputs.items()}, {k: a[:kept] for k, a in reference.items()})


def _artifacts(
    function: Function, folder: pathlib.Path, formats: Sequence[str]
) -> dict[str, Callable[[Mapping[str, Any]], Arrays]]:
    runs: dict[str, Callable[[Mapping[str, Any]], Arrays]] = {}
    if "saved_model" in formats:
        runs["SavedModel"] = _saved_model(folder / "saved_model", function)
    if "onnx" in formats:
        for label, level in LEVELS.items():
            runs[f"ONNX Runtime, optimisation {label}"] = onnx_session(folder / f"{function.name}.onnx", level)
    return runs


def _saved_model(folder: pathlib.Path, function: Function) -> Callable[[Mapping[str, Any]], Arrays]:
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[function.name]

    def run(inputs: Mapping[str, Any]) -> Arrays:
        tensors = {spec.name: tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs}
        try:
            results = signature(**tensors)
        except tf.errors.OpError as problem:
            raise ExportError(f"the traced graph fails on a sample that the live model takes: {problem}") from problem
        return {name: results[name].numpy() for name in function.outputs}

    run.keep_alive = loaded  # type: ignore[attr-defined]  # the signature only holds its variables weakly
    return run


def onnx_session(path: pathlib.Path, level: Any) -> Callable[[Mapping[str, Any]], Arrays]:
    """Runs the file at one graph optimisation level of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = [item.name for item in session.get_inputs()]
    names = [item.name for item in session.get_outputs()]

    def run(inputs: Mapping[str, Any]) -> Arrays:
        return dict(zip(names, session.run(None, {name: inputs[name] for name in taken}), strict=True))

    return run


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
