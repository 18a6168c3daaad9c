"""Hard swish between convolutions, ``x * clip(x + 3, 0, 6) / 6``, and its derivative, in fewer passes over memory.

The clipped line is ONNX's ``HardSigmoid``, which ONNX Runtime computes in its blocked layout of channels: one operator
instead of three. Where the line is not cut, ``x / 6`` is ``h - 1/2`` of its value ``h``: both terms of the derivative
then have the incoming one as a factor, ``dy (h + inside (h - 1/2))``. Next to the cuts ``x + 3`` has a few digits more
than ``x / 6 + 1/2``; those are lost in a sum of a convolution before, and only of such an ``x`` this is done.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.final.blocked_channels import is_blocked
from pullback_export.optimize.rewrite import made_by, number_of, other_operand


@dataclasses.dataclass(frozen=True)
class _Line:
    """``clip(x + shift, 0, top)``."""

    x: Value
    shift: float
    top: float

    def value(self, graph: Region) -> Value:
        """Over ``top``, so that it ends at 1."""
        return graph.emit("HardSigmoid", [self.x], {"alpha": 1.0 / self.top, "beta": self.shift / self.top})


def hard_swish(graph: Region, node: Node) -> Value | None:
    """The clipped line as ``HardSigmoid``, the mask of where it is not cut from its value, and the derivative."""
    if node.op_type == "Div":
        line = _line(node.inputs[0])
        return line.value(graph) if line is not None and number_of(node.inputs[1]) == line.top else None
    if node.op_type == "And":
        line = _inside(node)
        return _mask(graph, line.value(graph)) if line is not None else None
    if node.op_type == "Add" and node.outputs[0].dtype == np.float32:
        return next((found for one, other in other_operand(node) if (found := _derivative(graph, one, other))), None)
    return None


def _line(value: Value | None) -> _Line | None:
    """What ``value`` is of a float32 ``x`` in blocks."""
    clip = made_by(value, "Clip")
    if clip is None or len(clip.inputs) != 3 or number_of(clip.inputs[1]) != 0:
        return None
    top, shifted = number_of(clip.inputs[2]), made_by(clip.inputs[0], "Add")
    if shifted is None or top is None or not 0 < top < np.inf:
        return None
    for x, shift in other_operand(shifted):
        number = number_of(shift)
        if number is not None and x.dtype == np.float32 and is_blocked(x):
            return _Line(x, number, top)
    return None


def _inside(node: Node) -> _Line | None:
    """The line of which ``node`` says where it is above 0 and below its top."""
    for above, below in (node.inputs, node.inputs[::-1]):
        left, right = made_by(above, "Cast", "Greater"), made_by(below, "Less")
        if left is None or right is None or left.inputs[0] is not right.inputs[0]:
            continue
        line = _line(right.inputs[0])
        is_above = left.op_type == "Cast" or number_of(left.inputs[1]) == 0
        if line is not None and is_above and number_of(right.inputs[1]) == line.top:
            return line
    return None


def _mask(graph: Region, h: Value) -> Value:
    return graph.emit("And", [graph.emit("Cast", [h], {"to": np.dtype(bool)}), h < 1.0])


def _derivative(graph: Region, one: Value, other: Value) -> Value | None:
    """``dy * h + x * dy / top * inside`` as ``dy * (h + inside * (h - shift / top))``."""
    first, second = made_by(one, "Mul"), made_by(other, "Mul")
    if first is None or second is None:
        return None
    for dy, h in other_operand(first):
        line = made_by(h, "HardSigmoid")
        for scaled, inside in other_operand(second) if line is not None else ():
            assert line is not None
            quotient = made_by(scaled, "Div")
            product = made_by(quotient.inputs[0], "Mul") if quotient is not None else None
            if quotient is None or product is None or {*product.inputs} != {dy, line.inputs[0]}:
                continue
            top = number_of(quotient.inputs[1])
            if top is None or line.attributes["alpha"] != 1.0 / top or not _is_inside(inside, h):
                continue
            offset = h - float(line.attributes["beta"])
            return dy * (h + offset * inside)
    return None


def _is_inside(value: Value, h: Value) -> bool:
    """Whether ``value`` is 1 where ``h`` is between 0 and 1, and 0 elsewhere."""
    cast = made_by(value, "Cast")
    both = made_by(cast.inputs[0], "And") if cast is not None else None
    if both is None:
        return False
    above, below = made_by(both.inputs[0], "Cast"), made_by(both.inputs[1], "Less")
    return (
        above is not None
        and below is not None
        and above.inputs[0] is h
        and below.inputs[0] is h
        and number_of(below.inputs[1]) == 1
    )
