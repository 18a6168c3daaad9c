"""Forgery: bundles that were tampered with by someone who knows the format and mends the checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pullback.storage import wire

GRAPH, OPSET, METADATA, TRAINING, FUNCTIONS = 7, 8, 14, 20, 25  # of a ModelProto
NODE, INITIALIZER, INPUT, OUTPUT, SPARSE = 1, 5, 11, 12, 15  # of a GraphProto


def varint(number: int) -> bytes:
    """``number`` as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes | str | list[bytes]) -> bytes:
    """One field; a list is a message of fields."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else b"".join(value) if isinstance(value, list) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(content: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message."""
    return [(n, v if isinstance(v, int) else bytes(v)) for n, _, v in wire.fields(memoryview(content), "")]


def message(items: list[tuple[int, int | bytes]]) -> bytes:
    """The inverse of ``fields``."""
    return b"".join(field(number, value) for number, value in items)


def edit(content: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """``content`` with every field ``number`` changed."""
    return message([(n, change(v) if n == number and isinstance(v, bytes) else v) for n, v in fields(content)])


def in_graph(extra: bytes) -> Callable[[bytes], bytes]:
    """Append fields to the graph of a model."""
    return lambda content: edit(content, GRAPH, lambda graph: graph + extra)


def node(op: str = "Relu", domain: str = "", attributes: list[bytes] | None = None) -> bytes:
    """A node without a reader."""
    parts = [field(1, "x"), field(2, f"unused_{op}"), field(4, op), *(field(5, a) for a in attributes or [])]
    return field(NODE, [*parts, *([field(7, domain)] if domain else [])])


def nested(depth: int) -> bytes:
    """A graph that holds a graph that holds a graph ..."""
    graph = b""
    for _ in range(depth):
        graph = node("If", attributes=[field(1, "then_branch") + field(6, graph)])
    return graph


def rename(kind: int, old: str, new: str) -> Callable[[bytes], bytes]:
    """Rename a graph input or output."""

    def value_info(content: bytes) -> bytes:
        return edit(content, 1, lambda name: new.encode() if name == old.encode() else name)

    return lambda content: edit(content, GRAPH, lambda graph: edit(graph, kind, value_info))


def retype(kind: int, change: Callable[[list[tuple[int, Any]]], list[tuple[int, Any]]]) -> Callable[[bytes], bytes]:
    """Change the fields of the TypeProto.Tensor of every graph input or output."""

    def value_info(content: bytes) -> bytes:
        return edit(content, 2, lambda kind_: edit(kind_, 1, lambda tensor: message(change(fields(tensor)))))

    return lambda content: edit(content, GRAPH, lambda graph: edit(graph, kind, value_info))


def sha256(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


def replace(folder: Path, path: str, content: bytes) -> None:
    """Write a file of the bundle and mend its entry in the manifest."""
    (folder / path).write_bytes(content)
    digest = sha256(content)

    def mend(value: Any) -> None:
        if isinstance(value, dict) and value.get("path") == path:
            value.update(sha256=digest, size=len(content))
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            mend(item)

    edit_manifest(folder, mend)


def edit_manifest(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change the manifest as data."""
    value = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(value)
    (folder / "manifest.json").write_text(json.dumps(value), encoding="utf-8")


def setting(path: str, value: Any) -> Callable[[Any], None]:
    """An edit: ``setting("functions/0/opset", 0)``; the value ``...`` deletes."""

    def change(manifest: Any) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in parents:
            manifest = manifest[part]
        if value is ...:
            del manifest[last]
        else:
            manifest[last] = value

    return change
