"""What central differences measure for one request, and what the derivative predicts for the same quantity."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.selection import Selection

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.gate.exact_source import ExactSource, HeldSource
from pullback_export.gate.live_model import are_large, in_pieces, point_count, row_count, rows_at_once, rows_of
from pullback_export.gate.sampling.tangents import tangent
from pullback_export.gate.supervision.limits import watched
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class DifferenceQuotient:
    """The request at ``inputs`` (seeds included), on ``source`` in the precision that differences are taken in.

    ``independent``: rows do not influence each other. ``known``: outputs of ``source`` at ``inputs``, where it gave
    them. ``exact``, if there is one, gives everything in float64; ``eps`` is the precision of what gives the values.
    The compared quantity is the request's own (``Request.predicted`` and ``Request.measured``): as a rule the
    derivative contracted with a direction on its last input, a random one or the seed of a product.
    """

    source: Source
    request: Request
    inputs: dict[str, Array]
    independent: bool
    known: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    exact: ExactSource | HeldSource | None = None
    eps: float = float(np.finfo(np.float64).eps)

    @property
    def is_large(self) -> bool:
        """Whether there are several rows, and large ones."""
        return self._in_pieces and self.rows > 1 and are_large(self.inputs, self._whole)

    @property
    def rows(self) -> int:
        return row_count(self.inputs, self._whole)

    @property
    def _in_pieces(self) -> bool:
        """Whether rows may go through the model in any company."""
        return self.independent and not isinstance(self.exact, HeldSource)

    def row(self, index: int) -> DifferenceQuotient:
        """The same of one row alone."""
        one = [range(self.rows)[index]]
        inputs, known = rows_of(self.inputs, one, self._whole), rows_of(self.known, one)
        return dataclasses.replace(self, inputs=inputs, known=known)

    @functools.cached_property
    def _whole(self) -> frozenset[str]:
        """The inputs and seeds without rows."""
        seeds = [*self.request.seeds, *(self._request_below.seeds if self._request_below is not None else ())]
        return self.source.shared | {seed.name for seed in seeds if seed.owner.name in self.source.shared}

    @property
    def _rows_at_once(self) -> int:
        return rows_at_once(self.inputs, self._whole)

    @property
    def lead(self) -> int:
        return self.source.batch_axes

    @property
    def lead_in(self) -> int:
        return self.source.depth(self.last.name)

    @property
    def missing(self) -> tuple[int, ...]:
        return self.source.missing(self.last.name)

    @property
    def selected(self) -> Array:
        direction: Array = self.direction[self.picked(self.last)]
        if not self.missing:
            return direction
        batch = (self.rows, point_count(self.source, self.inputs))[: self.lead]
        return np.broadcast_to(np.expand_dims(direction, self.missing), (*batch, *direction.shape[self.lead_in :]))

    @property
    def last(self) -> Selection:
        return self.request.wrt[-1]

    @functools.cached_property
    def direction(self) -> Array:
        """In the shape of the last input; zero outside of what the request selects."""
        if self.request.direction_seed is not None:
            return self.inputs[self.request.direction_seed].astype(np.float64)
        whole = self.inputs[self.last.name]
        direction: Array = np.asarray(np.random.default_rng(5).normal(size=whole.shape))
        direction = tangent(whole, direction)
        if self.last.index:
            mask = np.zeros(whole.shape, bool)
            mask[self.picked(self.last)] = True
            direction = np.where(mask, direction, 0)
        return direction

    def predicted(self, result: Array) -> Array:
        """The compared quantity according to ``result``, the derivative."""
        return self.request.predicted(result, self)

    def measured(self, step: float) -> tuple[Array, Array]:
        """The compared quantity by central differences, and how far the one-sided ones are apart."""
        return self.request.measured(self, step)

    def around(self, step: float) -> list[Array]:
        """The compared quantity according to the derivative here, and a step to either side along the direction."""
        size, name = self._step(step), self.last.name
        beside = [self.inputs | {name: self.inputs[name] + sign * size * self.direction} for sign in (1, -1)]
        found = [self._result_here, *(self._itself(inputs) for inputs in beside)]
        return [self.predicted(result / self.request.scale) for result in found]

    @functools.cached_property
    def _result_here(self) -> Array:
        return self._itself(self.inputs)

    def _itself(self, inputs: Mapping[str, Array]) -> Array:
        """The result of the request, as float64."""

        def at_once(some: Mapping[str, Array]) -> dict[str, Array]:
            with watched():
                return {"result": np.asarray(self._function_itself(some)[self.request.name], np.float64)}

        names = [*(spec.name for spec in self.source.inputs), *(seed.name for seed in self.request.seeds)]
        wanted = {name: inputs[name] for name in names}
        return self._run(at_once, wanted)["result"]

    def noise(self, step: float) -> float:
        """What rounding does to a central difference."""
        values = np.abs(self._here)
        largest = float(values[np.isfinite(values)].max(initial=0.0))
        return 16 * largest * self.eps / self._step(step)

    def along(self, direction: Array, step: float) -> tuple[Array, Array]:
        """The difference quotient along ``direction``, and how far the one-sided ones are apart."""
        size, name = self._step(step), self.last.name
        forward, backward = (
            self._below(self.inputs | {name: self.inputs[name] + sign * size * direction}) for sign in (1, -1)
        )
        here = self._here
        return (forward - backward) / (2 * size), np.abs((forward - here) - (here - backward)) / size

    def _step(self, step: float) -> float:
        values = np.abs(self.inputs[self.last.name])
        return step * max(1.0, float(values[np.isfinite(values)].max(initial=0.0)))

    @functools.cached_property
    def _here(self) -> Array:
        """The function one order below at ``inputs``: every step measures from it."""
        if self._request_below is None and self.known:
            return self._of_outputs(self.known)
        return self._below(self.inputs)

    @functools.cached_property
    def _request_below(self) -> Request | None:
        """The derivative one order below the request; None where that is the output itself."""
        return self.request.below()

    @functools.cached_property
    def _function_below(self) -> Callable[[Mapping[str, Array]], Mapping[str, Any]]:
        """What gives the derivative one order below, by the name ``below``."""
        assert self._request_below is not None
        return self._function_of(self._request_below)

    @functools.cached_property
    def _function_itself(self) -> Callable[[Mapping[str, Array]], Mapping[str, Any]]:
        """What gives the request itself, by its name."""
        return self._function_of(self.request)

    def _function_of(self, request: Request) -> Callable[[Mapping[str, Array]], Mapping[str, Any]]:
        if self.exact is not None:
            return self.exact.derivative(request)
        function = Derivatives(self.source, [request], "zero").functions()[-1]

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Any]:
            results = function.compute(mostly_one_by_one, *_tensors(function.inputs, inputs))
            return dict(zip(function.outputs, results, strict=True))

        return run

    def _below(self, inputs: dict[str, Array]) -> Array:
        """The function one order below, as float64."""
        seeds = [] if self._request_below is None else [seed.name for seed in self._request_below.seeds]
        wanted = {name: inputs[name] for name in [*(spec.name for spec in self.source.inputs), *seeds]}
        return self._run(self._at_once, wanted)["below"]

    def _run(self, run: Callable[[dict[str, Array]], dict[str, Array]], inputs: dict[str, Array]) -> dict[str, Array]:
        """What ``run`` gives for ``inputs``, in as many pieces as memory asks for where that is allowed."""
        found = in_pieces(run, inputs, self._rows_at_once, self._whole) if self._in_pieces else run(inputs)
        assert found is not None
        return found

    def _at_once(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with watched():
            return self._evaluated(inputs)

    def _evaluated(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self._request_below is not None:
            return {"below": np.asarray(self._function_below(inputs)["below"], np.float64)}
        if self.exact is not None:
            return {"below": self._of_outputs(self.exact.outputs(inputs))}
        results = self.source.call(*_tensors(self.source.inputs, inputs))
        return {"below": self._of_outputs(dict(zip(self.source.outputs, results, strict=True)))}

    def _of_outputs(self, outputs: Mapping[str, Any]) -> Array:
        """What the request selects of the source's outputs, where that is the function one order below."""
        of = self.request.of
        value = np.asarray(outputs[of.name], np.float64)
        value = value[self.picked(of)] if of.index else value
        return np.asarray(value.sum(axis=tuple(range(self.lead, value.ndim))) if of.summed else value)

    def picked(self, selection: Selection) -> tuple[Any, ...]:
        """The selection as an index of the whole array."""
        lead = self.source.depth(selection.name)
        return (slice(None),) * lead + selection.of_sample(lead)


def _tensors(specs: Sequence[tf.TensorSpec], inputs: Mapping[str, Array]) -> list[Any]:
    return [tf.constant(inputs[spec.name].astype(spec.dtype.as_numpy_dtype), spec.dtype) for spec in specs]
