"""Wide images in parts of their channels, each of which stays in the cache on its way from convolution to convolution.

ONNX Runtime computes one operator after the other, each on the whole of its operands. Between the convolutions of an
inverted residual block these are several MiB each, and a mask or a product moves them through the memory of all cores.
Channels do not mix there: what lies between a convolution that makes many channels and one that sums over them can be
computed for some channels at a time, with the rows of the first kernel and the columns of the second one. Sums over
parts may change the last place of a result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Array, Node, Value
from pullback_export.optimize.channels.regions import (
    Channels,
    is_dense,
    is_per_channel,
    operands_by_channel,
    regions,
)
from pullback_export.optimize.rewrite import only_reader, other_operand

_BLOCK = 16  # channels of the widest blocks there are
# Bytes: 32 channels of 112 x 112 numbers. Half of it is 3 to 7 % faster with one thread, and 8 to 13 % slower with two.
_PART = 1_650_000
_PASSES = 8  # a forward pass has fewer, and gains nothing


def in_parts(graph: Graph) -> None:
    """Computes wide values around convolutions with one kernel per channel part by part."""
    chosen = {value: group for group in regions(graph) if _is_worth_it(graph, group) for value in group.values}
    if chosen:
        _Parts(graph, chosen).replay()


def _is_worth_it(graph: Graph, group: Channels) -> bool:
    if group.count % _BLOCK or _size(group) == group.count:
        return False
    if not any(is_per_channel(node) and _taps(node) > 1 for node in group.nodes):
        return False
    return sum(map(_is_pass, group.nodes)) >= _PASSES and _can_be_parted(graph, group)


def _can_be_parted(graph: Graph, group: Channels) -> bool:
    """Whether all of it is made by its own nodes, and convolutions read what leaves it; one image may be joined."""
    made = {node.outputs[0] for node in group.nodes}
    outside = {value for _, value in graph.outputs}
    nodes = set(graph.nodes)
    joined = 0
    for value in group.values:
        readers = [reader for reader in value.uses() if reader not in group.nodes]
        if value not in made or value in outside or not all(reader in nodes for reader in readers):
            return False
        joined += any(not (isinstance(reader, Node) and is_dense(reader)) for reader in readers)
    return joined <= 1


def _is_pass(node: Node) -> bool:
    """Whether it goes through memory on its own: not a convolution, nor what ONNX Runtime joins with one."""
    if node.op_type in ("Conv", "Clip", "Relu", "Reshape"):
        return False
    return node.outputs[0].rank > 2 and not any(value is not None and value.const is not None for value in node.inputs)


def _taps(node: Node) -> int:
    kernel = node.inputs[1]
    return int(np.prod([size for size in kernel.dims[2:] if isinstance(size, int)])) if kernel is not None else 1


def _size(group: Channels) -> int:
    """Channels of a part: as many blocks as fit, of those that divide them evenly."""
    blocks = group.count // _BLOCK
    fitting = [size for size in range(1, blocks + 1) if blocks % size == 0]
    row = group.widest() // group.count
    return _BLOCK * max([size for size in fitting if size * _BLOCK * row <= _PART], default=1)


@dataclasses.dataclass
class _Normalised:
    """What follows a convolution and nothing else reads before ``result``: ``conv(x) * factor + offset``.

    ONNX Runtime joins both with the convolution, but not with a sum of convolutions.
    """

    result: Value
    factor: Array | None = None
    offset: Array | None = None


def _normalised(node: Node) -> _Normalised:
    found = _Normalised(node.outputs[0])
    if len(node.inputs) > 2:
        return found
    for op_type in ("Mul", "Add"):
        reader = only_reader(found.result)
        if reader is None or reader.op_type != op_type:
            continue
        constant = next(other.const for value, other in other_operand(reader) if value is found.result)
        if constant is None or constant.shape != (1, found.result.dims[1], 1, 1):
            return found
        found.result = reader.outputs[0]
        if op_type == "Mul":
            found.factor = constant
        else:
            found.offset = constant
    return found


class _Parts:
    """The nodes once more, with several in the place of some."""

    def __init__(self, graph: Graph, chosen: dict[Value, Channels]) -> None:
        self.graph = graph
        self.chosen = chosen
        self.parts: dict[Value, list[Value]] = {}

    def replay(self) -> None:
        for node in self.graph.take_nodes():
            if not node.live:
                continue
            self.graph.root.origin = node.origin
            result = node.outputs[0]
            if result in self.chosen:
                self.parts[result] = [self._part(node, bounds) for bounds in self._bounds(result)]
            elif is_dense(node) and node.inputs[0] in self.parts:
                normal = _normalised(node)
                self._replaced(normal.result, self._dense(node, None, normal))
            else:
                for value in node.inputs:
                    if value in self.parts:
                        self._replaced(value, self.graph.emit("Concat", self.parts[value], {"axis": 1}))
                self.graph.nodes.append(node)
            self.graph.root.origin = ""

    @staticmethod
    def _replaced(old: Value, new: Value) -> None:
        new.refine(old.shape)
        old.replace_uses(new)

    def _bounds(self, value: Value) -> list[tuple[int, int]]:
        group = self.chosen[value]
        size = _size(group)
        return [(start, start + size) for start in range(0, group.count, size)]

    def _part(self, node: Node, bounds: tuple[int, int]) -> Value:
        """The result of ``node`` for the channels from ``bounds[0]`` to ``bounds[1]``."""
        if is_dense(node):
            made = self._dense(node, bounds)
        else:
            channels = operands_by_channel(node) or []
            inputs = [self._operand(node, value, channels, bounds) for value in node.inputs]
            attributes = dict(node.attributes)
            if node.op_type == "Conv":
                attributes["group"] = bounds[1] - bounds[0]
            made = self.graph.emit(node.op_type, inputs, attributes)
        batch, _, *rest = node.outputs[0].dims
        made.refine((batch, bounds[1] - bounds[0], *rest))
        return made

    def _operand(
        self, node: Node, value: Value | None, channels: Sequence[Value], bounds: tuple[int, int]
    ) -> Value | None:
        start, end = bounds
        if value is None:
            return None
        if value in channels:
            return self.parts[value][start // (end - start)]
        if node.op_type == "Conv":
            return self._rows(value, bounds)
        if node.op_type == "Reshape" and value.const is not None:
            sizes = value.const.copy()
            sizes[1] = end - start
            return self.graph.constant(sizes)
        if value.const is not None and value.rank > 1 and value.const.size > 1 and node.op_type != "Pad":
            return self.graph.constant(value.const[:, start:end])
        return value

    def _dense(self, node: Node, bounds: tuple[int, int] | None, normal: _Normalised | None = None) -> Value:
        """A convolution of all channels: the channels of its result in ``bounds``, the sum over parts of its input."""
        x, kernel = node.inputs[:2]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        assert x is not None and kernel is not None
        if normal is not None and normal.factor is not None:
            column = self.graph.constant(normal.factor.reshape(-1, 1, 1, 1))
            kernel = self.graph.emit_unfolded("Mul", [kernel, column])
        if normal is not None and normal.offset is not None:
            bias = self.graph.constant(normal.offset.reshape(-1))
        if bounds is not None:
            kernel = self._rows(kernel, bounds)
            bias = self._rows(bias, bounds) if bias is not None else None
        if x not in self.parts:
            return self.graph.emit("Conv", [x, kernel, bias], node.attributes)
        total: Value | None = None
        for part, (start, end) in zip(self.parts[x], self._bounds(x), strict=True):
            columns = self._slice(kernel, start, end, 1)
            term = self.graph.emit("Conv", [part, columns, bias if total is None else None], node.attributes)
            total = term if total is None else self.graph.emit("Add", [total, term])
        assert total is not None
        return total

    def _rows(self, value: Value, bounds: tuple[int, int]) -> Value:
        return self._slice(value, *bounds, 0)

    def _slice(self, value: Value, start: int, end: int, axis: int) -> Value:
        """Of weights, when the session opens: the file would hold them twice."""
        if value.const is not None and value.rank == 1:
            return self.graph.constant(value.const[start:end])
        return self.graph.emit_unfolded("Slice", [value, *(self.graph.constant([at]) for at in (start, end, axis))])
