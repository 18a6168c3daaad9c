"""Central differences: an opinion on the derivatives that owes nothing to automatic differentiation.

Each derivative is contracted with a random direction on its last input and compared with the difference of the
function one order below, ``(f(x + h t) - f(x - h t)) / 2h``, sample by sample. In float64 where the source is float64
or has a float64 twin; else in float32, with larger steps and a wider bound. A sample whose one-sided differences
disagree lies at a kink and is left out; the report says how many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback.manifest import Tolerance
from pullback.parity import Report, Row
from pullback_export.derivatives import Derivatives, Function, mostly_one_by_one
from pullback_export.errors import ExportError
from pullback_export.parity_samples import Sample
from pullback_export.requests import Derivative, Gradient, Jacobian, Request, Selection
from pullback_export.source import Source

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Precision:
    """How differences are taken in one dtype: steps relative to the input's size, and the bound that suits them."""

    dtype: str
    steps: tuple[float, ...]
    bound: float


FLOAT64 = Precision("float64", (1e-5, 1e-6, 1e-4, 1e-7, 1e-8), 1e-5)
FLOAT32 = Precision("float32", (1e-2, 3e-3, 3e-2, 1e-3), 2e-2)
_SURROGATES = ("StopGradient", "PreventGradient", "FakeQuant", "QuantizeAndDequantize")
# Differences are taken this far off the sample, relative to its spread: real samples (a background of zeros, say) lie
# exactly on kinks, where differences say nothing.
OFF_SAMPLE = 0.05
# Rows of a sample that are checked, and components of a Laplacian.
MOST_ROWS = 8
MOST_COMPONENTS = 32


def in_float64(source: Source, function: Function, inputs: Mapping[str, Any]) -> dict[str, Array] | None:
    """What ``function`` gives in float64 on the same inputs, or None where the source has no float64 twin."""
    twin = twin_of(source)
    if twin is None:
        return None
    same = next(f for f in Derivatives(twin, function.all_requests, "zero").functions() if f.name == function.name)
    tensors = [_tensor(inputs[spec.name], spec.dtype) for spec in same.inputs]
    return {name: np.asarray(item) for name, item in zip(same.outputs, same.compute(mostly_one_by_one, *tensors), strict=True)}


def twin_of(source: Source) -> Source | None:
    """``source`` in float64, or None."""
    if source.dtype == "float64":
        return source
    call = source.twin() if source.twin is not None else None
    if call is None:
        return None
    inputs = tuple(
        tf.TensorSpec(spec.shape, tf.float64 if spec.dtype.is_floating else spec.dtype, spec.name) for spec in source.inputs
    )
    return dataclasses.replace(source, inputs=inputs, call=call, tapped=None, layers=(), twin=None)


def check(
    source: Source, function: Function, samples: Sequence[Sample], interacting: bool = False, surrogates: Sequence[str] = ()
) -> Report:
    """One row for each request of ``function`` that differences can judge; a note for each that they cannot.

    ``interacting``: samples influence each other, so that only sums over the batch can be compared. ``surrogates``:
    ops that TensorFlow gives another gradient than their derivative on purpose; with them a difference is a warning.
    """
    report = Report()
    twin = twin_of(source)
    precision = FLOAT64 if twin is not None else FLOAT32
    for request in function.requests:
        names = {spec.name for spec in source.inputs}
        if not {item.name for item in request.wrt} <= names or request.of.name not in source.outputs:
            report += Report(notes=(f"{request}: an inner layer has no central differences",))
            continue
        for sample in samples[:1]:
            found = _check(twin or source, request, sample, precision, interacting)
            report += _as_warnings(found, surrogates) if surrogates else found
    return report


