"""The derivative kinds as functions of tensors, over any source: nested tapes, one forward pass, vectorised seeds.

The same code runs twice: traced into the graphs that are exported, and eagerly on the live model as the reference,
there with one plain backward pass for each seed (:func:`one_by_one`) instead of the vectorised form.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.requests import Request, Selection
from pullback_export.source import Source, no_taps

# Maps a function over the rows of a matrix of seeds and stacks what it returns.
Vectorize = Callable[[Callable[[Any], Any], Any, "int | None"], Any]


def vectorized(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """All seeds at once as one graph; at most ``chunk`` at a time where memory is to be bounded.

    What ``tf.vectorized_map`` cannot vectorise (a branch inside of a loop, say) becomes a loop over the seeds.
    """
    if chunk is None or (seeds.shape[0] is not None and seeds.shape[0] <= chunk):
        try:
            with _quiet():
                return tf.vectorized_map(function, seeds, warn=False)
        except ExportError:
            raise
        except Exception:  # it fails in as many ways as there are ops
            example = function(seeds[0])
            return tf.map_fn(function, seeds, fn_output_signature=tf.TensorSpec(example.shape, example.dtype))
    count = tf.shape(seeds)[0]
    padded = tf.pad(seeds, [[0, -count % chunk], [0, 0]])
    pieces = tf.reshape(padded, tf.stack([-1, chunk, tf.shape(seeds)[1]]))
    example = tf.vectorized_map(function, pieces[0])
    signature = tf.TensorSpec(example.shape, example.dtype)
    stacked = tf.map_fn(lambda piece: tf.vectorized_map(function, piece), pieces, fn_output_signature=signature)
    return tf.reshape(stacked, tf.concat([[-1], tf.shape(stacked)[2:]], 0))[:count]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow logs pages about an op that it cannot vectorise."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)


def one_by_one(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """A Python loop over the seeds: the reference."""
    return tf.stack([function(seed) for seed in tf.unstack(seeds)])


def mostly_one_by_one(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """The reference, but vectorised beyond 64 seeds, where a loop would take minutes."""
    return (one_by_one if seeds.shape[0] <= 64 else vectorized)(function, seeds, chunk)


def unit_seeds(count: Any, dtype: Any) -> Any:
    """The identity matrix: a constant where it is small, else made when the graph runs, so that no file holds it."""
    return tf.constant(np.eye(count), dtype) if isinstance(count, int) and count <= 32 else tf.eye(count, dtype=dtype)


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
            self._check_names(request)
        _check_result_names(source, self.requests, self.layers)
        self.specs = self._trace_values()
        for request in requests:
            self._check_shapes(request)

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
        requests = [request for request in self.requests if request.seed is None]
        depth = max((request.order for request in requests), default=0)
        results: dict[tuple[Any, ...], Any] = {}
        with self._recording(tensors, depth) as (values, tapes):
            for level, tape in enumerate(tapes):
                tape.__exit__(None, None, None)
                for request in requests:
                    if request.order > level:
                        self._raise_order(request, level, tape, values, results, vectorize)
        outputs = [values[Selection(name)] for name in (*self.source.outputs, *self.layers)]
        return outputs + [_scaled(results[_key(request, request.order)], request.scale) for request in requests]

    def _raise_order(
        self,
        request: Request,
        level: int,
        tape: Any,
        values: dict[Any, Any],
        results: dict[Any, Any],
        vectorize: Vectorize,
    ) -> None:
        """Differentiates the request's intermediate result once more; equal steps of several requests happen once."""
        key = _key(request, level + 1)
        if key in results:
            return
        target = values[request.of] if level == 0 else results[_key(request, level)]
        wrt = request.wrt[min(level, len(request.wrt) - 1)]
        step = _Step(self, request, tape, target, values, wrt, vectorize)
        if request.kind == "gradient":
            results[key] = step.gradient()
        elif request.kind == "laplacian" and level == 1:
            results[key] = step.trace()
        elif request.kind == "derivative":
            results[key] = tf.reshape(step.jacobian(), tf.shape(target))
        else:
            results[key] = step.jacobian()

    def _products(
        self, name: str, requests: Sequence[Request], tensors: Sequence[Any], seeds: dict[str, Any]
    ) -> list[Any]:
        depth = 2 if name == "hvp" else 1
        totals: dict[str, Any] = {}
        with self._recording(tensors, depth) as (values, tapes):
            gradients: dict[Request, Any] = {}
            for level, tape in enumerate(tapes):
                tape.__exit__(None, None, None)
                for request in requests:
                    target = values[request.of] if level == 0 else gradients[request]
                    step = _Step(self, request, tape, target, values, request.wrt[0], one_by_one)
                    seed = seeds[request.seed] if request.seed else None
                    if name == "hvp" and level == 0:
                        gradients[request] = step.gradient()
                        continue
                    product = step.jvp(seed) if name == "jvp" else step.vjp(seed)
                    product = _scaled(product, request.scale)
                    totals[request.name] = totals[request.name] + product if request.name in totals else product
        return list(totals.values())

    @contextlib.contextmanager
    def _recording(self, tensors: Sequence[Any], depth: int) -> Iterator[tuple[dict[Selection, Any], list[Any]]]:
        """Runs the source under ``depth`` nested tapes, innermost first; the caller leaves them one after the other."""
        tapes = [tf.GradientTape(persistent=True, watch_accessed_variables=False) for _ in range(depth)]
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
            index = _sample_index(selection, tensor.shape.rank, self.lead)
            _check_range(selection, index, self._sample_shape(tensor))
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

        outputs = trace_function(values, self.source.inputs).outputs
        return {key: tf.TensorSpec(tensor.shape, tensor.dtype) for key, tensor in zip(keys, outputs, strict=True)}

    def _check_names(self, request: Request) -> None:
        inputs = [spec.name for spec in self.source.inputs]
        known = [*inputs, *self.source.outputs, *self.layers]
        layers = f"; inner layers: {', '.join(self.source.layers[:12])}" if self.source.layers else ""
        for item in (request.of, *request.wrt):
            if item.name not in known:
                raise ExportError(
                    f"{request}: there is no {item.name!r}; outputs: {', '.join(self.source.outputs)};"
                    f" inputs: {', '.join(inputs)}{layers}"
                )
        for item in request.wrt:
            if item.name in self.source.outputs and item.name not in inputs:
                raise ExportError(
                    f"{request}: {item.name!r} is an output; differentiate with respect to {', '.join(inputs)}{layers}"
                )
            if item.summed:
                raise ExportError(
                    f"{request}: a derivative with respect to a sum has no meaning; name the input itself"
                )

    def _check_shapes(self, request: Request) -> None:
        for item in (request.of, *(Selection(wrt.name) for wrt in request.wrt)):
            if not self.specs[item].dtype.is_floating:
                raise ExportError(
                    f"{request}: {item.name!r} is {self.specs[item].dtype.name}, and only floats have derivatives;"
                    " for tokens, name the embedding layer instead"
                )
        out = self.specs[request.of].shape.as_list()
        if self.lead and not out:
            raise ExportError(
                f"{request}: {request.of} has no batch axis; export with batched=False for whole-tensor derivatives"
            )
        if request.kind in ("gradient", "hvp") and any(size != 1 for size in out[self.lead :]):
            self._refuse_non_scalar(request, out)
        if request.kind in ("jvp", "hvp") and request.wrt[0].index:
            raise ExportError(
                f"{request}: a tangent belongs to a whole input; write {request.wrt[0].name} and pass zeros elsewhere"
            )
        if request.kind == "derivative":
            for item in request.wrt:
                self._check_scalar_coordinate(request, item)
        for item in request.wrt:
            if item.index:
                spec = self.specs[Selection(item.name)]
                _check_range(item, _sample_index(item, spec.shape.rank, self.lead), self._sample_shape(spec))

    def _refuse_non_scalar(self, request: Request, out: Sequence[int | None]) -> None:
        of, wrt = request.of, ", ".join(map(str, request.wrt[:1]))
        shape = tuple("B" if axis < self.lead else size for axis, size in enumerate(out))
        zeros = ", ".join("0" for _ in out[self.lead :])
        raise ExportError(
            f"{request}: {of} has shape {shape}, not one scalar per sample;"
            f" pick a component {request.kind}({of.name}[{zeros}], {wrt}),"
            f" ask for all of them jacobian({of}, {wrt}), or give the weights at run time vjp({of}, {wrt})"
            + ("" if self.lead else "; batched=False: if the leading axis is the batch, give it a free size (None)")
        )

    def _check_scalar_coordinate(self, request: Request, item: Selection) -> None:
        shape = self._sample_shape(self.specs[Selection(item.name)])
        if item.index:
            index = _sample_index(item, len(shape) + self.lead, self.lead)
            _check_range(item, index, shape)
            shape = np.empty([1 if size is None else size for size in shape])[index].shape
        if any(size != 1 for size in shape):
            raise ExportError(
                f"{request}: {item} has shape {shape} per sample;"
                f" a chain takes one scalar coordinate each: {item.name}[0]"
            )


