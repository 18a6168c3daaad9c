"""The tensors that a loop carries of a variable: their form, the axes whose sizes change, and how they are declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Stacked
from pullback_export.lowering.flows.forms import leaves, rebuild
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.one_element import settled
from pullback_export.lowering.loops.writing import LoopWriter

# By the place of a tensor of the variable: the axes whose sizes change between iterations, None for all of them.
Loose = Mapping[int, frozenset[int] | None]


def loosened(loose: Loose, before: Any, after: Any) -> Loose:
    """``loose`` with the axes in which the tensors ``before`` and ``after`` an iteration have other sizes."""
    found = dict(loose)
    for place, (old, new) in enumerate(zip(tensor_leaves(before), tensor_leaves(after), strict=True)):
        axes = loose.get(place, frozenset())
        if axes is None or old.shape is None:
            continue
        if new.shape is None or len(new.shape) != len(old.shape):
            found[place] = None
            continue
        different = {axis for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True)) if a != b}
        if different - axes:
            found[place] = axes | different
    return found


def body_inputs(body: Graph, loose: Loose, flow: Any) -> list[Value]:
    """Inputs of the body for the tensors of a flow that is carried."""
    tensors = []
    for place, leaf in enumerate(tensor_leaves(flow)):
        axes, shape = loose.get(place, frozenset()), leaf.shape
        if shape is None or axes is None:
            shape = None
        else:
            shape = tuple(body.fresh_size("varying") if axis in axes else size for axis, size in enumerate(shape))
        tensors.append(Value(body, leaf.dtype, shape))
    return tensors


def carried(writer: LoopWriter, loose: Loose, argument: Any, first: Any, result: Any) -> list[Value]:
    """Declares the tensors of a flow as states of the loop; returns them after the loop."""
    parts = zip(tensor_leaves(argument), tensor_leaves(first), tensor_leaves(result), strict=True)
    return [
        writer.add_state(mine, start, following, loose.get(place, frozenset()) != frozenset())
        for place, (mine, start, following) in enumerate(parts)
    ]


def has_unknown_elements(flow: Any) -> bool:
    """Whether a list was never written to and does not say what its elements look like."""
    if not isinstance(flow, TensorList) or flow.template is not None:
        return False
    return flow.dtype is None or flow.dims is None or None in flow.dims


def tensor_leaves(flow: Any) -> list[Value]:
    """What is carried of a flow: of a list, its tensors without its length."""
    if isinstance(flow, TensorList):
        return [value for column in flow.columns for value in column.leaves()]
    return leaves(flow)


def as_rows(op: OpContext, flow: Any, element: Any) -> Any:
    """A flow in the form in which iterations hand it on: lists as rows of tensors."""
    flow = settled(op, flow)
    if not isinstance(flow, TensorList):
        return flow
    if flow.template is None and element is not None:
        like = rebuild(element, [resolved_zeros(op, leaf) for leaf in leaves(element)])
        flow = flow.filled(op, like)
    return flow.dense(op)


def from_rows(op: OpContext, flow: Any, tensors: Sequence[Value]) -> Any:
    """A flow of the same form with the given tensors."""
    if not isinstance(flow, TensorList):
        return rebuild(flow, tensors)
    length = op.Squeeze(op.Shape(tensors[0], start=0, end=1), [0])
    return dataclasses.replace(flow, length=length, columns=tuple(Stacked(tensor) for tensor in tensors))


def resolved_zeros(op: OpContext, like: Value) -> Value:
    """Zeros in the shape of a tensor of the body, made outside of it."""
    try:
        return op.full(list(like.dims), np.zeros((), like.dtype), like.dtype)
    except KeyError:
        raise op.unsupported(
            "the shape of the list's elements depends on the iteration; pad them to one shape"
        ) from None
