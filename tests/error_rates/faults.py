"""The planted faults: every mutation in every family of rules and in every rewrite, and mistakes of other kinds.

A fault is planted in one operator's rule (or one rewrite, one function of the exporter), a row of the tables that
reaches it is exported, and the gate must refuse: :class:`pullback.ParityError`. A fault that changed nothing, because
the mutation did not fit any result, is no fault; the next row is tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pullback_export.lowering import registry

from tests.error_rates.mutations import MUTATIONS, Mutation


@dataclasses.dataclass
class Planted:
    """What a fault did while it was in place: how many results it changed."""

    changed: int = 0


@dataclasses.dataclass(frozen=True)
class RuleFault:
    """The mutation ``kind`` of every result of the rule of ``op_type``."""

    op_type: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.op_type}: {self.kind}"

    @property
    def family(self) -> str:
        return registry.RULES[self.op_type].__module__.split(".")[-2]

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, the rule is wrong."""
        found = Planted()
        rule = registry.load_rules()[self.op_type]

        def wrong(op: Any, *inputs: Any) -> Any:
            return _mutated(op.graph, rule(op, *inputs), MUTATIONS[self.kind], found)

        with mock.patch.dict(registry.RULES, {self.op_type: wrong}):
            yield found


@dataclasses.dataclass(frozen=True)
class SwappedOutputs:
    """The first two results of the rule of ``op_type`` in the wrong order."""

    op_type: str
    kind: str = "swapped outputs"

    @property
    def name(self) -> str:
        return f"{self.op_type}: {self.kind}"

    @property
    def family(self) -> str:
        return registry.RULES[self.op_type].__module__.split(".")[-2]

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, the rule is wrong."""
        found = Planted()
        rule = registry.load_rules()[self.op_type]

        def wrong(op: Any, *inputs: Any) -> Any:
            results = rule(op, *inputs)
            if not isinstance(results, list | tuple) or len(results) < 2 or not _alike(*results[:2]):
                return results
            found.changed += 1
            return [results[1], results[0], *results[2:]]

        with mock.patch.dict(registry.RULES, {self.op_type: wrong}):
            yield found


def rule_faults() -> list[RuleFault | SwappedOutputs]:
    """Every mutation of every rule."""
    rules = sorted(registry.load_rules())
    faults = [RuleFault(op_type, kind) for op_type in rules for kind in MUTATIONS]
    return [*faults, *(SwappedOutputs(op_type) for op_type in rules)]


def all_faults() -> list[Any]:
    """Every fault, in an order that does not change."""
    return [*rule_faults()]


def _alike(left: Any, right: Any) -> bool:
    return (
        getattr(left, "dtype", None) == getattr(right, "dtype", 0)
        and left.shape == right.shape
        and left is not right
        and left.dtype.kind == "f"
    )


def _mutated(graph: Any, results: Any, mutation: Mutation, found: Planted) -> Any:
    """The results with every one changed that the mutation fits."""
    if isinstance(results, list | tuple):
        return type(results)(_mutated(graph, result, mutation, found) for result in results)
    if not hasattr(results, "dims") or results.shape is None:
        return results
    wrong = mutation(graph, results)
    if wrong is None or wrong is results:
        return results
    found.changed += 1
    return wrong