@dataclasses.dataclass(frozen=True)
class _Step:
    """One differentiation of ``target`` with respect to ``wrt`` on a tape that was left already."""

    owner: Derivatives
    request: Request
    tape: Any
    target: Any
    values: dict[Selection, Any]
    wrt: Selection
    vectorize: Vectorize

    @property
    def source(self) -> Any:
        return self.values[Selection(self.wrt.name)]

    @property
    def lead(self) -> int:
        return self.owner.lead

    def vjp(self, seed: Any, select: bool = True) -> Any:
        """``seed`` pulled back to the input; one pass."""
        pulled = self.tape.gradient(self.target, self.source, output_gradients=seed)
        if pulled is None:
            pulled = self._unconnected()
        pulled = tf.convert_to_tensor(pulled)
        return self._pick(pulled, self.lead) if select else pulled

    def gradient(self) -> Any:
        return self.vjp(None)

    def jvp(self, tangent: Any) -> Any:
        """``tangent`` pushed forward: the transpose of the (linear) pullback, so that reverse rules suffice."""
        return self._pushforward()(tangent)

    def _pushforward(self) -> Callable[[Any], Any]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as linear:
            seed = tf.zeros_like(self.target)
            linear.watch(seed)
            pulled = self.vjp(seed, select=False)

        def push(tangent: Any) -> Any:
            pushed = linear.gradient(pulled, seed, output_gradients=tangent)
            return tf.zeros_like(self.target) if pushed is None else tf.convert_to_tensor(pushed)

        return push

    def jacobian(self) -> Any:
        """Shape ``(B, *out, *in)``; reverse or forward mode, whichever needs fewer passes."""
        out, into = self._sample(self.target), self._sample(self.source)
        count_out, count_in = _count(out), _count(into)
        if count_out == 1 and self.request.mode != "forward":
            return self._shaped(self.vjp(None), out, self._picked(into))
        chosen = len(self._chosen(into)) if count_in is not None else math.inf
        forward = self.request.mode == "forward" or (self.request.mode is None and chosen < (count_out or math.inf))
        return self._forward(out, into) if forward else self._reverse(out, into)

    def _reverse(self, out: tuple[Any, ...], into: tuple[Any, ...]) -> Any:
        sizes = tf.shape(self.target)[self.lead :] if _count(out) is None else out
        count = tf.reduce_prod(sizes) if _count(out) is None else _count(out)

        def row(seed: Any) -> Any:
            shaped = tf.reshape(seed, tf.concat([tf.ones([self.lead], tf.int32), sizes], 0))
            return self.vjp(tf.broadcast_to(shaped, tf.shape(self.target)))

        rows = self.vectorize(row, unit_seeds(count, self.target.dtype), self.request.chunk)
        if self.lead:
            rows = tf.transpose(rows, [1, 0, *range(2, len(rows.shape))])
        return self._shaped(rows, out, self._picked(into))

    def _forward(self, out: tuple[Any, ...], into: tuple[Any, ...]) -> Any:
        count = _count(into)
        if count is None:
            raise ExportError(f"{self.request}: the size of {self.wrt} is free; use mode='reverse' or jvp")
        push = self._pushforward()

        def column(seed: Any) -> Any:
            shaped = tf.reshape(seed, (1,) * self.lead + into)
            return push(tf.broadcast_to(shaped, tf.shape(self.source)))

        seeds = unit_seeds(count, self.source.dtype)
        if self.wrt.index:
            seeds = tf.gather(seeds, self._chosen(into))
        columns = self.vectorize(column, seeds, self.request.chunk)
        rank = len(columns.shape)
        return self._shaped(tf.transpose(columns, [*range(1, rank), 0]), out, self._picked(into))

    def trace(self) -> Any:
        """Sum of the unmixed second derivatives, ``(B, *out)``; ``target`` is the Jacobian ``(B, *out, *in)``."""
        picked = self._picked(self._sample(self.source))
        out = self._sample(self.target)[: len(self._sample(self.target)) - len(picked)]
        blocks, size = _count(out), _count(picked)
        if blocks is None or size is None:
            raise ExportError(f"{self.request}: the sizes of {self.request.of} and {self.wrt} must be fixed")

        def term(seed: Any) -> Any:
            shaped = tf.reshape(seed, (1,) * self.lead + out + picked)
            pulled = self.vjp(tf.broadcast_to(shaped, tf.shape(self.target)))
            component = tf.reduce_sum(tf.reshape(seed, (blocks, size)), 0)
            along = pulled * tf.reshape(component, (1,) * self.lead + picked)
            return tf.reduce_sum(along, list(range(self.lead, along.shape.rank)))

        terms = self.vectorize(term, unit_seeds(blocks * size, self.target.dtype), self.request.chunk)
        batch = tf.shape(terms)[1:]
        summed = tf.reduce_sum(tf.reshape(terms, tf.concat([[blocks, size], batch], 0)), 1)
        return self._shaped(tf.transpose(summed) if self.lead else summed, out, ())

    def _sample(self, tensor: Any) -> tuple[Any, ...]:
        return tuple(tensor.shape.as_list()[self.lead :])

    def _shaped(self, result: Any, out: tuple[Any, ...], into: tuple[Any, ...]) -> Any:
        """Reshapes to ``(B, *out, *into)``; sizes that are free are read from the tensors."""
        sizes = [*out, *into]
        batch = tf.shape(self.target)[: self.lead]
        if None not in sizes:
            # The batch is read, not inferred: -1 says nothing where there are no rows.
            return tf.reshape(result, tf.concat([batch, sizes], 0)) if self.lead else tf.reshape(result, sizes)
        dynamic_out = tf.shape(self.target)[self.lead : self.lead + len(out)]
        dynamic_in = tf.shape(result)[result.shape.rank - len(into) :]
        return tf.reshape(result, tf.concat([batch, dynamic_out, dynamic_in], 0))

    def _pick(self, pulled: Any, lead: int) -> Any:
        if not self.wrt.index:
            return pulled
        return pulled[(slice(None),) * lead + _sample_index(self.wrt, lead + len(self._sample(self.source)), self.lead)]

    def _chosen(self, into: tuple[Any, ...]) -> list[int]:
        """Flat positions of the selected components of the input."""
        numbers = np.arange(math.prod(into)).reshape(into)
        if self.wrt.index:
            numbers = numbers[_sample_index(self.wrt, len(into) + self.lead, self.lead)]
        return [int(item) for item in np.ravel(numbers)]

    def _picked(self, into: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the selected part of the input, per sample."""
        if not self.wrt.index:
            return into
        index = _sample_index(self.wrt, len(into) + self.lead, self.lead)
        return tuple(np.empty([1 if size is None else size for size in into])[index].shape)

    def _unconnected(self) -> Any:
        if self.owner.unconnected == "zero":
            return tf.zeros_like(self.source)
        raise ExportError(
            f"{self.request}: {self.request.of} does not depend on {self.wrt}"
            + (" beyond first order (a piecewise linear model?)" if self.request.order > 1 else "")
            + "; leave the request out, or export with unconnected='zero' for zeros"
        )


def _key(request: Request, order: int) -> tuple[Any, ...]:
    """Equal keys, equal tensors: what the first ``order`` steps of a request compute."""
    shape_of = {"laplacian": "jacobian", "hessian": "jacobian"}.get(request.kind, request.kind)
    wrt = request.wrt if len(request.wrt) > 1 else request.wrt * 4
    if request.kind == "laplacian" and order == 2:
        shape_of = "laplacian"
    return shape_of, request.of, wrt[:order], request.mode, request.chunk


def _scaled(tensor: Any, scale: float) -> Any:
    return tensor if scale == 1.0 else tensor * tf.constant(scale, tensor.dtype)


def _count(shape: Sequence[int | None]) -> int | None:
    return None if any(size is None for size in shape) else math.prod(size or 0 for size in shape)


def _sample_index(selection: Selection, rank: int, lead: int) -> tuple[int | slice, ...]:
    """The index on the axes of one sample; a leading bare ``:`` stands for the batch axis."""
    index = selection.key
    if lead and index and index[0] == slice(None):
        index = index[1:]
    if len(index) > rank - lead:
        raise ExportError(f"{selection}: too many indices; {selection.name} has {rank - lead} axes per sample")
    return index


def _check_range(selection: Selection, index: tuple[int | slice, ...], shape: Sequence[int | None]) -> None:
    for item, size in zip(index, shape, strict=False):
        if isinstance(item, int) and size is not None and not -size <= item < size:
            raise ExportError(
                f"{selection}: component {item} is out of range; {selection.name} has shape {tuple(shape)} per sample"
            )
        if isinstance(item, slice) and size is not None and len(range(*item.indices(size))) == 0:
            raise ExportError(f"{selection}: selects nothing; {selection.name} has shape {tuple(shape)} per sample")


def _check_result_names(source: Source, requests: Sequence[Request], layers: Sequence[str]) -> None:
    taken = {spec.name: "an input" for spec in source.inputs} | dict.fromkeys((*source.outputs, *layers), "an output")
    for request in requests:
        shared = request.function in ("vjp", "jvp")
        if request.name in taken and not (shared and taken[request.name] == request.function):
            raise ExportError(
                f"{request}: the name {request.name!r} is taken by {taken[request.name]};"
                " give the request another: name='...'"
            )
        taken[request.name] = request.function if shared else str(request)
