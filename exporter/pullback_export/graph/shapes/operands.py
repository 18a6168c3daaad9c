"""What the rules of shape inference read: the sizes of an operand, and the numbers of a constant one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback_export.graph.dims import Shape

if TYPE_CHECKING:
    from pullback_export.graph.graph import Graph, Value

Attributes = dict[str, Any]
Operands = Sequence["Value | None"]
# ``(graph, operands, attributes, number of outputs)`` to the shape of each output.
Rule = Callable[..., list[Shape]]


class CannotInfer(Exception):
    """The shape does not follow from what is known; the result gets fresh free sizes or an unknown rank."""


def constant(operands: Operands, index: int) -> np.ndarray[Any, Any] | None:
    """The numbers of an operand, None where it is left out; raises :class:`CannotInfer` where they are not known."""
    value = operands[index] if index < len(operands) else None
    if value is None:
        return None
    if value.const is None:
        raise CannotInfer
    return value.const


def dims_of(operands: Operands, index: int = 0) -> Shape:
    """The sizes of an operand that is there and whose rank is known."""
    value = operands[index]
    assert value is not None
    return value.dims


def unknown(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Of an operator whose results have sizes that only a call tells, or that no other rule asks for."""
    raise CannotInfer
