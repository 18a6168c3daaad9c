"""Variables that a model changes and reads again: an exported function has no state, so such a model is refused."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from pullback_export.errors import UnsupportedOpsError

_READS = ("ReadVariableOp", "ResourceGather")
_WRITES = ("Assign", "ResourceScatter", "ResourceApply")
# Attributes that hold a function, and how many inputs of the op come before its arguments.
_BODIES = {"f": 0, "then_branch": 1, "else_branch": 1, "cond": 0, "body": 0}


# Control flow of TensorFlow 1, in which a loop is a circle of operators.
_VERSION_1 = {"Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch"}


def graph_of(function: Any, caller: Any) -> Any:
    """The graph of a function that ``caller`` calls; one that was defined by ``Defun`` brings its definition only."""
    from tensorflow.python.framework import function_def_to_graph

    graph = getattr(function, "graph", None)
    if graph is None:
        with caller.as_default():
            graph = function_def_to_graph.function_def_to_graph(function.cached_definition)
    return graph


def check_control_flow(graph: Any, seen: frozenset[str] = frozenset()) -> None:
    """Raises :class:`UnsupportedOpsError` where outputs depend on control flow of TensorFlow 1, also in functions."""
    for op in ancestors(graph.outputs):
        kind = op.type.removeprefix("Ref")
        if kind in _VERSION_1:
            raise UnsupportedOpsError(
                {op.type: (op.name,)},
                {
                    op.type: "a loop or branch of TensorFlow 1: write the model again with TensorFlow 2, or call"
                    " tf.compat.v1.enable_control_flow_v2() before its graph is made"
                },
            )
        for attribute in set(_BODIES) & set(op.node_def.attr):
            name = op.node_def.attr[attribute].func.name
            function = graph._get_function(name) if name and name not in seen else None
            if function is not None:
                check_control_flow(graph_of(function, graph), seen | {name})


def check_stateless(graph: Any) -> None:
    """Raises :class:`UnsupportedOpsError` where outputs of the traced ``graph`` depend on a variable it writes to."""
    keys = [tensor.name for tensor in graph.inputs]
    written = {key: op for op, key in _touched(graph, graph.get_operations(), keys, _WRITES)}
    for _, key in _touched(graph, ancestors(graph.outputs), keys, _READS):
        if key in written:
            op = written[key]
            raise UnsupportedOpsError(
                {op.type: (op.name,)},
                {op.type: "it changes a variable that the outputs depend on: make the state an input and an output"},
            )


def written_variables(graph: Any) -> tuple[str, ...]:
    """The names of the variables that the traced ``graph`` writes to, whether or not outputs depend on them."""
    names = {tensor.name: tensor.name for tensor in graph.inputs}
    names |= {graph.capture(variable.handle).name: variable.name for variable in graph.variables}
    keys = [names[tensor.name] for tensor in graph.inputs]
    return tuple(dict.fromkeys(str(key) for _, key in _touched(graph, graph.get_operations(), keys, _WRITES)))


def _touched(
    graph: Any, ops: Iterable[Any], keys: Sequence[Hashable], kinds: tuple[str, ...]
) -> Iterator[tuple[Any, Hashable]]:
    """Ops of these kinds, in called functions too, with the key of the variable they act on."""
    held = {tensor.name: key for tensor, key in zip(graph.inputs, keys, strict=False)}
    for op in ops:
        given = [held.get(tensor.name) for tensor in op.inputs]
        if op.type.startswith(kinds) and given and given[0] is not None:
            yield op, given[0]
        for attribute in set(_BODIES) & set(op.node_def.attr):
            body = graph._get_function(op.get_attr(attribute).name) if op.node_def.attr[attribute].func.name else None
            if body is not None:
                inner = graph_of(body, graph)
                yield from _touched(inner, inner.get_operations(), given[_BODIES[attribute] :], kinds)


def ancestors(tensors: Iterable[Any]) -> list[Any]:
    """Every op that the tensors are computed from."""
    waiting = [tensor.op for tensor in tensors]
    found = {op.name: op for op in waiting}
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op.name not in found:
                found[tensor.op.name] = tensor.op
                waiting.append(tensor.op)
    return list(found.values())
