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

# Fields of ModelProto, GraphProto, NodeProto and AttributeProto, and the names of a TensorProto and a ValueInfoProto.
_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT, _VALUE_INFO = 1, 5, 12, 13
_READS, _GIVES, _ATTRIBUTE = 1, 2, 5
_SUBGRAPHS = (6, 11)
_TENSOR_NAME, _VALUE_NAME = 8, 1


@dataclasses.dataclass(frozen=True)
class _Node:
    """What a node reads, with the graphs inside of it, and what it gives."""

    reads: frozenset[str]
    gives: frozenset[str]


def cut(content: bytes, outputs: Collection[str], where: str) -> bytes:
    """A model with these outputs only, with all of its inputs; raises ``BundleError`` where the file is damaged."""
    parts = []
    for number, kind, value in wire.fields(memoryview(content), where):
        kept = _cut_graph(wire.message(value, where), set(outputs), where) if number == _GRAPH else value
        parts.append(wire.encoded(number, kind, kept))
    return b"".join(parts)


def _cut_graph(graph: memoryview, outputs: set[str], where: str) -> bytes:
    fields = list(wire.fields(graph, where))
    nodes = [_node(wire.message(value, where), where) for number, _, value in fields if number == _NODE]
    needed, kept = set(outputs), set()
    for index in range(len(nodes) - 1, -1, -1):
        if nodes[index].gives & needed:
            needed |= nodes[index].reads
            kept.add(index)
    parts, position = [], -1
    for number, kind, value in fields:
        if number == _NODE:
            position += 1
            keep = position in kept
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
    return _Node(frozenset(_reads(node, where)) - {""}, frozenset(gives) - {""})


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
