"""Runs a rewritten function with what passes through its ``StopGradient`` nodes held at the values of a base point.

Each node becomes a Python function that notes the values of the first run, and gives them again in those after it. In
loops there is one value for each iteration, which then follow each other.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.python.ops import script_ops

from pullback_export.gate.exact_reference.rewriting import Rewritten

Array = np.ndarray[Any, Any]
_FLOATS = (types_pb2.DT_DOUBLE, types_pb2.DT_FLOAT)
_LOOPS = frozenset({"While", "StatelessWhile"})


class Hold:
    """The values of one function's nodes; it is called at the base point first."""

    def __init__(self) -> None:
        self._sites: list[_Site] = []
        self._noted = False

    def applied(self, rewritten: Rewritten) -> Rewritten:
        """``rewritten`` with its nodes replaced; raises ``ValueError`` where values could not be told apart."""
        for definition in rewritten.definitions:
            for node in definition.node_def:
                if node.op == "StopGradient" and node.attr["T"].type in _FLOATS:
                    self._replace(node)
                elif node.op in _LOOPS:
                    node.attr["parallel_iterations"].i = 1
        if _called_twice(rewritten):
            raise ValueError("a function that holds values is called more than once")
        return rewritten

    def begin(self) -> None:
        """Before each run."""
        for site in self._sites:
            site.begin(self._noted)
        self._noted = True

    def _replace(self, node: Any) -> None:
        site = _Site()
        self._sites.append(site)  # which keeps it alive: TensorFlow's table of functions is weak
        dtype = node.attr["T"].type
        node.op = "PyFunc"
        node.attr.clear()
        node.attr["token"].s = script_ops._py_funcs.insert(site.passed).encode()
        node.attr["Tin"].list.type.append(dtype)
        node.attr["Tout"].list.type.append(dtype)


@dataclasses.dataclass(eq=False)
class _Site:
    """The values that one node passed, in their order."""

    values: list[Array] = dataclasses.field(default_factory=list)
    waiting: collections.deque[Array] | None = None

    def __post_init__(self) -> None:
        def passed(value: Array) -> Array:
            if self.waiting is None:
                self.values.append(np.array(value))
                return self.values[-1]
            return self.waiting.popleft()

        self.passed = passed

    def begin(self, noted: bool) -> None:
        self.waiting = collections.deque(self.values) if noted else None


def _called_twice(rewritten: Rewritten) -> bool:
    """Whether a function with a held node has two callers, which run in any order."""
    definitions = {item.signature.name: item for item in rewritten.definitions}
    callers: collections.Counter[str] = collections.Counter()
    for item in rewritten.definitions:
        for node in item.node_def:
            callers.update(name for name in _functions(node) if name in definitions)

    def holds(name: str) -> bool:
        nodes = definitions[name].node_def
        return any(node.op == "PyFunc" for node in nodes) or any(
            holds(inner) for node in nodes for inner in _functions(node) if inner in definitions
        )

    return any(count > 1 and holds(name) for name, count in callers.items())


def _functions(node: Any) -> list[str]:
    values: Mapping[str, Any] = node.attr
    return [
        function.name
        for value in values.values()
        for function in (*([value.func] if value.HasField("func") else ()), *value.list.func)
        if function.name
    ]
