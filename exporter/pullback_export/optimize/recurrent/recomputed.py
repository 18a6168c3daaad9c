"""What a derivative computes once more from the rows that a loop collects, although each step has it already.

Backward loops read the gates of a step, and the lowering collects only what those are made of, which is right for few
rows. For many rows such operators are passes over memory that no cache holds: ``Split``, three ``Sigmoid`` and two
``Tanh`` of an LSTM, its cells moved by a step, and their product with a gate. Here the loop collects the results.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pullback_export.graph.operators import BROADCASTING, UNARY
from pullback_export.graph.values import Node, Value
from pullback_export.optimize.recurrent.cells import through
from pullback_export.optimize.recurrent.loop_view import LoopView
from pullback_export.optimize.rewrite import made_by

_COMMUTATIVE = ("Add", "Mul")
_LAST = 2**31 - 1


def recomputed(loop: LoopView) -> list[tuple[Value, Value]]:
    """Values outside of the loop, each after those that it is computed from, and what has them as rows in the body."""
    known = {id(rows): argument for (_, argument), rows in zip(loop.body.inputs[loop.states :], loop.rows, strict=True)}
    found: list[tuple[Value, Value]] = []
    for value, direction, (_, inside) in zip(
        loop.holder.outputs[loop.states :], loop.output_directions, loop.body.outputs[loop.states :], strict=True
    ):
        if direction == loop.directions[0]:
            known[id(value)] = through(inside)
            found.append((value, known[id(value)]))
    collected = len(found)
    for value, inside in found:  # which grows
        for reader in value.uses():
            for outside, row in _same(loop, reader, inside, known) if isinstance(reader, Node) else ():
                if id(outside) not in known:
                    known[id(outside)] = row
                    found.append((outside, row))
    return found[collected:]


def _same(loop: LoopView, reader: Node, inside: Value, known: dict[int, Value]) -> Iterator[tuple[Value, Value]]:
    """What ``reader`` gives, each with what it is in the body, where a node there computes it from ``inside``."""
    yield from _states_before(loop, reader, inside)
    for node in inside.uses():
        if isinstance(node, Node) and node.outputs[0].graph is loop.body and _equal(reader, node, known):
            yield from zip(reader.outputs, node.outputs, strict=True)
            return


def _equal(reader: Node, node: Node, known: dict[int, Value]) -> bool:
    """Whether ``reader`` computes for all steps what ``node`` does for one."""
    if reader.op_type != node.op_type or len(reader.outputs) != len(node.outputs):
        return False
    if node.op_type == "Split":
        axes = [item.attributes.get("axis", 0) for item in (reader, node)]
        return axes in ([2, 1], [-1, -1]) and _all_equal(reader.inputs, node, known)
    if node.op_type == "Slice" and len(node.inputs) > 3:
        return [_numbers(item.inputs[3]) for item in (reader, node)] == [[2], [1]] and _all_equal(
            (*reader.inputs[:3], node.inputs[3], *reader.inputs[4:]), node, known
        )
    if node.op_type not in BROADCASTING and node.op_type not in UNARY:
        return False
    if reader.attributes != node.attributes or any(len(value.shape or ()) != 2 for value in node.outputs):
        return False
    return _all_equal(reader.inputs, node, known)


def _all_equal(inputs: tuple[Value | None, ...], node: Node, known: dict[int, Value]) -> bool:
    """Whether ``inputs`` are the rows of the operands of ``node``."""
    orders = [inputs, inputs[::-1]] if node.op_type in _COMMUTATIVE else [inputs]
    return len(inputs) == len(node.inputs) and any(
        all(_is(one, other, known) for one, other in zip(order, node.inputs, strict=True)) for order in orders
    )


def _is(outside: Value | None, inside: Value | None, known: dict[int, Value]) -> bool:
    if outside is None or inside is None or outside is inside:
        return outside is inside
    if id(outside) in known:
        return known[id(outside)] is through(inside)
    one, other = outside.const, inside.const
    return one is not None and other is not None and one.dtype == other.dtype and np.array_equal(one, other)


def _states_before(loop: LoopView, reader: Node, rows: Value) -> Iterator[tuple[Value, Value]]:
    """A state before each step, ``concat(start, slice(rows))`` with the ``reader`` as slice; see ``series.before``."""
    states = [value for _, value in loop.body.inputs[: loop.states]]
    reverse = bool(loop.directions[0])
    for index, (_, following) in enumerate(loop.body.outputs[: loop.states]):
        if through(following) is not rows or not _drops_one(reader, reverse):
            continue
        for whole in reader.outputs[0].uses():
            if not isinstance(whole, Node) or whole.op_type != "Concat" or whole.attributes.get("axis") != 0:
                continue
            order = list(whole.inputs)[::-1] if reverse else list(whole.inputs)
            if len(order) == 2 and order[1] is reader.outputs[0] and _starts(order[0], loop.initial[index]):
                yield whole.outputs[0], states[index]


def _drops_one(reader: Node, first: bool) -> bool:
    """Whether it cuts off the first step, or the last one."""
    if reader.op_type != "Slice" or len(reader.inputs) != 4:
        return False
    start, end, axis = map(_numbers, reader.inputs[1:])
    if axis != [0] or start is None or end is None:
        return False
    return start == [1] and end[0] >= _LAST if first else (start, end) == ([0], [-1])


def _numbers(value: Value | None) -> list[int] | None:
    """A constant vector of integers."""
    return None if value is None or value.const is None else [int(item) for item in value.const.reshape(-1)]


def _starts(value: Value | None, initial: Value) -> bool:
    """Whether ``value`` (1, B, H) is ``initial`` (B, H)."""
    node = made_by(value, "Reshape", "Unsqueeze")
    if value is None or value.shape != (1, *initial.dims):
        return False
    return (node is not None and node.inputs[0] is initial) or (value.fill is not None and value.fill == initial.fill)


def collect(loop: LoopView) -> None:
    """Lets the loop collect what is read of the values that :func:`recomputed` finds."""
    following = [through(value) for _, value in loop.body.outputs[: loop.states]]
    for outside, inside in reversed(recomputed(loop)):
        if outside.is_read and inside.node is not None and not any(inside is value for value in following):
            outside.replace_uses(_collected(loop, outside, inside))


def _collected(loop: LoopView, like: Value, inside: Value) -> Value:
    scan = loop.scan
    directions = [*loop.output_directions, loop.directions[0]]
    loop.body.outputs = [*loop.body.outputs, ("row", inside)]
    row = Value(scan.outputs[0].graph, like.dtype, like.shape, scan)
    scan.outputs = [*scan.outputs, row]
    scan.attributes["scan_output_directions"] = directions
    return row
