"""What central differences measure for one request, and what the derivative predicts for the same quantity."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.plan import Derivatives, Function
from pullback_export.derivatives.requests import Derivative, Gradient, Jacobian, Request, Selection
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.gate.live_model import in_pieces, row_count, rows_at_once, rows_of
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Judge:
    """The request at ``inputs`` (seeds included), on ``source`` in the precision that differences are taken in.

    ``parted``: rows do not influence each other. ``known``: outputs of ``source`` at ``inputs``, where it gave them.
    The compared quantity is the derivative contracted with a direction on its last input (a random one, or the seed
    of a jvp or hvp), contracted with the adjoint for a vjp, and summed over the unit directions for a Laplacian.
    """

    source: Source
    request: Request
    inputs: dict[str, Array]
    parted: bool
    known: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    @property
    def is_large(self) -> bool:
        """Whether there are more rows than go through the model at once."""
        return row_count(self.inputs) > rows_at_once(self.inputs)

    def first_row(self) -> Judge:
        """The same of the first row alone."""
        inputs, known = rows_of(self.inputs, slice(1)), rows_of(self.known, slice(1))
        return Judge(self.source, self.request, inputs, self.parted, known)

    @property
    def lead(self) -> int:
        return 1 if self.source.batched else 0

    @property
    def last(self) -> Selection:
        return self.request.wrt[-1]

    @functools.cached_property
    def direction(self) -> Array:
        """In the shape of the last input; zero outside of what the request selects."""
        whole = self.inputs[self.last.name]
        if self.request.kind in ("jvp", "hvp") and self.request.seed is not None:
            return self.inputs[self.request.seed].astype(np.float64)
        direction: Array = np.asarray(np.random.default_rng(5).normal(size=whole.shape))
        if self.last.index:
            mask = np.zeros(whole.shape, bool)
            mask[self._key(self.last)] = True
            direction = np.where(mask, direction, 0)
        return direction

    def predicted(self, result: Array) -> Array:
        """The compared quantity according to ``result``, the derivative."""
        if self.request.kind in ("jvp", "hvp", "laplacian"):
            return result
        direction = self.direction[self._key(self.last)]
        if self.request.kind == "derivative":
            along = direction.reshape(direction.shape[: self.lead])
            return np.asarray(result * along.reshape(along.shape + (1,) * (result.ndim - self.lead)))
        axes = direction.ndim - self.lead
        between = (1,) * (result.ndim - self.lead - axes)
        product = result * direction.reshape(direction.shape[: self.lead] + between + direction.shape[self.lead :])
        return np.asarray(product.sum(axis=tuple(range(product.ndim - axes, product.ndim)))) if axes else product

    def measured(self, step: float) -> tuple[Array, Array]:
        """The compared quantity by central differences, and how far the one-sided ones are apart."""
        if self.request.kind != "laplacian":
            central, apart = self._along(self.direction, step)
            if self.request.kind == "vjp" and self.request.seed is not None:
                adjoint = self.inputs[self.request.seed].astype(np.float64)
                axes = tuple(range(self.lead, adjoint.ndim))
                return np.asarray((adjoint * central).sum(axis=axes)), np.asarray(
                    (np.abs(adjoint) * apart).sum(axis=axes)
                )
            return central, apart
        total, spread = np.zeros(()), np.zeros(())
        sample = self.inputs[self.last.name].shape[self.lead :]
        chosen = np.zeros(sample, bool)
        chosen[self._key(self.last)[self.lead :]] = True
        for component in np.argwhere(chosen):
            unit = np.zeros(self.inputs[self.last.name].shape)
            unit[(slice(None),) * self.lead + tuple(component)] = 1
            central, apart = self._along(unit, step)
            at = (..., *component)
            total, spread = total + central[at], spread + apart[at]
        return total, spread

    def noise(self, step: float) -> float:
        """What rounding does to a central difference."""
        values = np.abs(self._here)
        largest = float(values[np.isfinite(values)].max(initial=0.0))
        precision = np.float64 if self.source.dtype == "float64" else np.float32
        return 16 * largest * float(np.finfo(precision).eps) / self._step(step)

    def _along(self, direction: Array, step: float) -> tuple[Array, Array]:
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
        if self._function is None and self.known:
            return self._of_outputs(self.known)
        return self._below(self.inputs)

    @functools.cached_property
    def _function(self) -> Function | None:
        """The function one order below the request; None where that is the source itself."""
        of, wrt = str(self.request.of), [str(item) for item in self.request.wrt]
        below: Request | None = None
        if self.request.kind in ("hessian", "laplacian"):
            below = Jacobian(of, wrt[0] if self.request.kind == "hessian" else self.last.name, name="below")
        elif self.request.kind == "hvp":
            below = Gradient(of, wrt[0], name="below")
        elif self.request.kind == "derivative" and len(wrt) > 1:
            below = Derivative(of, *wrt[:-1], name="below")
        return Derivatives(self.source, [below], "zero").functions()[0] if below else None

    def _below(self, inputs: dict[str, Array]) -> Array:
        """The function one order below, as float64."""
        wanted = {spec.name: inputs[spec.name] for spec in self.source.inputs}
        size = rows_at_once(self.inputs)
        found = in_pieces(self._at_once, wanted, size) if self.parted else self._at_once(wanted)
        assert found is not None
        return found["below"]

    def _at_once(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [
            tf.constant(inputs[spec.name].astype(spec.dtype.as_numpy_dtype), spec.dtype) for spec in self.source.inputs
        ]
        if self._function is not None:
            below = np.asarray(self._function.compute(mostly_one_by_one, *tensors)[-1], np.float64)
        else:
            below = self._of_outputs(dict(zip(self.source.outputs, self.source.call(*tensors), strict=True)))
        return {"below": below}

    def _of_outputs(self, outputs: Mapping[str, Any]) -> Array:
        """What the request selects of the source's outputs, where that is the function one order below."""
        of = self.request.of
        value = np.asarray(outputs[of.name], np.float64)
        value = value[self._key(of)] if of.index else value
        return np.asarray(value.sum(axis=tuple(range(self.lead, value.ndim))) if of.summed else value)

    def _key(self, selection: Selection) -> tuple[Any, ...]:
        """The selection as an index of the whole array."""
        key = selection.key[1:] if self.lead and selection.key[:1] == (slice(None),) else selection.key
        return (slice(None),) * self.lead + key
