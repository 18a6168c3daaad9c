"""Which work of a loop's body stays in it, and which is done on whole series before or after it."""

from __future__ import annotations

import dataclasses
from collections import Counter

from pullback_export.graph.graph import Graph
from pullback_export.graph.operators import CHEAP, SHRINKING
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.loops.induction import inside
from pullback_export.lowering.loops.series import SeriesFinder


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A tensor that goes from one iteration to the next; ``final`` is what is left at the end."""

    argument: Value
    initial: Value
    following: Value
    final: Value
    loose: bool


def in_order(nodes: list[Node]) -> list[Node]:
    """The nodes in an order in which each comes after those it reads from."""
    among = {id(node) for node in nodes}
    order: list[Node] = []
    done: set[int] = set()
    waiting = nodes
    while waiting:
        later = []
        for node in waiting:
            made_by = [value.node for value in node.reads()]
            if all(other is None or id(other) not in among or id(other) in done for other in made_by):
                done.add(id(node))
                order.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise AssertionError("a loop depends on itself")
        waiting = later
    return order


def loose_or_outer(state: State, body: Graph, finder: SeriesFinder) -> bool:
    """Whether the values of a state before the iterations do not follow from those after them."""
    same = state.initial.shape == state.following.shape and state.initial.shape is not None
    return (
        state.loose
        or not same
        or not inside(state.following, body)
        or state.following in finder.series
        or state.following.node is None
    )


def cheap_chain(value: Value, finder: SeriesFinder) -> list[tuple[Node, Value]]:
    """The cheap ops between a value and the value of the same iteration that it is computed from, last one first."""
    chain: list[tuple[Node, Value]] = []
    while value.node is not None and value.node.op_type in CHEAP and inside(value, finder.body):
        fresh = {item for item in value.node.inputs if item is not None and finder.is_fresh(item)}
        if len(fresh) != 1 or not finder.could_lift(value.node, fresh):
            break
        (source,) = fresh
        if value.node.op_type == "Add" and source.node is not None and source.node.op_type == "MatMul":
            break  # one step of the loop computes both, see scan_steps
        chain.append((value.node, source))
        value = source
    return chain


def recomputable(candidates: list[Value], finder: SeriesFinder) -> tuple[list[Value], set[Node]]:
    """Which values to collect so that cheap work on them, done again after the loop, gives all the others.

    A collected value costs each iteration as much as an op. The gates of a cell are functions of one
    matrix product, and ``tanh(c)`` of the state ``c``: one series instead of four, or none.
    """
    chains = {value: cheap_chain(value, finder) for value in candidates}
    roots = {value: chain[-1][1] if chain else value for value, chain in chains.items()}
    count = Counter(roots.values())
    collected: dict[Value, None] = {}
    again: set[Node] = set()
    for value in candidates:
        root = roots[value]
        if root is value or not (count[root] > 1 or root in candidates):
            collected[value] = None
        else:
            collected[root] = None
            again.update(node for node, _ in chains[value])
    return list(collected), again


def sinkable(rest: list[Node], states: list[State], finder: SeriesFinder) -> set[Node]:
    """Nodes that only lead to series and read one value of the iteration: they can wait until after the loop."""
    users: dict[Value, list[Node]] = {}
    for node in rest:
        for value in node.reads():
            users.setdefault(value, []).append(node)
    kept = {state.following for state in states}
    late: set[Node] = set()
    for node in reversed(rest):
        if any(value in kept for value in node.outputs) or any(
            user not in late for value in node.outputs for user in users.get(value, [])
        ):
            continue
        fresh = {value for value in node.reads() if finder.is_fresh(value)}
        if len(fresh) == 1 and node.op_type not in SHRINKING and finder.could_lift(node, fresh):
            late.add(node)
    return late
