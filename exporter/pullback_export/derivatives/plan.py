"""The derivative kinds as functions of tensors, over any source: nested tapes, one forward pass, vectorised seeds.

The same code runs twice: traced into the graphs that are exported, and eagerly on the live model as the reference,
there with one plain backward pass for each seed (:func:`~pullback_export.derivatives.vectorization.one_by_one`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from pullback.selection import Selection

from pullback_export.derivatives.kinds import PRODUCTS
from pullback_export.derivatives.kinds.request import Key, Request
from pullback_export.derivatives.product_parts import ProductParts, product_parts
from pullback_export.derivatives.ranks import Seen, ensured, ranks_of
from pullback_export.derivatives.request_checks import (
    UnknownRank,
    check_names,
    check_outputs,
    check_result_names,
    check_seeds,
    check_shapes,
    check_shared,
)
from pullback_export.derivatives.selection import check_range, sample_index
from pullback_export.derivatives.tape_step import Step
from pullback_export.derivatives.vectorization import Vectorize, copies, is_vectorizable, vectorized
from pullback_export.sources.source import Source, no_taps
from pullback_export.sources.statefulness import check_control_flow, check_stateless


def trace_function(function: Callable[..., Any], inputs: Sequence[tf.TensorSpec]) -> Any:
    """The concrete function, with free sizes where ``inputs`` have them. (Sources convert control flow themselves.)"""
    return tf.function(function, autograph=False).get_concrete_function(*inputs)


@dataclasses.dataclass(frozen=True)
class Function:
    """One graph to be: ``evaluate``, or one of products. ``compute(vectorize, *tensors)`` is its meaning.

    ``shared`` names the outputs that have no batch axis although the function has one: they are one for all rows.
    ``whole`` names the inputs and seeds of which that is true.

    ``beside(names, vectorize, *tensors)`` are the results of products, and after them the values of the outputs and
    layers of these names, from the same pass through the source; None where nothing more can be read from it.
    ``concrete`` is its trace, where there is one already.
    """

    name: str
    inputs: tuple[tf.TensorSpec, ...]
    outputs: tuple[str, ...]
    requests: tuple[Request, ...]
    compute: Callable[..., list[Any]]
    values: Callable[..., dict[Selection, Any]] | None = None
    shared: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    beside: Callable[..., list[Any]] | None = None
    concrete: Any = None

    @property
    def totals(self) -> frozenset[str]:
        """The results that are sums over the rows: adjoints of inputs that all rows share."""
        return frozenset(item.name for item in self.requests if item.is_total(self.whole))

    def owner(self, seed: str) -> str | None:
        """The output, inner layer or input whose shape ``seed`` has; None for what is no seed, or belongs to a part."""
        owner = self._owners.get(seed)
        return owner.name if owner is not None and owner.is_whole else None

    def seed_shape(self, seed: str, inputs: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape that ``seed`` has for these inputs: that of the output or input that it belongs to."""
        owners = self._owners
        assert self.values is not None
        given = [spec for spec in self.inputs if spec.name not in owners]
        found = self.values([tf.constant(inputs[spec.name], spec.dtype) for spec in given], ())
        return tuple(found[owners[seed]].shape.as_list())

    @property
    def _owners(self) -> dict[str, Selection]:
        """What each seed belongs to."""
        return dict(seed for request in self.requests for seed in request.seeds)


@dataclasses.dataclass(frozen=True)
class Run:
    """One pass through the source: its tensors and what requests select of them, the seeds, and what came of them."""

    values: Mapping[Selection, Any]
    seeds: Mapping[str, Any]
    vectorize: Vectorize
    results: dict[Key, Any] = dataclasses.field(default_factory=dict)


