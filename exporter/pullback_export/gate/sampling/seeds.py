"""Seeds of products: random numbers in the shape of what each belongs to.

A free size of a seed is asked of the traced graph, cut to what the seeds belong to and in the model's own precision,
so that sizes that depend on data are the model's too. Only where the graph does not take a sample is the model asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.tracing import Traced
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_model import Arrays, Refused, refusal_of_given, refusals, row_count
from pullback_export.gate.samples import Sample
from pullback_export.gate.sampling.tangents import tangent
from pullback_export.gate.supervision.limits import OverLimit, watched

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Gives every function of a bundle its inputs; ``graph`` is that of ``evaluate`` as it is."""

    functions: Sequence[Function]
    batched: bool
    graph: ExactFunction

    @staticmethod
    def of(traced: Sequence[Traced], batched: bool) -> Seeds:
        """For the functions ``traced``, of which ``evaluate`` is the first."""
        return Seeds([one.function for one in traced], batched, ExactFunction(traced[0], {}))

    def for_all(self, drawn: Sequence[Sample]) -> tuple[list[Sample], list[list[Arrays]], list[str]]:
        """The samples whose seeds have a size, their inputs by function, and a note for each of the others.

        Raises :class:`ExportError` where one of the others is the caller's.
        """
        kept: list[Sample] = []
        inputs: list[list[Arrays]] = [[] for _ in self.functions]
        notes = []
        for sample in drawn:
            try:
                found = self.beside(sample.inputs)
            except Refused as problem:
                if sample.given is not None:
                    run = self.beside
                    raise refusal_of_given(sample.given, run, sample.inputs, problem, self._whole) from problem
                notes.append(f"{sample.label}: the live model rejects it; skipped ({problem.said})")
                continue
            kept.append(sample)
            for all_of_one, one in zip(inputs, found, strict=True):
                all_of_one.append(one)
        return kept, inputs, notes

    def beside(self, inputs: Arrays) -> list[Arrays]:
        """``inputs`` for every function, with the seeds that it has more; raises :class:`Refused`."""
        shapes = self._of_the_graph(inputs)
        return [self._with_seeds(function, inputs, shapes) for function in self.functions]

    def _with_seeds(self, function: Function, inputs: Arrays, shapes: Shapes) -> Arrays:
        rng = np.random.default_rng(0)
        full = dict(inputs)
        for spec in function.inputs:
            if spec.name not in full:
                shape = self._shape(function, spec, inputs, shapes)
                seed = rng.normal(size=shape).astype(spec.dtype.as_numpy_dtype)
                owner = inputs.get(function.owner(spec.name) or "")
                full[spec.name] = seed if owner is None else tangent(owner, seed)
        return {spec.name: full[spec.name] for spec in function.inputs}

    def _shape(self, function: Function, spec: Any, inputs: Arrays, shapes: Shapes) -> tuple[int, ...]:
        sizes, lead = spec.shape.as_list(), self._lead(function, spec.name)
        if None not in sizes[lead:]:
            return (row_count(inputs, self._whole), *sizes[1:]) if lead else tuple(sizes)
        owner = function.owner(spec.name) or ""
        if owner in inputs:
            return tuple(inputs[owner].shape)
        if owner in shapes:
            return shapes[owner]
        with refusals():
            return self._with_rows(function.seed_shape(spec.name, self._asked(inputs)), inputs)

    def _of_the_graph(self, inputs: Arrays) -> Shapes:
        """The shapes of the outputs and layers that seeds with free sizes belong to; none where the graph fails."""
        owners = {
            function.owner(spec.name) or ""
            for function in self.functions[1:]
            for spec in function.inputs
            if spec.name not in inputs and None in spec.shape.as_list()[self._lead(function, spec.name) :]
        }
        names = [name for name in self.graph.names if name in owners]
        if not names:
            return {}
        try:
            with watched():
                found = self.graph(self._asked(inputs), names)
        except (tf.errors.OpError, OverLimit, LookupError, ValueError):
            return {}  # the live model says in its words why it does not take them, or takes them after all
        return {name: self._with_rows(array.shape, inputs) for name, array in found.items()}

    def _lead(self, function: Function, name: str) -> int:
        """The number of batch axes of an input."""
        return int(self.batched and name not in function.whole)

    @property
    def _whole(self) -> frozenset[str]:
        """The inputs without rows of what is batched, besides seeds."""
        return self.functions[0].whole

    def _asked(self, inputs: Arrays) -> Arrays:
        """Not every model runs for no rows."""
        if not self._has_no_rows(inputs):
            return inputs
        return {
            name: array
            if name in self._whole
            else np.full((1, *array.shape[1:]), "" if array.dtype == object else 0, array.dtype)
            for name, array in inputs.items()
        }

    def _with_rows(self, shape: tuple[int, ...], inputs: Arrays) -> tuple[int, ...]:
        return (0, *shape[1:]) if self._has_no_rows(inputs) else tuple(shape)

    def _has_no_rows(self, inputs: Arrays) -> bool:
        return self.batched and row_count(inputs, self._whole) == 0
