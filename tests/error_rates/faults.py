"""The planted faults: every mistake in every rule, in every rewrite, in the numerics and in the arithmetic of sizes.

A fault is planted in one place of the exporter, something that reaches it is exported, and the gate must refuse:
:class:`pullback.ParityError`. A fault that changed nothing, because the mistake fits no result there, is no fault.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from pullback_export.graph import dims, size_arithmetic
from pullback_export.graph.values import Value
from pullback_export.lowering import numerics, registry
from pullback_export.optimize import pipeline

from tests.error_rates.mutations import MUTATIONS, Mutation


@dataclasses.dataclass
class Planted:
    """What a fault did while it was in place: how many results it changed."""

    changed: int = 0


@dataclasses.dataclass(frozen=True)
class RuleFault:
    """A mistake in every result of the rule of ``op_type``; "swapped outputs" is one of the whole rule."""

    op_type: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.op_type}: {self.kind}"

    @property
    def family(self) -> str:
        return registry.RULES[self.op_type].__module__.split(".")[-2]

    @property
    def op_types(self) -> frozenset[str]:
        """Rows of these reach it."""
        return frozenset({self.op_type})

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, the rule is wrong."""
        found = Planted()
        rule = registry.load_rules()[self.op_type]

        def wrong(op: Any, *inputs: Any) -> Any:
            results = rule(op, *inputs)
            if self.kind == SWAPPED:
                return _swapped(results, found)
            return _mutated(op.graph, results, MUTATIONS[self.kind], found)

        with mock.patch.dict(registry.RULES, {self.op_type: wrong}):
            yield found


@dataclasses.dataclass(frozen=True)
class RewriteFault:
    """A mistake in what the rewrite ``row`` of the table ``table`` puts in the place of a result."""

    table: str
    row: str
    kind: str
    family: str = "rewrites"
    op_types: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"{self.table}, {self.row}: {self.kind}"

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, the rewrite is wrong."""
        found = Planted()
        busy = [False]  # what the mistake itself emits is rewritten too: rightly

        def wrong_one(apply: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(graph: Any, *arguments: Any) -> Any:
                value = apply(graph, *arguments)
                if value is None or busy[0]:
                    return value
                busy[0] = True
                try:
                    return _mutated(graph, value, MUTATIONS[self.kind], found)
                finally:
                    busy[0] = False

            return wrong

        rows = tuple(
            dataclasses.replace(row, apply=wrong_one(row.apply)) if row.name == self.row else row
            for row in getattr(pipeline, self.table)
        )
        with mock.patch.object(pipeline, self.table, rows):
            yield found


@dataclasses.dataclass(frozen=True)
class NumericsFault:
    """A mistake in the result of a function that rules share: a pad, a tap, a factorization, a series."""

    module: str
    function: str
    kind: str
    family: str = "numerics"

    @property
    def name(self) -> str:
        return f"{self.module.removeprefix(numerics.__name__ + '.')}.{self.function}: {self.kind}"

    @property
    def op_types(self) -> frozenset[str]:
        """Operators whose rules stand in a file that knows the function."""
        home = sys.modules[self.module]
        target = getattr(home, self.function)
        knowing = {
            name
            for name, module in list(sys.modules.items())
            if name.startswith("pullback_export.lowering.rules.")
            and any(item is target or item is home for item in vars(module).values())
        }
        return frozenset(op_type for op_type, rule in registry.RULES.items() if rule.__module__ in knowing)

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, the function is wrong wherever it is known by name."""
        found = Planted()
        right = getattr(sys.modules[self.module], self.function)

        def wrong(op: Any, *arguments: Any, **options: Any) -> Any:
            return _mutated(op.graph, right(op, *arguments, **options), MUTATIONS[self.kind], found)

        with contextlib.ExitStack() as stack:
            for module in _holding(self.function, right, "pullback_export.lowering."):
                stack.enter_context(mock.patch.object(module, self.function, wrong))
            yield found