class Derivatives:
    """Checks the requests against the source and turns them into functions.

    Raises :class:`ExportError` for a name that does not exist, an integer input, a gradient of a non-scalar output,
    a component out of range or an unconnected pair; each message says what to write instead.
    """

    def __init__(self, source: Source, requests: Sequence[Request], unconnected: str, seen: Seen = lambda: ()) -> None:
        """``seen`` gives inputs that the model takes: they tell the ranks that TensorFlow does not know."""
        self.source = source
        self._known_inputs = seen
        self.requests = tuple(requests)
        self.unconnected = unconnected
        self.lead = source.batch_axes
        known = {spec.name for spec in source.inputs} | set(source.outputs)
        named = {item.name for request in requests for item in (request.of, *request.wrt)}
        self.layers = tuple(sorted(name for name in named - known if source.has_layer(name)))
        for request in requests:
            check_names(request, source, self.layers)
        self.specs = self._trace_values()
        self.requests = tuple(item.resolved(tuple(self._sample_shape(self.specs[item.of]))) for item in requests)
        check_result_names(source, self.requests, self.layers)
        check_seeds(source, self.requests)
        for request in self.requests:
            check_shared(request, source)
            check_shapes(request, self.specs, source)

    def functions(self) -> tuple[Function, ...]:
        """``evaluate`` and, where they were requested, the products: ``vjp``, ``jvp``, ``hvp``, ..."""
        seedless = tuple(request for request in self.requests if not request.seeds)
        names = (*self.source.outputs, *self.layers, *(request.name for request in seedless))
        evaluate = Function("evaluate", self.source.inputs, names, seedless, self._evaluate)
        concrete = None if seedless else self._concrete
        functions = [dataclasses.replace(evaluate, shared=self._shared, whole=self.source.shared, concrete=concrete)]
        for name in PRODUCTS:
            chosen = tuple(request for request in self.requests if request.function == name)
            if chosen:
                functions.append(self._seeded(name, chosen))
        return tuple(functions)

    @property
    def _shared(self) -> frozenset[str]:
        """The outputs whose first axis is not the batch, as their shapes say."""
        shapes = {name: self.specs[Selection(name)].shape.as_list() for name in self.source.outputs}
        return frozenset(name for name, shape in shapes.items() if self.lead and (not shape or shape[0] is not None))

    def _seeded(self, name: str, requests: tuple[Request, ...]) -> Function:
        seeds: dict[str, tf.TensorSpec] = {}
        for seed in (item for request in requests for item in request.seeds):
            spec = self.specs[seed.owner]
            seeds[seed.name] = tf.TensorSpec(spec.shape, spec.dtype, seed.name)
        inputs = (*self.source.inputs, *seeds.values())
        parts = product_parts(requests, {spec.name for spec in inputs})

        def beside(names: Sequence[str], vectorize: Vectorize, *tensors: Any) -> list[Any]:
            count = len(self.source.inputs)
            given = dict(zip(seeds, tensors[count:], strict=True))
            wider = dataclasses.replace(parts, values=(*parts.values, *names))
            return self._products(wider, tensors[:count], given, vectorize)

        compute, described = functools.partial(beside, ()), (*requests, *parts.byproducts)
        whole = self._whole(requests)
        return Function(name, inputs, parts.outputs, described, compute, self._values, whole=whole, beside=beside)

    def _whole(self, requests: Sequence[Request]) -> frozenset[str]:
        """The inputs and seeds without a batch axis."""
        seeds = [seed.name for item in requests for seed in item.seeds if seed.owner.name in self.source.shared]
        return self.source.shared | frozenset(seeds)

    def _evaluate(self, vectorize: Vectorize, *tensors: Any) -> list[Any]:
        requests = [request for request in self.requests if not request.seeds]
        depth = max((request.order for request in requests), default=0)
        with self._recording(tensors, depth, self._uses_tape_again(requests)) as (values, tapes):
            results = self._differentiate(requests, tapes, Run(values, {}, vectorize))
        outputs = [values[Selection(name)] for name in (*self.source.outputs, *self.layers)]
        return outputs + [_scaled(results[request.key(request.order)], request.scale) for request in requests]

    def _products(
        self, parts: ProductParts, tensors: Sequence[Any], seeds: Mapping[str, Any], vectorize: Vectorize
    ) -> list[Any]:
        depth = max(request.order for request in parts.requests)
        with self._recording(tensors, depth, len(parts.requests) > 1 or depth > 1) as (values, tapes):
            results = self._differentiate(parts.requests, tapes, Run(values, seeds, vectorize))
        totals: dict[str, Any] = {}
        for request, key in parts.keys:
            product = _scaled(results[key], request.scale)
            totals[request.name] = totals[request.name] + product if request.name in totals else product
        return list(totals.values()) + [values[Selection(name)] for name in parts.values]

    def _differentiate(self, requests: Sequence[Request], tapes: Sequence[Any], run: Run) -> dict[Key, Any]:
        """Leaves one tape after the other, innermost first, and differentiates every request as often as its order."""
        ordered = sorted(requests, key=lambda request: request.after_others)
        for level, tape in enumerate(tapes):
            tape.__exit__(None, None, None)
            for request in ordered:
                if request.order > level:
                    self._raise_order(request, level, tape, run)
        return run.results

    def _raise_order(self, request: Request, level: int, tape: Any, run: Run) -> None:
        """Differentiates the request's intermediate result once more; equal steps of several requests happen once."""
        key = request.key(level + 1)
        if key not in run.results:
            step = self._step(request, level, tape, run)
            run.results[key] = request.differentiate(step, level, run.seeds, run.results)

    def _uses_tape_again(self, requests: Sequence[Request]) -> bool:
        """Whether a tape serves more than one pass: not where there is one gradient, or seeds with their own copies."""
        if len({request.key(1) for request in requests}) > 1 or any(request.order > 1 for request in requests):
            return True
        if any(self.source.missing(item.name) for request in requests for item in request.wrt):
            return True
        copies_only = not self.vectorizable and self.lead and not tf.executing_eagerly()
        return not (copies_only or all(request.one_pass for request in requests))

    def _step(self, request: Request, level: int, tape: Any, run: Run) -> Step:
        wrt = request.path[min(level, len(request.path) - 1)]
        tensors = [run.values[Selection(spec.name)] for spec in self.source.inputs]

        def on_copies(count: Any) -> Step:
            whole = self._whole(self.requests)
            inputs = zip(self.source.inputs, tensors, strict=True)
            many = [tensor if spec.name in whole else copies(tensor, count) for spec, tensor in inputs]
            seeds = {name: seed if name in whole else copies(seed, count) for name, seed in run.seeds.items()}
            with self._recording(many, level + 1, level > 0) as (again, tapes):
                copied = Run(again, seeds, run.vectorize)
                for lower in range(level):
                    tapes[lower].__exit__(None, None, None)
                    self._raise_order(request, lower, tapes[lower], copied)
            return self._step(request, level, tapes[level], copied)

        target = run.results[request.key(level)] if level else run.values[request.of]
        source = run.values[Selection(wrt.name)]
        suits = self.vectorizable or run.vectorize is not vectorized
        leads = self.lead, self.source.depth(wrt.name), bool(self.source.lead(wrt.name))
        return Step(request, level, tape, target, source, *leads, self.unconnected, run.vectorize, suits, on_copies)

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
            found[name] = ensured(self.source.ranks, name, tf.identity(result))
            for tape in tapes:
                tape.watch(found[name])
            return found[name]

        with (self.source.tapped or no_taps)(self.layers, tap):
            outputs = self.source.call(*tensors)
        values = {Selection(spec.name): tensor for spec, tensor in zip(self.source.inputs, tensors, strict=True)}
        values |= {
            Selection(name): ensured(self.source.ranks, name, tensor)
            for name, tensor in zip(self.source.outputs, outputs, strict=True)
        }
        values |= {Selection(name): tensor for name, tensor in found.items()}
        for request in self.requests:
            if request.of not in values:
                values[request.of] = self._select(values[Selection(request.of.name)], request.of)
        return values

    def _select(self, tensor: Any, selection: Selection) -> Any:
        if selection.index:
            index = sample_index(selection, tensor.shape.rank, self.lead)
            check_range(selection, index, self._sample_shape(tensor))
            tensor = tensor[(slice(None),) * self.lead + index]
        return tf.reduce_sum(tensor, list(range(self.lead, tensor.shape.rank))) if selection.summed else tensor

    def _sample_shape(self, tensor: Any) -> tuple[int | None, ...]:
        return tuple(tensor.shape.as_list()[self.lead :])

    def _trace_values(self) -> dict[Selection, tf.TensorSpec]:
        """Shape and dtype of everything that the requests name; ranks that TensorFlow does not know are those seen."""
        try:
            return self._traced_values()
        except UnknownRank as problem:
            given = [[tf.constant(inputs[spec.name]) for spec in self.source.inputs] for inputs in self._known_inputs()]
            if not given:
                raise
            found = ranks_of([self._values(tensors, ()) for tensors in given], problem)
            self.source = dataclasses.replace(self.source, ranks=found)
            return self._traced_values()

    def _traced_values(self) -> dict[Selection, tf.TensorSpec]:
        keys: list[Selection] = []
        results = [Selection(name) for name in sorted((*self.source.outputs, *self.layers))]
        given = [Selection(spec.name) for spec in self.source.inputs]

        def compute(*tensors: Any) -> Any:
            found = self._values(tensors, ())
            keys[:] = list(found)
            if set(keys) == {*results, *given}:  # what ``evaluate`` is without derivatives
                return {key.name: found[key] for key in results}
            return list(found.values())

        traced = trace_function(compute, self.source.inputs)
        outputs = traced.outputs
        self._concrete = None
        if isinstance(traced.structured_outputs, dict):
            self._concrete, keys[:] = traced, [*given, *results]
            outputs = [*self.source.inputs, *outputs]
        check_control_flow(traced.graph)
        check_stateless(traced.graph)
        self.vectorizable = is_vectorizable(traced.graph)
        found = {key: tf.TensorSpec(tensor.shape, tensor.dtype) for key, tensor in zip(keys, outputs, strict=True)}
        check_outputs({name: found[Selection(name)] for name in self.source.outputs})
        return found


def _scaled(tensor: Any, scale: float) -> Any:
    return tensor if scale == 1.0 else tensor * tf.constant(scale, tensor.dtype)
