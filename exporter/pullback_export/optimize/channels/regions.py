"""Where channels stay apart: the values between convolutions of all channels, each computed channel by channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from pullback_export.graph.operators import ELEMENTWISE
from pullback_export.graph.values import Node, Region, Value

_POOLS = ("AveragePool", "MaxPool", "GlobalAveragePool")
_REDUCTIONS = ("ReduceMean", "ReduceSum")


@dataclasses.dataclass
class Channels:
    """Values with the same channels on axis 1 that are made of each other, or by a convolution of other channels."""

    values: list[Value]
    nodes: set[Node]

    @property
    def count(self) -> int:
        """Of channels."""
        count = self.values[0].dims[1]
        assert isinstance(count, int)
        return count

    def widest(self) -> int:
        """Bytes of the largest image of one row of the batch; bools count as the numbers that they are made to."""
        return max(
            int(np.prod([size for size in value.dims[1:] if isinstance(size, int)])) * 4 for value in self.values
        )


def regions(graph: Region) -> Iterator[Channels]:
    """All of them, of the graph itself."""
    groups: dict[Value, Channels] = {}
    for node in graph.nodes:
        joined = operands_by_channel(node)
        if joined is None or not node.live:
            continue
        group = Channels([node.outputs[0]], {node})
        for value in joined:
            other = groups.get(value)
            if other is None:
                group.values.append(value)
            elif other is not group:
                small, large = sorted((group, other), key=lambda item: len(item.values))
                large.values += small.values
                large.nodes |= small.nodes
                for moved in small.values:
                    groups[moved] = large
                group = large
        for value in group.values if len(joined) == 0 else (*joined, node.outputs[0]):
            groups[value] = group
    yield from {id(group): group for group in groups.values()}.values()


def operands_by_channel(node: Node) -> list[Value] | None:
    """The operands that have the channels of the result, where it is computed channel by channel; else None.

    None of them for a convolution of all channels, each of whose kernels makes one channel.
    """
    if len(node.outputs) != 1 or not _has_channels(node.outputs[0]):
        return None
    if is_dense(node):
        return []
    x = node.inputs[0] if node.inputs else None
    channels = node.outputs[0].dims[1]
    if node.op_type in ELEMENTWISE:
        return _elementwise(node)
    if x is None or not _has_channels(x) or x.dims[1] != channels:
        return None
    if node.op_type == "Conv":
        return [x] if is_per_channel(node) else None
    if node.op_type in ("Reshape", "Pad"):
        return [x] if _keeps_channels(node) else None
    if node.op_type in _POOLS:
        return [x] if node.outputs[0].rank == x.rank else None
    if node.op_type in _REDUCTIONS:
        axes = node.inputs[1] if len(node.inputs) == 2 else None
        return [x] if axes is not None and axes.const is not None and _are_spatial(axes, x) else None
    if node.op_type == "Concat" and node.attributes["axis"] % x.rank > 1:
        parts = [value for value in node.inputs if value is not None and _has_channels(value)]
        return parts if len(parts) == len(node.inputs) else None
    return None


def is_dense(node: Node) -> bool:
    """A convolution of all channels with a bias that is constant, if any."""
    if node.op_type != "Conv" or node.attributes.get("group", 1) != 1:
        return False
    kernel = node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    is_known = kernel is not None and kernel.rank == 4 and all(isinstance(size, int) for size in kernel.dims)
    return is_known and (bias is None or bias.const is not None)


def is_per_channel(node: Node) -> bool:
    """A convolution with one kernel for each channel."""
    if node.op_type != "Conv":
        return False
    kernel = node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if kernel is None or (bias is not None and bias.const is None):
        return False
    return bool(node.attributes.get("group", 1) == kernel.dims[0] == node.outputs[0].dims[1] and kernel.dims[1] == 1)


def _has_channels(value: Value) -> bool:
    """Float32 or bool, with known sizes behind the batch."""
    if value.shape is None or value.rank < 2 or value.const is not None or value.dtype not in (np.float32, np.bool_):
        return False
    return all(isinstance(size, int) for size in value.shape[1:])


def _elementwise(node: Node) -> list[Value] | None:
    result = node.outputs[0]
    found = []
    for value in node.inputs:
        if value is None or value.shape is None:
            continue
        if value.const is not None:
            if value.const.size != 1 and value.dims != (1, result.dims[1], *[1] * (result.rank - 2)):
                return None
        elif value.rank == result.rank and _has_channels(value) and value.dims[:2] == result.dims[:2]:
            found.append(value)
        else:
            return None
    return found if found and all(value is None or value.shape is not None for value in node.inputs) else None


def _keeps_channels(node: Node) -> bool:
    x, sizes = node.inputs[:2]
    if x is None or sizes is None or sizes.const is None or x.dims[:2] != node.outputs[0].dims[:2]:
        return False
    if node.op_type == "Reshape":
        return bool(sizes.const.size > 1 and sizes.const[0] in (0, -1) and sizes.const[1] == x.dims[1])
    return len(node.inputs) < 4 and not sizes.const.reshape(2, -1)[:, :2].any()


def _are_spatial(axes: Value, x: Value) -> bool:
    assert axes.const is not None
    return all(axis % x.rank > 1 for axis in axes.const.ravel().tolist())