@dataclasses.dataclass(frozen=True)
class SizeFault:
    """A mistake in the arithmetic of symbolic sizes."""

    function: str
    kind: str
    family: str = "sizes"
    op_types: frozenset[str] = frozenset(
        {
            "Conv2D",
            "MaxPool",
            "AvgPool",
            "StridedSlice",
            "Reshape",
            "FloorDiv",
            "Tile",
            "SpaceToBatchND",
            "Pad",
            "Split",
        }
    )

    @property
    def name(self) -> str:
        return f"{self.function}: {self.kind}"

    @contextlib.contextmanager
    def planted(self) -> Iterator[Planted]:
        """While this lasts, sizes are one too large, or one too small where that is still a size."""
        found = Planted()
        home = next((module for module in (dims, size_arithmetic) if hasattr(module, self.function)), None)
        right = getattr(dims.Dim if home is None else home, self.function)

        def wrong(*arguments: Any) -> Any:
            size = right(*arguments)
            if not isinstance(size, dims.Dim):
                return size
            found.changed += 1
            return size + 1 if self.kind == "one too large" else size - 1

        owners = [dims.Dim] if home is None else list(_holding(self.function, right, "pullback_export."))
        with contextlib.ExitStack() as stack:
            for owner in owners:
                stack.enter_context(mock.patch.object(owner, self.function, wrong))
            yield found


def _holding(name: str, function: Any, package: str) -> Iterator[Any]:
    """The modules of ``package`` that have imported ``function`` under its ``name``, its own among them."""
    for path, module in list(sys.modules.items()):
        if path.startswith(package) and vars(module).get(name) is function:
            yield module


SWAPPED = "swapped outputs"
SIZES = ("__floordiv__", "__mod__", "divide", "maximum", "minimum")


def all_faults() -> list[Any]:
    """Every fault, in an order that does not change."""
    rules = sorted(registry.load_rules())
    return [
        *(RuleFault(op_type, kind) for op_type in rules for kind in (*MUTATIONS, SWAPPED)),
        *(
            RewriteFault(table, row.name, kind)
            for table in ("LOCAL", "FINAL")
            for row in getattr(pipeline, table)
            for kind in MUTATIONS
        ),
        *(NumericsFault(module, function, kind) for module, function in _numerics() for kind in MUTATIONS),
        *(SizeFault(function, kind) for function in SIZES for kind in ("one too large", "one too small")),
    ]


def _numerics() -> list[tuple[str, str]]:
    """The public functions of ``lowering/numerics`` that take an operator's context and return values."""
    found = []
    for info in pkgutil.walk_packages(numerics.__path__, numerics.__name__ + "."):
        module = importlib.import_module(info.name)
        for name, function in sorted(vars(module).items()):
            if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != info.name:
                continue
            signature = inspect.signature(function)
            if next(iter(signature.parameters), "") == "op" and "Value" in str(signature.return_annotation):
                found.append((info.name, name))
    return found


def _swapped(results: Any, found: Planted) -> Any:
    if not isinstance(results, list | tuple) or len(results) < 2 or not _alike(*results[:2]):
        return results
    found.changed += 1
    return [results[1], results[0], *results[2:]]


def _alike(left: Any, right: Any) -> bool:
    if not isinstance(left, Value) or not isinstance(right, Value) or left is right:
        return False
    return left.dtype == right.dtype and left.dtype.kind == "f" and left.shape == right.shape


def _mutated(graph: Any, results: Any, mutation: Mutation, found: Planted) -> Any:
    """The results with every one changed that the mistake fits."""
    if isinstance(results, list | tuple):
        return type(results)(_mutated(graph, result, mutation, found) for result in results)
    if not isinstance(results, Value) or results.shape is None:
        return results
    wrong = mutation(graph, results)
    if wrong is None or wrong is results:
        return results
    found.changed += 1
    return wrong
