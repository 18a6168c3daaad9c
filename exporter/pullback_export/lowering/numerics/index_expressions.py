"""What ``x[begin:end:stride, i, ..., new_axis]`` means: the masks of ``StridedSlice``, resolved for a tensor.

(tensorflow/core/util/strided_slice_op.cc)
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.dims import Dim, never_negative
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.size_vectors import Element, elements, lift

# Ends that are left open: of a slice, and of one that runs backwards.
END, BEGIN = 2**63 - 1, -(2**63) + 1


@dataclasses.dataclass
class Range:
    """``begin:end:stride`` of one axis; an index that drops its axis is ``begin:begin+1`` with ``drops``."""

    begin: Element
    end: Element
    stride: Element = 1
    drops: bool = False

    @property
    def whole(self) -> bool:
        return self.begin == 0 and self.end == END and self.stride == 1


@dataclasses.dataclass
class Index:
    """A Python index expression: a range for each axis of the tensor, and where the result has new axes of size 1."""

    ranges: list[Range]
    new_axes: list[int]

    @property
    def dropped(self) -> list[int]:
        return [axis for axis, item in enumerate(self.ranges) if item.drops]


def index_of(op: OpContext, rank: int, begin: Value, end: Value, strides: Value) -> Index:
    """The five masks of ``StridedSlice`` resolved for a tensor of ``rank``."""
    masks = {name: int(op.attr(f"{name}_mask")) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    starts, ends, steps = elements(op, begin), elements(op, end), elements(op, strides)
    spec = len(starts)
    new = [bit for bit in range(spec) if masks["new_axis"] >> bit & 1 and not masks["ellipsis"] >> bit & 1]
    named = spec - len(new) - (1 if masks["ellipsis"] & (1 << spec) - 1 else 0)
    ranges: list[Range] = []
    new_axes: list[int] = []
    kept = 0
    for bit in range(spec):
        if masks["ellipsis"] >> bit & 1:
            ranges += [Range(0, END) for _ in range(rank - named)]
            kept += rank - named
        elif bit in new:
            new_axes.append(kept)
            kept += 1
        elif masks["shrink_axis"] >> bit & 1:
            ranges.append(_single(op, starts[bit]))
        else:
            step = steps[bit]
            ranges.append(
                Range(
                    _by_direction(op, step, 0, -1) if masks["begin"] >> bit & 1 else starts[bit],
                    _by_direction(op, step, END, BEGIN) if masks["end"] >> bit & 1 else ends[bit],
                    step,
                )
            )
            kept += 1
    ranges += [Range(0, END) for _ in range(rank - len(ranges))]
    return Index(ranges, new_axes)


def _by_direction(op: OpContext, step: Element, forward: int, backward: int) -> Element:
    """The open end of a range: another one where it goes backwards."""
    if isinstance(step, int):
        return backward if step < 0 else forward
    if isinstance(step, Dim) and never_negative(step):
        return forward
    end: Value = op.Where(lift(op, step) < 0, op.const([backward], np.int64), op.const([forward], np.int64))
    return end


def _single(op: OpContext, at: Element) -> Range:
    """The index ``at`` as a range of one element; after -1 comes the end."""
    if isinstance(at, Dim) and not never_negative(at):
        at = lift(op, at)
    if isinstance(at, Value):
        following = at + 1
        return Range(at, op.Where(following.equals(0), op.const([END], np.int64), following), 1, True)
    return Range(at, END if at == -1 else at + 1, 1, True)
