"""The operator of a recurrent layer beside the loop that it stands for, and the condition under which it is right."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.optimize.recurrent.activations import Activation, attributes_of
from pullback_export.optimize.recurrent.all_steps import AllSteps
from pullback_export.optimize.recurrent.bodies import copy_into, moved
from pullback_export.optimize.recurrent.cells import Cell, through
from pullback_export.optimize.recurrent.loop_view import LoopView
from pullback_export.optimize.recurrent.masks import Mask, mask_of
from pullback_export.optimize.recurrent.series import at_most, before, rows_of_sums, turned
from pullback_export.optimize.recurrent.weights import Operands
from pullback_export.optimize.rewrite import made_by, other_operand

# Inputs of this size on average, and states that sum to it, times weights below 1e6 do not overflow in float32.
_LARGEST_MEAN = 1e15

# Up to so many numbers in a state, and for so few rows at any size, the operator and the gates once more take less time
# than a loop that collects them; measured with 48 and 64 units.
_SMALL_STATE = 384
_FEW_ROWS = 4

# What a state that repeats a number is made of.
_FILLING = ("Expand", "Concat", "Gather", "Shape")

_FLOAT = np.dtype(np.float32)
_SIGMOID, _TANH = Activation("Sigmoid"), Activation("Tanh")
_DEFAULTS = {"LSTM": (_SIGMOID, _TANH, _TANH), "GRU": (_SIGMOID, _TANH), "RNN": (_TANH,)}


def beside_loop(graph: Graph, loop: LoopView, cell: Cell, operands: Operands, size: int) -> Node | None:
    """An ``If`` that gives what the loop gives, written to ``graph`` with its condition.

    None where the operator's hidden states do not suffice for what the loop collects.
    """
    some, none = Graph(graph), Graph(graph)
    mask = None if cell.mask is None else mask_of(loop.series[id(cell.mask)])
    with some.writing():
        hidden, results = _call(some, loop, cell, operands, mask)
        bounded = all(item.is_bounded for item in cell.activations)
        moderate = None if bounded else _stays_moderate(some, hidden)
    inside = some if moderate is None else Graph(some)
    with inside.writing():
        copies: dict[int, Value] = {}
        series = {key: _copied(value, operands.x, inside, copies) for key, value in loop.series.items()}
        steps = AllSteps(inside, loop.body, series)
        for row in _rows(inside, steps, loop, cell, hidden):
            if row is None:
                return None
            results.append(row)
    inside.outputs = [("result", value) for value in results]
    safe = _takes_operator(graph, loop, cell, operands, mask, size)
    few = at_most(graph, operands.x, max(_FEW_ROWS, _SMALL_STATE // size))
    condition = graph.emit("And", [safe, few]) if steps.computes else safe
    outputs = loop.holder.outputs
    _move_loop(none, loop, operands)
    if moderate is not None:
        _unless_it_overflows(some, moderate, inside, none)
    node = graph.place("If", [condition], {"then_branch": some, "else_branch": none}, outputs)
    node.condition_of_some = safe if steps.computes else None
    return node


def _takes_operator(
    graph: Graph, loop: LoopView, cell: Cell, operands: Operands, mask: Mask | None, size: int
) -> Value:
    """Whether the operator is right, and not slower than the loop."""
    taken = _safe(graph, loop, operands)
    largest = min(item.largest_state for item in cell.activations)
    if largest < np.inf:
        taken = graph.emit("And", [taken, at_most(graph, operands.x, max(_FEW_ROWS, int(largest) // size))])
    return taken if mask is None else graph.emit("And", [taken, mask.ends_rows(graph)])


def _safe(graph: Graph, loop: LoopView, operands: Operands) -> Value:
    """Whether there are rows and steps, and no sum of a gate can be anything but finite."""
    x = operands.x
    total = graph.emit("ReduceL1", [x], {"keepdims": 0})
    if not all(isinstance(size, int) and size > 0 for size in x.dims):  # of no numbers the mean is 0 / 0
        total = graph.emit("Div", [total, graph.emit("Cast", [graph.emit("Size", [x])], {"to": _FLOAT})])
    for value in loop.initial:
        if value.fill is None:
            total = graph.emit("Add", [total, graph.emit("ReduceL1", [value], {"keepdims": 0})])
    return graph.emit("Less", [total, graph.constant(_LARGEST_MEAN, _FLOAT)])


def _stays_moderate(graph: Graph, hidden: Value) -> Value:
    """Whether no sum of a gate was anything but finite, by the ``hidden`` states (T, B, H) that the operator gave.

    An unbounded activation lets them grow. The first state that is too large, or not a number, comes from states that
    were not, and the operator gives it as it is; what it gives after that does not matter.
    """
    total = graph.emit("ReduceL1", [hidden], {"keepdims": 0})
    return graph.emit("Less", [total, graph.constant(_LARGEST_MEAN, _FLOAT)])


def _unless_it_overflows(graph: Graph, moderate: Value, results: Graph, loop: Graph) -> None:
    """Ends ``graph`` with the ``results`` of the operator, or else with a copy of the ``loop``."""
    again = Graph(graph)
    copy_into(again, loop)
    outputs = [Value(graph, value.dtype, value.shape) for _, value in loop.outputs]
    graph.place("If", [moderate], {"then_branch": results, "else_branch": again}, outputs)
    graph.outputs = [("result", value) for value in outputs]


def _call(graph: Graph, loop: LoopView, cell: Cell, operands: Operands, mask: Mask | None) -> tuple[Value, list[Value]]:
    """The operator: the hidden states of all steps, and the last ones by state, without the axis of directions."""
    lengths = None if mask is None else mask.lengths(graph)
    late = mask is not None and mask.late
    x = turned(graph, operands.x) if late else operands.x
    inputs = [x, operands.weights, operands.recurrent, operands.bias, lengths]
    order = [cell.hidden] if cell.cell is None else [cell.hidden, cell.cell]
    axis = graph.constant([0], np.int64)
    for state in order:
        value = loop.initial[state]
        inputs.append(None if value.fill == 0 else graph.emit("Unsqueeze", [value, axis]))
    while inputs[-1] is None:
        inputs.pop()
    steps, dims = operands.x.dims[0], loop.initial[cell.hidden].dims
    raw = [Value(graph, _FLOAT, (steps, 1, *dims)), *(Value(graph, _FLOAT, (1, *dims)) for _ in order)]
    graph.place(cell.operator, inputs, _attributes(loop, cell, dims[-1], late), raw)
    finals = {state: graph.emit("Squeeze", [last, axis]) for state, last in zip(order, raw[1:], strict=True)}
    hidden = graph.emit("Squeeze", [raw[0], graph.constant([1], np.int64)])
    if mask is not None:  # where a row has ended, or not begun, the operator gives zeros
        held = loop.initial[cell.hidden] if late else finals[cell.hidden]
        hidden = turned(graph, hidden) if late else hidden
        hidden = graph.emit("Where", [mask.rows, hidden, graph.emit("Unsqueeze", [held, axis])])
    return hidden, [finals[state] for state in sorted(finals)]


def _rows(graph: Graph, steps: AllSteps, loop: LoopView, cell: Cell, hidden: Value) -> Iterator[Value | None]:
    """What the loop collects, from the ``hidden`` states of all steps; both are in the order of its inputs."""
    reverse = bool(loop.directions[0])
    steps.known[id(cell.hidden_after)] = hidden
    states, start = [value for _, value in loop.body.inputs], loop.initial[cell.hidden]
    steps.later[id(states[cell.hidden])] = lambda: before(graph, hidden, start, reverse)
    if cell.cell is not None and cell.cell_after is not None:
        first, after = loop.initial[cell.cell], cell.cell_after
        steps.later[id(after)] = lambda: _cells(graph, steps, cell, first, reverse)
        steps.later[id(states[cell.cell])] = lambda: _cells_before(graph, steps, after, first, reverse)
    _take_masked_results(graph, steps, loop, cell, hidden)
    collected = [value for _, value in loop.body.outputs[loop.states :]]
    outside = loop.holder.outputs[loop.states :]
    for value, result, direction in zip(collected, outside, loop.output_directions, strict=True):
        counts = direction == loop.directions[0] and _counts_only(loop, cell, through(value), result)
        rows = hidden if counts else steps.of(through(value))
        yield rows if rows is None or direction == loop.directions[0] else turned(graph, rows)


def _take_masked_results(graph: Graph, steps: AllSteps, loop: LoopView, cell: Cell, hidden: Value) -> None:
    """What takes a new state only where the mask counts takes it from the ``hidden`` ones, which are equal there.

    So do the results of a layer that gives zeros elsewhere (``zero_output_for_mask``); without this the new states, and
    with them a loop over the cells, would be computed for the value alone.
    """
    held = made_by(cell.hidden_after, "Where")
    if cell.mask is None or held is None:
        return

    def result(other: Value) -> Value | None:
        mask, elsewhere = steps.of(cell.mask) if cell.mask is not None else None, steps.of(other)
        return None if mask is None or elsewhere is None else graph.emit("Where", [mask, hidden, elsewhere])

    for node in loop.body.nodes:
        same = all(mine is theirs for mine, theirs in zip(node.inputs[:2], held.inputs[:2], strict=True))
        if node.op_type == "Where" and node is not held and same:
            assert node.inputs[2] is not None
            steps.later[id(node.outputs[0])] = functools.partial(result, node.inputs[2])


def _counts_only(loop: LoopView, cell: Cell, value: Value, result: Value) -> bool:
    """Whether ``value`` is the new state, and of the ``result`` outside only the steps that count are taken.

    There it is the hidden state; so a layer's zeros in all other steps (``zero_output_for_mask``) need no new states.
    """
    held = made_by(cell.hidden_after, "Where")
    if cell.mask is None or held is None or held.inputs[1] is not value:
        return False
    mask, readers = loop.series[id(cell.mask)], result.uses()
    taken = [reader for reader in readers if isinstance(reader, Node) and reader.op_type == "Where"]
    return len(taken) == len(readers) and all(
        node.inputs[0] is mask and node.inputs[1] is result and node.inputs[2] is not result for node in taken
    )


def _cells(graph: Graph, steps: AllSteps, cell: Cell, first: Value, reverse: bool) -> Value | None:
    kept = steps.of(cell.kept) if cell.kept is not None else None
    added = steps.of(cell.added) if cell.added is not None else None
    if kept is None or added is None:
        return None
    if cell.mask is not None:
        mask = steps.of(cell.mask)
        kept = graph.emit("Where", [mask, kept, graph.constant(1, kept.dtype)])
        added = graph.emit("Where", [mask, added, graph.constant(0, added.dtype)])
    return rows_of_sums(graph, kept, added, first, reverse, cell.activations[0].is_within_one)


def _cells_before(graph: Graph, steps: AllSteps, after: Value, first: Value, reverse: bool) -> Value | None:
    rows = steps.of(after)
    return None if rows is None else before(graph, rows, first, reverse)


def _attributes(loop: LoopView, cell: Cell, size: object, turned_around: bool) -> dict[str, object]:
    attributes: dict[str, object] = {"hidden_size": size}
    if cell.activations != _DEFAULTS[cell.operator]:
        attributes |= attributes_of(cell.activations)
    if loop.directions[0] or turned_around:
        attributes["direction"] = "reverse"
    if cell.operator == "GRU" and not cell.resets_before:
        attributes["linear_before_reset"] = 1
    return attributes


def _move_loop(graph: Graph, loop: LoopView, operands: Operands) -> None:
    """The loop as it was, in ``graph`` and with results of its own; its inputs are projected here."""
    scan, holder = loop.scan, loop.holder
    inside = graph if holder is scan else holder.attributes["then_branch"]
    copies: dict[int, Value] = {}
    initial = loop.initial  # zeros, of which the operator has its own
    kept, inside.nodes = inside.nodes, []
    rows = []
    for value in scan.inputs[loop.states :]:
        assert value is not None
        rows.append(_copied(value, operands.x, inside, copies))
    states = [_copied(value, None, inside, copies, _FILLING) if value.fill is not None else value for value in initial]
    scan.inputs = [*states, *rows]
    inside.nodes += kept
    moved(holder, graph)
    graph.nodes.append(holder)
    holder.outputs = [Value(graph, value.dtype, value.shape, holder) for value in holder.outputs]
    graph.outputs = [("result", value) for value in holder.outputs]


def _copied(
    value: Value,
    source: Value | None,
    graph: Graph,
    copies: dict[int, Value],
    kinds: tuple[str, ...] = ("Add", "MatMul", "Gemm", "Split", "Slice", "Identity"),
) -> Value:
    """``value`` computed once more in ``graph``, from ``source`` by operators of ``kinds``: only a branch needs it."""
    node = value.node
    if value is source or node is None or node.op_type not in kinds:
        return value
    if id(value) not in copies and source is not None and (joined := _with_bias(graph, node, source)) is not None:
        copies[id(value)] = joined
    if id(value) not in copies:
        inputs = [None if item is None else _copied(item, source, graph, copies, kinds) for item in node.inputs]
        outputs = [Value(graph, item.dtype, item.shape) for item in node.outputs]
        graph.place(node.op_type, inputs, node.attributes, outputs)
        for old, new in zip(node.outputs, outputs, strict=True):
            copies[id(old)] = new
    return copies[id(value)]


def _with_bias(graph: Graph, node: Node, source: Value) -> Value | None:
    """``source @ matrix + bias`` with the bias as one more row of the matrix: a pass less over a row for each step."""
    for product, bias in other_operand(node) if node.op_type == "Add" else ():
        made = made_by(product, "MatMul")
        matrix = made.inputs[1] if made is not None else None
        if made is None or made.inputs[0] is not source or matrix is None or matrix.const is None or bias.const is None:
            continue
        if source.rank != 3 or matrix.rank != 2 or bias.const.shape != matrix.const.shape[1:]:
            continue
        pads = graph.constant([0, 0, 0, 0, 0, 1], np.int64)
        ones = graph.emit("Pad", [source, pads, graph.constant(1, source.dtype)])
        whole = graph.emit_unfolded("Concat", [matrix, graph.constant(bias.const[None])], axis=0)
        return graph.emit("MatMul", [ones, whole])
    return None
