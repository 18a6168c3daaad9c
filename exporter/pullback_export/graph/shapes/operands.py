"""What the rules of shape inference read: the sizes of an operand, and the numbers of a constant one."""

from __future__ import annotations

from collections.abc import Callable

from pullback_export.graph.dims import Dim, Shape
from pullback_export.graph.values import Array, Attributes, Operands

Fresh = Callable[[str], Dim]  # a free size that nothing is known about, with a hint for its name
# ``(fresh, operands, attributes, number of outputs)`` to the shape of each output.
Rule = Callable[..., list[Shape]]


class CannotInfer(Exception):
    """The shape does not follow from what is known; the result gets fresh free sizes or an unknown rank."""


def constant(operands: Operands, index: int) -> Array | None:
    """The numbers of an operand, None where it is omitted; raises :class:`CannotInfer` where they are not known."""
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


def unknown(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Of an operator whose results have sizes that only a call tells, or that no other rule needs."""
    raise CannotInfer
