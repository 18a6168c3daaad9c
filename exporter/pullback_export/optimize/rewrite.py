"""What a rewrite is: the two signatures, the row that describes one, and how rewrites look at the graph.

A *local* rewrite sees an operator before its node is made. A *final* rewrite sees a node of the finished graph, where
``value.uses()`` tells who reads a value. Both return a value that takes the place of the result, or None, and neither
changes what it is given: operands, attributes and nodes stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from pullback_export.graph.values import Attributes, Node, Operands, Region, Value

Local = Callable[[Region, str, Operands, Attributes], Value | None]
Final = Callable[[Region, Node], Value | None]
Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Row(Generic[Kind]):
    """A rewrite of the pipeline, why it is there, and the test that counts what it saves (``file::function``)."""

    name: str
    apply: Kind
    reason: str
    test: str


def made_by(value: Value | None, *op_types: str) -> Node | None:
    """The node that makes ``value``, where it is one of ``op_types``."""
    node = value.node if value is not None else None
    return node if node is not None and node.op_type in op_types else None


def only_reader(value: Value | None) -> Node | None:
    """The node that reads ``value``, where nothing else does and it does so once."""
    uses = value.uses() if value is not None else []
    return uses[0] if len(uses) == 1 and isinstance(uses[0], Node) else None


def other_operand(node: Node) -> Iterator[tuple[Value, Value]]:
    """Each operand of an operator with two, and the other one."""
    left, right = node.inputs
    if left is not None and right is not None:
        yield left, right
        yield right, left


def number_of(value: Value | None) -> float | None:
    """The number in a constant of one element."""
    constant = value.const if value is not None else None
    return float(constant.item()) if constant is not None and constant.size == 1 else None
