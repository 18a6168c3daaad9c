"""The derivative kinds as functions of tensors, over any source: nested tapes, one forward pass, vectorised seeds.

The same code runs twice: traced into the graphs that are exported, and eagerly on the live model as the reference,
there with one plain backward pass for each seed (:func:`~pullback_export.derivatives.vectorization.one_by_one`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.derivatives.request_checks import check_names, check_outputs, check_result_names, check_shapes
from pullback_export.derivatives.requests import Request, Selection
from pullback_export.derivatives.tape_step import Step
from pullback_export.derivatives.vectorization import Vectorize, copies, is_vectorizable, one_by_one, vectorized
from pullback_export.errors import ExportError
from pullback_export.sources.source import Source, no_taps
from pullback_export.sources.statefulness import check_stateless


def trace_function(function: Callable[..., Any], inputs: Sequence[tf.TensorSpec]) -> Any:
    """The concrete function, with free sizes where ``inputs`` have them. (Sources convert control flow themselves.)"""
    return tf.function(function, autograph=False).get_concrete_function(*inputs)


@dataclasses.dataclass(frozen=True)
class Function:
    """One graph to be: ``evaluate``, ``vjp``, ``jvp`` or ``hvp``. ``compute(vectorize, *tensors)`` is its meaning."""

    name: str
    inputs: tuple[tf.TensorSpec, ...]
    outputs: tuple[str, ...]
    requests: tuple[Request, ...]
    compute: Callable[..., list[Any]]
    all_requests: tuple[Request, ...] = ()
    values: Callable[..., dict[Selection, Any]] | None = None

    def owner(self, seed: str) -> str | None:
        """The output, inner layer or input whose shape ``seed`` has; None for what is no seed, or belongs to a part."""
        request = next((item for item in self.requests if item.seed == seed), None)
        if request is None:
            return None
        of = request.of if request.kind == "vjp" else Selection(request.wrt[0].name)
        return None if of.index or of.summed else of.name

    def seed_shape(self, seed: str, inputs: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape that ``seed`` has for these inputs: that of the output or input that it belongs to."""
        request = next(item for item in self.requests if item.seed == seed)
        assert self.values is not None
        count = len(self.inputs) - len({item.seed for item in self.requests})
        found = self.values([tf.constant(inputs[spec.name], spec.dtype) for spec in self.inputs[:count]], ())
        return tuple(found[request.of if request.kind == "vjp" else Selection(request.wrt[0].name)].shape.as_list())


