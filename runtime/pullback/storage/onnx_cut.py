"""The part of an ONNX file that leads to some of its outputs.

ONNX Runtime has an option to run only that (``only_execute_path_to_fetches``), which builds for inference ignore:
https://github.com/microsoft/onnxruntime/issues/16013 . A smaller file needs no option. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto ; the file must have passed
:func:`pullback.storage.onnx_file.screen`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from pullback.storage import wire

# What stands before the name of another condition in the ``doc_string`` of an ``If`` whose branches give the same: one
# branch may be the faster one for all results, the other for some of them.
CONDITION_OF_SOME = "condition where some results are not wanted: "

# Fields of ModelProto, GraphProto, NodeProto and AttributeProto, and the names of a TensorProto and a ValueInfoProto.
_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT, _VALUE_INFO = 1, 5, 12, 13
_READS, _GIVES, _OP_TYPE, _ATTRIBUTE, _DOC = 1, 2, 4, 5, 6
_GRAPH_OF_ATTRIBUTE = 6
_SUBGRAPHS = (6, 11)
_TENSOR_NAME, _VALUE_NAME = 8, 1


@dataclasses.dataclass(frozen=True)
class _Node:
    """What a node reads, with the graphs inside of it, and what it gives."""

    reads: frozenset[str]
    gives: frozenset[str]
    is_if: bool


def cut(content: bytes, outputs: Collection[str], where: str) -> bytes:
    """A model with these outputs only, with all of its inputs; raises ``BundleError`` where the file is damaged."""
    parts = []
    for number, kind, value in wire.fields(memoryview(content), where):
        kept = _cut_graph(wire.message(value, where), set(outputs), where) if number == _GRAPH else value
        parts.append(wire.encoded(number, kind, kept))
    return b"".join(parts)


def _cut_graph(graph: memoryview, outputs: set[str], where: str) -> bytes:
    fields = list(wire.fields(graph, where))
    places = [place for place, (number, _, _) in enumerate(fields) if number == _NODE]
    needed, kept = set(outputs), set()
    for place in reversed(places):
        number, kind, value = fields[place]
        content = wire.message(value, where)
        node = _node(content, where)
        if node.gives & needed:
            if node.is_if and not node.gives <= needed:
                content = memoryview(_cut_if(content, needed, where))
                fields[place] = number, kind, content
                node = _node(content, where)
            needed |= node.reads
            kept.add(place)
    parts = []
    for place, (number, kind, value) in enumerate(fields):
        if number == _NODE:
            keep = place in kept
        elif number == _INITIALIZER:
            keep = _name(value, _TENSOR_NAME, where) in needed
        elif number == _OUTPUT:
            keep = _name(value, _VALUE_NAME, where) in outputs
        else:
            keep = number != _VALUE_INFO
        if keep:
            parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _node(node: memoryview, where: str) -> _Node:
    gives = {wire.text(value, where) for number, _, value in wire.fields(node, where) if number == _GIVES}
    is_if = any(number == _OP_TYPE and wire.text(value, where) == "If" for number, _, value in wire.fields(node, where))
    return _Node(frozenset(_reads(node, where)) - {""}, frozenset(gives) - {""}, is_if)


def _cut_if(node: memoryview, needed: Collection[str], where: str) -> bytes:
    """An ``If`` that gives only what is needed, with what leads to that in its branches."""
    fields = list(wire.fields(node, where))
    given = [wire.text(value, where) for number, _, value in fields if number == _GIVES]
    kept = [position for position, name in enumerate(given) if name in needed]
    notes = [wire.text(value, where) for number, _, value in fields if number == _DOC]
    condition = next((note[len(CONDITION_OF_SOME) :] for note in notes if note.startswith(CONDITION_OF_SOME)), None)
    parts = []
    for number, kind, value in fields:
        if number == _READS and condition is not None:
            parts.append(wire.encoded(number, kind, condition.encode()))
        elif number == _ATTRIBUTE:
            parts.append(wire.encoded(number, kind, _cut_branch(wire.message(value, where), kept, where)))
        elif number != _DOC and (number != _GIVES or wire.text(value, where) in needed):
            parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _cut_branch(attribute: memoryview, kept: Collection[int], where: str) -> bytes:
    """A branch, as an attribute of its ``If``, with the results at these positions only."""
    parts = []
    for number, kind, value in wire.fields(attribute, where):
        if number == _GRAPH_OF_ATTRIBUTE:
            graph = wire.message(value, where)
            outputs = [item for field, _, item in wire.fields(graph, where) if field == _OUTPUT]
            names = {_name(outputs[position], _VALUE_NAME, where) for position in kept if position < len(outputs)}
            parts.append(wire.encoded(number, kind, _cut_graph(graph, names, where)))
        else:
            parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _reads(node: memoryview, where: str) -> Iterator[str]:
    """Names that a node reads, or that the graphs inside of it might read from outside."""
    for number, _, value in wire.fields(node, where):
        if number == _READS:
            yield wire.text(value, where)
        elif number == _ATTRIBUTE:
            for inner, _, graph in wire.fields(wire.message(value, where), where):
                if inner in _SUBGRAPHS:
                    yield from _reads_of_graph(wire.message(graph, where), where)


def _reads_of_graph(graph: memoryview, where: str) -> Iterator[str]:
    for number, _, value in wire.fields(graph, where):
        if number == _NODE:
            yield from _reads(wire.message(value, where), where)
        elif number == _OUTPUT:
            yield _name(value, _VALUE_NAME, where)


def _name(value: int | memoryview, field: int, where: str) -> str:
    """The name of a tensor or of a value, which stands in that ``field``."""
    names = (item for number, _, item in wire.fields(wire.message(value, where), where) if number == field)
    return next((wire.text(item, where) for item in names), "")
