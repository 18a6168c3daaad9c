"""One differentiation: a target on a tape, with respect to one input or inner layer, for one seed or for many."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from pullback.selection import Selection

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.selection import picked_positions, picked_shape, sample_index
from pullback_export.derivatives.vectorization import (
    NotVectorizable,
    Vectorize,
    in_chunks,
    one_after_another,
    unit_seeds,
)
from pullback_export.errors import ExportError
from pullback_export.overrides.known_sizes import declare_sizes
from pullback_export.overrides.missing_partials import requested


@dataclasses.dataclass(frozen=True)
class Step:
    """One differentiation of ``target`` with respect to ``source`` on a tape that was left already.

    ``level`` counts the differentiations before this one; ``lead`` is the number of batch axes of the target (rows, and
    points after them), and ``lead_in`` that of the source, less for an input that all rows or points share. Each of
    these has its own derivative by such an input, which forward mode gives, as a reverse pass adds them up. ``rows``:
    the first batch axis of the source is that of the rows.
    ``suits`` says that ``vectorize`` is right for this graph; ``on_copies(count)`` is the same step on ``count`` copies
    of the batch.
    """

    request: Request
    level: int
    tape: Any
    target: Any
    source: Any
    lead: int
    lead_in: int
    rows: bool
    unconnected: str
    vectorize: Vectorize
    suits: bool
    on_copies: Callable[[Any], Step]

    @property
    def wrt(self) -> Selection:
        return self.request.path[min(self.level, len(self.request.path) - 1)]

    def vjp(self, seed: Any, select: bool = True) -> Any:
        """``seed`` pulled back to the input; one pass."""
        declare_sizes(seed, self.target)
        with requested():
            pulled = self.tape.gradient(self.target, self.source, output_gradients=seed)
        if pulled is None:
            pulled = self._unconnected()
        pulled = _shaped_like(pulled, self.source)
        return self._pick(pulled) if select else pulled

    def gradient(self) -> Any:
        return self._forward((), self._into) if self._is_shared else self.vjp(None)

    def jvp(self, tangent: Any) -> Any:
        """``tangent`` pushed forward: the transpose of the (linear) pullback, so that reverse rules suffice."""
        return self._pushforward()(tangent)

    def _pushforward(self) -> Callable[[Any], Any]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as linear:
            seed = tf.zeros_like(self.target)
            linear.watch(seed)
            pulled = self.vjp(seed, select=False)

        def push(tangent: Any) -> Any:
            declare_sizes(tangent, self.source)
            with requested():
                pushed = linear.gradient(pulled, seed, output_gradients=tangent)
            return tf.zeros_like(self.target) if pushed is None else _shaped_like(pushed, self.target)

        return push

    def jacobian(self) -> Any:
        """Shape ``(B, *out, *in)``; reverse or forward mode, whichever needs fewer passes."""
        out, into = self._out, self._into
        if self._is_shared:
            return self._forward(out, into)
        count_out, count_in = _count(out), _count(into)
        if count_out == 1 and self.request.mode != "forward":
            return self._shaped(self.vjp(None), out, self._picked(into))
        chosen = len(self._chosen(into)) if count_in is not None else math.inf
        forward = self.request.mode == "forward" or (self.request.mode is None and chosen < (count_out or math.inf))
        return self._forward(out, into) if forward else self._reverse(out, into)

    def _reverse(self, out: tuple[Any, ...], into: tuple[Any, ...]) -> Any:
        count = tf.reduce_prod(tf.shape(self.target)[self.lead :]) if _count(out) is None else _count(out)
        pulled = self._passes(Step._pullback, unit_seeds(count, self.target.dtype))
        return self._shaped(self._behind_batch(pulled), out, self._picked(into))

    def _forward(self, out: tuple[Any, ...], into: tuple[Any, ...]) -> Any:
        count = _count(into)
        if count is None and (not self._is_shared or self.wrt.index):
            other = "name all of it" if self._is_shared else "use mode='reverse'"
            raise ExportError(f"{self.request}: the size of {self.wrt} is free; {other} or use jvp")
        sizes_in = tf.shape(self.source)[self.lead_in :] if count is None else None
        seeds = unit_seeds(tf.reduce_prod(sizes_in) if count is None else count, self.source.dtype)
        if self.wrt.index:
            seeds = tf.gather(seeds, self._chosen(into))
        pushed = self._passes(Step._pushforward_of_seeds, seeds)
        last = tf.transpose(pushed, [*range(1, len(pushed.shape)), 0])
        return self._shaped(last, out, self._picked(into), sizes_in)

    def trace(self) -> Any:
        """Sum of the unmixed second derivatives, ``(B, *out)``; ``target`` is the Jacobian ``(B, *out, *in)``."""
        picked = self._picked(self._into)
        out = self._out[: len(self._out) - len(picked)]
        blocks, size = _count(out), _count(picked)
        if blocks is None or size is None:
            raise ExportError(
                f"{self.request}: the sizes of {self.request.of} and {self.wrt} must be fixed; where a free axis counts"
                " points that do not influence each other, export with batch_axes=2 (docs/howto/points.md)"
            )
        if self._is_shared:
            return self.trace_of(self.jacobian())
        terms = self._passes(Step._diagonal, unit_seeds(blocks * size, self.target.dtype))
        batch = tf.shape(terms)[1:]
        summed = tf.reduce_sum(tf.reshape(terms, tf.concat([[blocks, size], batch], 0)), 1)
        return self._shaped(self._behind_batch(summed), out, ())

    def _behind_batch(self, stacked: Any) -> Any:
        """``(seeds, B, ...)`` as ``(B, seeds, ...)``, with all batch axes in front."""
        after = range(self.lead + 1, len(stacked.shape))
        return tf.transpose(stacked, [*range(1, self.lead + 1), 0, *after]) if self.lead else stacked

    def trace_of(self, hessian: Any) -> Any:
        """The same from a Hessian ``(B, *out, *in, *in)``."""
        picked = self._picked(self._into)
        kept = len(hessian.shape) - 2 * len(picked)
        size = math.prod(picked)
        square = tf.reshape(hessian, tf.concat([tf.shape(hessian)[:kept], [size, size]], 0))
        return tf.linalg.trace(square)

    def _passes(self, pass_of: Callable[[Step], Callable[[Any], Any]], seeds: Any) -> Any:
        """One pass for each seed, ``(seeds, B, ...)``.

        They are vectorised, except through what TensorFlow cannot vectorise well. There each seed has its own copy of
        the batch, as samples do not influence each other; without a batch, and for what all rows share, the seeds
        follow one another.
        """
        if self.suits:
            with contextlib.suppress(NotVectorizable):
                return self.vectorize(pass_of(self), seeds, self.request.chunk)
        return self._passes_on_copies(pass_of, seeds) if self.rows else one_after_another(pass_of(self), seeds)

    def _passes_on_copies(self, pass_of: Callable[[Step], Callable[[Any], Any]], seeds: Any) -> Any:
        batch = tf.shape(self.source)[:1]

        def passes(some: Any) -> Any:
            count = tf.shape(some)[0]
            rows = pass_of(self.on_copies(count))(tf.repeat(some, batch, axis=0))
            stacked = tf.reshape(rows, tf.concat([count[tf.newaxis], batch, tf.shape(rows)[1:]], 0))
            return tf.ensure_shape(stacked, [some.shape[0], self.source.shape[0], *rows.shape[1:]])

        return in_chunks(passes, seeds, self.request.chunk)

    def _pullback(self) -> Callable[[Any], Any]:
        return lambda seed: self.vjp(self._spread(seed, self.target, self.lead))

    def _pushforward_of_seeds(self) -> Callable[[Any], Any]:
        push = self._pushforward()
        return lambda seed: push(self._spread(seed, self.source, self.lead_in))

    def _diagonal(self) -> Callable[[Any], Any]:
        """One unmixed second derivative: the component of a pulled back unit vector along that vector."""
        picked = self._picked(self._into)

        def term(seed: Any) -> Any:
            pulled = self.vjp(self._spread(seed, self.target, self.lead))
            blocks = seed.shape[-1] // max(math.prod(picked), 1)
            of_rows = [-1, *[1] * (self.lead - 1)] if seed.shape.rank > 1 else []
            of_each = tf.reshape(seed, [*of_rows, blocks, *picked])
            component = tf.reduce_sum(of_each, len(of_rows))
            return tf.reduce_sum(pulled * component, list(range(self.lead, pulled.shape.rank)))

        return term

    def _spread(self, seed: Any, tensor: Any, lead: int) -> Any:
        """A seed for every sample, or a matrix with a seed for each row, in the shape of ``tensor``."""
        fixed = tuple(tensor.shape.as_list()[lead:])
        sizes = fixed if _count(fixed) is not None else tf.shape(tensor)[lead:]
        before = [-1, *[1] * (lead - 1)] if lead else []
        shaped = tf.reshape(seed, tf.concat([tf.constant(before, tf.int32), sizes], 0))
        return tf.broadcast_to(shaped, tf.shape(tensor))

    @property
    def _is_shared(self) -> bool:
        """Whether all rows of the target share the source."""
        return self.lead_in < self.lead

    @property
    def _out(self) -> tuple[Any, ...]:
        """Shape of the target, per sample."""
        return tuple(self.target.shape.as_list()[self.lead :])

    @property
    def _into(self) -> tuple[Any, ...]:
        """Shape of the source, per sample where each has its own."""
        return tuple(self.source.shape.as_list()[self.lead_in :])

    def _shaped(self, result: Any, out: tuple[Any, ...], into: tuple[Any, ...], sizes_in: Any = None) -> Any:
        """Reshapes to ``(B, *out, *into)``; sizes that are free are read from the tensors, or are ``sizes_in``."""
        sizes = [*out, *into]
        batch = tf.shape(self.target)[: self.lead]
        if None not in sizes:
            # The batch is read, not inferred: -1 says nothing where there are no rows.
            return tf.reshape(result, tf.concat([batch, sizes], 0)) if self.lead else tf.reshape(result, sizes)
        dynamic_out = tf.shape(self.target)[self.lead : self.lead + len(out)]
        # Forward mode has the input's components on one axis; their sizes are known then, or handed in.
        if sizes_in is None:
            sizes_in = into if None not in into else tf.shape(result)[result.shape.rank - len(into) :]
        return tf.reshape(result, tf.concat([batch, dynamic_out, tf.cast(sizes_in, tf.int32)], 0))

    def _pick(self, pulled: Any) -> Any:
        if not self.wrt.index:
            return pulled
        index = sample_index(self.wrt, self.source.shape.rank, self.lead_in)
        return pulled[(slice(None),) * self.lead_in + index]

    def _chosen(self, into: tuple[Any, ...]) -> list[int]:
        """Flat positions of the selected components of the input."""
        return picked_positions(self.wrt, into, self.lead_in)

    def _picked(self, into: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the selected part of the input, per sample."""
        return picked_shape(self.wrt, into, self.lead_in)

    def _unconnected(self) -> Any:
        """Zeros where the caller wants them, or for one call of the live model: at that point nothing depends on it.

        An early return of the model, for no rows say, or a branch of Python's says nothing of the traced graph.
        """
        if self.unconnected == "zero" or tf.executing_eagerly():
            return tf.zeros_like(self.source)
        raise ExportError(
            f"{self.request}: {self.request.of} does not depend on {self.wrt}"
            + (" beyond first order (a piecewise linear model?)" if self.request.order > 1 else "")
            + "; remove the request, or export with unconnected='zero' for zeros"
        )


def _shaped_like(derivative: Any, tensor: Any) -> Any:
    """``derivative``, which has the shape of ``tensor``, also where an operator in between has an unknown rank."""
    found = tf.convert_to_tensor(derivative)
    if found.shape.rank is None:
        found.set_shape(tensor.shape)
    return found


def _count(shape: Sequence[int | None]) -> int | None:
    return None if any(size is None for size in shape) else math.prod(size or 0 for size in shape)