def surrogate_ops(graph: Any) -> tuple[str, ...]:
    """Ops in a traced graph whose gradient is a convention, such as ``StopGradient`` or a ``tf.custom_gradient``."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    found = {node.op for node in nodes if node.op.startswith(_SURROGATES)}
    if any(node.op == "IdentityN" and "_gradient_op_type" in node.attr for node in nodes):
        found.add("tf.custom_gradient")
    return tuple(sorted(found))


def _as_warnings(report: Report, surrogates: Sequence[str]) -> Report:
    because = f"the model has {', '.join(surrogates)}, whose gradient TensorFlow defines otherwise"
    rows = tuple(
        dataclasses.replace(row, problem="", warning=f"{row.problem}; {because}") if row.problem else row for row in report.rows
    )
    return Report(rows, report.notes)


def _check(source: Source, request: Request, sample: Sample, precision: Precision, interacting: bool) -> Report:
    judge = _Judge.of(source, request, sample, precision)
    if judge is None:
        return Report(notes=(f"{request}: too many components for central differences",))

    def over_batch(array: Array) -> Array:
        return np.asarray(array.sum(axis=0)) if interacting else array

    predicted = over_batch(judge.predicted())
    scale = float(np.abs(predicted[np.isfinite(predicted)]).max(initial=0.0))
    attempts: list[_Attempt] = []
    for step in precision.steps:
        measured, one_sided = map(over_batch, judge.measured(step))
        noise = judge.noise(step) * (MOST_ROWS if interacting else 1)
        size = max(scale, float(np.abs(measured[np.isfinite(measured)]).max(initial=0.0)))
        smooth = (one_sided <= 0.1 * size + noise) & np.isfinite(measured - predicted)
        attempts.append(_Attempt(measured, smooth, noise, size, _distance(measured, predicted, smooth, noise)))
        if attempts[-1].worst <= precision.bound * size:
            break
    best = min(attempts, key=lambda attempt: attempt.relative)
    return _report(request, sample, precision, predicted, best, _settled(attempts, precision.bound))


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """Differences at one step; ``smooth`` marks the entries that do not lie at a kink."""

    measured: Array
    smooth: Array
    noise: float
    size: float
    worst: float

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


def _report(
    request: Request, sample: Sample, precision: Precision, predicted: Array, best: _Attempt, settled: bool
) -> Report:
    error = np.where(best.smooth, np.abs(best.measured - predicted), 0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape)) if error.size else None
    rms = float(np.sqrt(np.mean(error**2))) if error.size else 0.0
    problem = warning = ""
    if best.relative > precision.bound and settled:
        problem = f"differs from central differences by {best.relative:.2g} of the scale"
    elif best.relative > precision.bound:
        warning = "central differences settle at no step, so they say nothing here"
    stage = f"central differences in {precision.dtype}: {sample.label}"
    row = Row(
        stage, request.name, precision.dtype, error.shape, best.worst, rms, best.size, precision.bound, at, problem, warning
    )
    kinks = int((~best.smooth).sum())
    left_out = f"{request}: {kinks} of {error.size} central differences lie at a kink and were left out"
    return Report((row,), (left_out,) if kinks else ())


@dataclasses.dataclass(frozen=True)
class _Judge:
    """The function one order below the request, the request itself, a point and a direction."""

    source: Source
    request: Request
    below: Function
    itself: Function
    inputs: dict[str, Any]
    direction: Array
    lead: int

    @staticmethod
    def of(source: Source, request: Request, sample: Sample, precision: Precision) -> _Judge | None:
        rows = slice(None, MOST_ROWS if source.batched else None)
        inputs = {
            spec.name: np.asarray(sample.inputs[spec.name][rows] if source.batched else sample.inputs[spec.name]).astype(
                spec.dtype.as_numpy_dtype
            )
            for spec in source.inputs
        }
        plain = _plain(request)
        if plain is None:
            return None
        below, itself = plain
        last = request.wrt[-1]
        rng = np.random.default_rng(5)
        inputs = {name: _moved(array, rng) if array.dtype.kind == "f" else array for name, array in inputs.items()}
        direction = rng.normal(size=inputs[last.name].shape).astype(inputs[last.name].dtype)
        lead = 1 if source.batched else 0
        if last.index:
            mask = np.zeros(direction.shape, bool)
            key = last.key[1:] if lead and last.key[0] == slice(None) else last.key
            mask[(slice(None),) * lead + key] = True
            direction = np.where(mask, direction, 0).astype(direction.dtype)
        functions = [Derivatives(source, [item] if item else [], "zero").functions()[0] for item in (below, itself)]
        return _Judge(source, request, functions[0], functions[1], inputs, direction, lead)

    def predicted(self) -> Array:
        """The derivative contracted with the direction on the axes of its last input."""
        result = self._run(self.itself, self.inputs)
        last = self.request.wrt[-1]
        direction = self.direction
        if last.index:
            key = last.key[1:] if self.lead and last.key[0] == slice(None) else last.key
            direction = direction[(slice(None),) * self.lead + key]
        axes = direction.ndim - self.lead
        middle = result.ndim - self.lead - axes
        if self.request.kind == "derivative":
            direction = direction.reshape(direction.shape[: self.lead])
            axes, middle = 0, result.ndim - self.lead
        shaped = direction.reshape(direction.shape[: self.lead] + (1,) * middle + direction.shape[self.lead :])
        product = result.astype(np.float64) * shaped
        return product.sum(axis=tuple(range(product.ndim - axes, product.ndim))) if axes else product

    def measured(self, step: float) -> tuple[Array, Array]:
        """Central differences, and how far the one-sided ones are apart."""
        size = self._step(step)
        name = self.request.wrt[-1].name
        forward, here, backward = (
            self._run(self.below, self.inputs | {name: (self.inputs[name] + sign * size * self.direction).astype(self.inputs[name].dtype)})
            .astype(np.float64) for sign in (1, 0, -1)
        )
        central = (forward - backward) / (2 * size)
        return central, np.abs((forward - here) - (here - backward)) / size

    def noise(self, step: float) -> float:
        """What rounding does to a central difference."""
        values = np.abs(self._run(self.below, self.inputs))
        largest = float(values[np.isfinite(values)].max(initial=0.0))
        return 16 * largest * float(np.finfo(self.direction.dtype).eps) / self._step(step)

    def _step(self, step: float) -> float:
        name = self.request.wrt[-1].name
        return step * max(1.0, float(np.abs(self.inputs[name][np.isfinite(self.inputs[name])]).max(initial=0.0)))

    def _run(self, function: Function, inputs: Mapping[str, Any]) -> Array:
        tensors = [_tensor(inputs[spec.name], spec.dtype) for spec in function.inputs]
        results = function.compute(mostly_one_by_one, *tensors)
        if function.requests:
            return np.asarray(results[-1])
        value = results[function.outputs.index(self.request.of.name)]
        return np.asarray(self._selected(value))

    def _selected(self, value: Any) -> Any:
        of: Selection = self.request.of
        if of.index:
            key = of.key[1:] if self.lead and of.key[0] == slice(None) else of.key
            value = value[(slice(None),) * self.lead + key]
        return tf.reduce_sum(value, list(range(self.lead, value.shape.rank))) if of.summed else value


def _moved(sample: Array, rng: np.random.Generator) -> Array:
    finite = sample[np.isfinite(sample)]
    spread = float(finite.std()) if finite.size else 0.0
    return (sample + OFF_SAMPLE * (spread or 1.0) * rng.normal(size=sample.shape)).astype(sample.dtype)


def _plain(request: Request) -> tuple[Request | None, Request] | None:
    """The request one order below (None: the value) and the seedless request whose contraction is compared."""
    of, wrt = str(request.of), [str(item) for item in request.wrt]
    if request.kind in ("gradient", "jacobian", "vjp", "jvp"):
        return None, Jacobian(of, wrt[0], name="checked")
    if request.kind in ("hessian", "hvp", "laplacian"):
        second = wrt[1] if len(wrt) > 1 else wrt[0]
        from pullback_export.requests import Hessian

        return Jacobian(of, wrt[0], name="below"), Hessian(of, wrt[0], second, name="checked")
    if request.kind == "derivative":
        return (Derivative(of, *wrt[:-1], name="below") if len(wrt) > 1 else None), Derivative(of, *wrt, name="checked")
    return Gradient(of, wrt[0], name="below"), request


def _tensor(array: Any, dtype: Any) -> Any:
    return tf.constant(np.asarray(array).astype(dtype.as_numpy_dtype), dtype)