class Derivatives:
    """Checks the requests against the source and turns them into functions.

    Raises :class:`ExportError` for a name that does not exist, an integer input, a gradient of a non-scalar output,
    a component out of range or an unconnected pair; each message says what to write instead.
    """

    def __init__(self, source: Source, requests: Sequence[Request], unconnected: str) -> None:
        self.source = source
        self.requests = tuple(requests)
        self.unconnected = unconnected
        self.lead = 1 if source.batched else 0
        known = {spec.name for spec in source.inputs} | set(source.outputs)
        named = {item.name for request in requests for item in (request.of, *request.wrt)}
        self.layers = tuple(sorted(name for name in named - known if name in source.layers))
        for request in requests:
            check_names(request, source, self.layers)
        check_result_names(source, self.requests, self.layers)
        self.specs = self._trace_values()
        for request in requests:
            check_shapes(request, self.specs, self.lead)

    def functions(self) -> tuple[Function, ...]:
        """``evaluate`` and, where they were asked for, ``vjp``, ``jvp`` and ``hvp``."""
        seedless = tuple(request for request in self.requests if request.seed is None)
        names = (*self.source.outputs, *self.layers, *(request.name for request in seedless))
        functions = [Function("evaluate", self.source.inputs, names, seedless, self._evaluate, self.requests)]
        for name in ("vjp", "jvp", "hvp"):
            chosen = tuple(request for request in self.requests if request.function == name)
            if chosen:
                functions.append(self._seeded(name, chosen))
        return tuple(functions)

    def _seeded(self, name: str, requests: tuple[Request, ...]) -> Function:
        seeds: dict[str, tf.TensorSpec] = {}
        for request in requests:
            spec = self.specs[request.of if name == "vjp" else Selection(request.wrt[0].name)]
            assert request.seed is not None
            seeds[request.seed] = tf.TensorSpec(spec.shape, spec.dtype, request.seed)
        outputs = tuple(dict.fromkeys(request.name for request in requests))

        def compute(vectorize: Vectorize, *tensors: Any) -> list[Any]:
            count = len(self.source.inputs)
            return self._products(name, requests, tensors[:count], dict(zip(seeds, tensors[count:], strict=True)))

        inputs = (*self.source.inputs, *seeds.values())
        return Function(name, inputs, outputs, requests, compute, self.requests, self._values)

    def _evaluate(self, vectorize: Vectorize, *tensors: Any) -> list[Any]:
        # A Laplacian is the trace of a Hessian that is computed anyway.
        requests = sorted(
            (item for item in self.requests if item.seed is None), key=lambda item: item.kind == "laplacian"
        )
        depth = max((request.order for request in requests), default=0)
        results: dict[tuple[Any, ...], Any] = {}
        with self._recording(tensors, depth, self._uses_tape_again(requests)) as (values, tapes):
            for level, tape in enumerate(tapes):
                tape.__exit__(None, None, None)
                for request in requests:
                    if request.order > level:
                        self._raise_order(request, level, tape, values, results, vectorize)
        outputs = [values[Selection(name)] for name in (*self.source.outputs, *self.layers)]
        asked = [request for request in self.requests if request.seed is None]
        return outputs + [_scaled(results[_key(request, request.order)], request.scale) for request in asked]

    def _raise_order(
        self,
        request: Request,
        level: int,
        tape: Any,
        values: dict[Selection, Any],
        results: dict[tuple[Any, ...], Any],
        vectorize: Vectorize,
    ) -> None:
        """Differentiates the request's intermediate result once more; equal steps of several requests happen once."""
        key = _key(request, level + 1)
        if key in results:
            return
        target = values[request.of] if level == 0 else results[_key(request, level)]
        step = self._step(request, level, tape, target, values, vectorize)
        if request.kind == "gradient":
            results[key] = step.gradient()
        elif request.kind == "laplacian" and level == 1:
            hessian = results.get(("jacobian", *key[1:]))
            results[key] = step.trace() if hessian is None else step.trace_of(hessian)
        elif request.kind == "derivative":
            results[key] = tf.reshape(step.jacobian(), tf.shape(target))
        else:
            results[key] = step.jacobian()

    def _uses_tape_again(self, requests: Sequence[Request]) -> bool:
        """Whether a tape serves more than one pass: not where there is one gradient, or seeds with their own copies."""
        if len({_key(request, 1) for request in requests}) > 1 or any(request.order > 1 for request in requests):
            return True
        copies_only = not self.vectorizable and self.lead and not tf.executing_eagerly()
        return not (copies_only or all(request.kind == "gradient" for request in requests))

    def _step(
        self, request: Request, level: int, tape: Any, target: Any, values: dict[Selection, Any], vectorize: Vectorize
    ) -> Step:
        wrt = request.wrt[min(level, len(request.wrt) - 1)]
        tensors = [values[Selection(spec.name)] for spec in self.source.inputs]

        def on_copies(count: Any) -> Step:
            many = [copies(tensor, count) for tensor in tensors]
            results: dict[tuple[Any, ...], Any] = {}
            with self._recording(many, level + 1, level > 0) as (again, tapes):
                for lower in range(level):
                    tapes[lower].__exit__(None, None, None)
                    self._raise_order(request, lower, tapes[lower], again, results, vectorize)
            same = results[_key(request, level)] if level else again[request.of]
            return self._step(request, level, tapes[level], same, again, vectorize)

        source = values[Selection(wrt.name)]
        suits = self.vectorizable or vectorize is not vectorized
        return Step(request, level, tape, target, source, self.lead, self.unconnected, vectorize, suits, on_copies)

    def _products(
        self, name: str, requests: Sequence[Request], tensors: Sequence[Any], seeds: dict[str, Any]
    ) -> list[Any]:
        depth = 2 if name == "hvp" else 1
        totals: dict[str, Any] = {}
        with self._recording(tensors, depth, len(requests) > 1 or depth > 1) as (values, tapes):
            gradients: dict[Request, Any] = {}
            for level, tape in enumerate(tapes):
                tape.__exit__(None, None, None)
                for request in requests:
                    target = values[request.of] if level == 0 else gradients[request]
                    step = self._step(request, level, tape, target, values, one_by_one)
                    seed = seeds[request.seed] if request.seed else None
                    if name == "hvp" and level == 0:
                        gradients[request] = step.gradient()
                        continue
                    product = step.jvp(seed) if name == "jvp" else step.vjp(seed)
                    product = _scaled(product, request.scale)
                    totals[request.name] = totals[request.name] + product if request.name in totals else product
        return list(totals.values())

    @contextlib.contextmanager
    def _recording(
        self, tensors: Sequence[Any], depth: int, again: bool
    ) -> Iterator[tuple[dict[Selection, Any], list[Any]]]:
        """Runs the source under ``depth`` nested tapes, innermost first; the caller leaves them one after the other.

        ``again`` allows more than one pass on each tape. TensorFlow then prepares loops for any order of derivatives,
        which takes several times as long as tracing them.
        """
        tapes = [tf.GradientTape(persistent=again, watch_accessed_variables=False) for _ in range(depth)]
        values: dict[Selection, Any] = {}
        for tape in reversed(tapes):
            tape.__enter__()
        try:
            watched = [tensor for tensor in tensors if tensor.dtype.is_floating]
            for tape in tapes:
                tape.watch(watched)
            values |= self._values(tensors, tapes)
            yield values, tapes
        finally:
            for tape in tapes:
                if tape._recording:
                    tape.__exit__(None, None, None)

    def _values(self, tensors: Sequence[Any], tapes: Sequence[Any]) -> dict[Selection, Any]:
        """Inputs, outputs, inner layers, and what the requests select of them."""
        found: dict[str, Any] = {}

        def tap(name: str, result: Any) -> Any:
            if name in found:
                raise ExportError(f"layer {name!r} is used more than once; name a layer that is used once")
            if not tf.is_tensor(result):
                raise ExportError(f"layer {name!r} returns {type(result).__name__}, not one tensor; name another layer")
            found[name] = tf.identity(result)
            for tape in tapes:
                tape.watch(found[name])
            return found[name]

        with (self.source.tapped or no_taps)(self.layers, tap):
            outputs = self.source.call(*tensors)
        missing = [name for name in self.layers if name not in found]
        if missing:
            raise ExportError(f"layer {missing[0]!r} was not reached when the model was called; name another layer")
        values = {Selection(spec.name): tensor for spec, tensor in zip(self.source.inputs, tensors, strict=True)}
        values |= {Selection(name): tensor for name, tensor in zip(self.source.outputs, outputs, strict=True)}
        values |= {Selection(name): tensor for name, tensor in found.items()}
        for request in self.requests:
            if request.of not in values:
                values[request.of] = self._select(values[Selection(request.of.name)], request.of)
        return values

    def _select(self, tensor: Any, selection: Selection) -> Any:
        if selection.index:
            index = selection.sample_index(tensor.shape.rank, self.lead)
            selection.check_range(index, self._sample_shape(tensor))
            tensor = tensor[(slice(None),) * self.lead + index]
        return tf.reduce_sum(tensor, list(range(self.lead, tensor.shape.rank))) if selection.summed else tensor

    def _sample_shape(self, tensor: Any) -> tuple[int | None, ...]:
        return tuple(tensor.shape.as_list()[self.lead :])

    def _trace_values(self) -> dict[Selection, tf.TensorSpec]:
        """Shape and dtype of everything that the requests name."""
        keys: list[Selection] = []

        def values(*tensors: Any) -> list[Any]:
            found = self._values(tensors, ())
            keys[:] = list(found)
            return list(found.values())

        traced = trace_function(values, self.source.inputs)
        outputs = traced.outputs
        check_stateless(traced.graph)
        self.vectorizable = is_vectorizable(traced.graph)
        found = {key: tf.TensorSpec(tensor.shape, tensor.dtype) for key, tensor in zip(keys, outputs, strict=True)}
        check_outputs({name: found[Selection(name)] for name in self.source.outputs})
        return found


def _key(request: Request, order: int) -> tuple[Any, ...]:
    """Equal keys, equal tensors: what the first ``order`` steps of a request compute."""
    shape_of = {"laplacian": "jacobian", "hessian": "jacobian"}.get(request.kind, request.kind)
    wrt = request.wrt if len(request.wrt) > 1 else request.wrt * 4
    if request.kind == "laplacian" and order == 2:
        shape_of = "laplacian"
    return shape_of, request.of, wrt[:order], request.mode, request.chunk


def _scaled(tensor: Any, scale: float) -> Any:
    return tensor if scale == 1.0 else tensor * tf.constant(scale, tensor.dtype)
