"""A graph of a bundle as an ONNX file of one sample, with the inputs, names and orders that CasADi expects.

CasADi opens ONNX files itself (``casadi.GraphBuilder``) and knows derivatives by their names
(casadi/core/onnx_function.cpp): ``jac_<out>_<in>`` of ``(numel(out), numel(in))``, seeds ``adj_<out>`` and results
``adj_<in>`` with the seed count as the free axis ``nadj``, likewise ``fwd_`` and ``nfwd``. Its vectors run through
matrices column by column; arrays of more than two axes are columns in C order. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto .
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pullback.backends import Array
from pullback.storage import wire
from pullback.storage.onnx_cut import cut

_GRAPH, _METADATA = 7, 14
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_READS, _GIVES, _ATTRIBUTE = 1, 2, 5
_SUBGRAPHS = (6, 11)
_INTS = 7  # AttributeProto.AttributeType
_CODES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9, "float64": 11, "uint8": 2, "int8": 3, "int16": 5}
_CODES |= {"uint16": 4, "float16": 10, "uint32": 12, "uint64": 13}

Shape = tuple[int, ...]


@dataclasses.dataclass
class Wrapping:
    """What is put around a graph: nodes before and after it, constants, and the new inputs and outputs.

    ``inner(name)`` is what an input or output of the graph is called inside.
    """

    before: list[bytes] = dataclasses.field(default_factory=list)
    after: list[bytes] = dataclasses.field(default_factory=list)
    constants: list[bytes] = dataclasses.field(default_factory=list)
    inputs: list[bytes] = dataclasses.field(default_factory=list)
    outputs: list[bytes] = dataclasses.field(default_factory=list)
    _count: itertools.count[int] = dataclasses.field(default_factory=itertools.count)

    def value(self, name: str, inner: str, dtype: str, shape: Shape, rows: int | str = 1, batched: bool = True) -> None:
        """An input of one sample, repeated for each of ``rows`` (a number, or the name of what holds it as ``[k]``)."""
        self.inputs.append(_value_info(name, dtype, shape))
        if not batched:
            self.before.append(_node("Identity", [name], [inner]))
            return
        if rows == 1:
            self.before.append(_node("Reshape", [name, self.numbers([1, *shape])], [inner]))
            return
        one, target = self._fresh(), self._fresh()
        self.before.append(_node("Reshape", [name, self.numbers([1, *shape])], [one]))
        if isinstance(rows, int):
            target = self.numbers([rows, *shape])
        else:
            self.before.append(_node("Concat", [rows, self.numbers(shape)], [target], axis=0))
        self.before.append(_node("Expand", [one, target], [inner]))

    def seeds(self, name: str, inner: str, dtype: str, shape: Shape, count: str) -> str:
        """Seeds of a vector, one a column: ``(n, count)``. Gives what holds their number, ``[count]``."""
        size = math.prod(shape)
        turned, sizes, rows = self._fresh(), self._fresh(), self._fresh()
        self.inputs.append(_value_info(name, dtype, (size, count)))
        self.before.append(_node("Transpose", [name], [turned], perm=[1, 0]))
        self.before.append(_node("Shape", [turned], [sizes]))
        self.before.append(_node("Slice", [sizes, self.numbers([0]), self.numbers([1])], [rows]))
        self.before.append(_node("Reshape", [turned, self.numbers([-1, *shape])], [inner]))
        return rows

    def constant(self, inner: str, array: Array) -> None:
        """An input of the graph that is fixed."""
        self.constants.append(_tensor(inner, array))

    def block(self, name: str, inner: str, dtype: str, groups: Sequence[Shape], rows: Sequence[int]) -> None:
        """A result of axes ``groups``, as the matrix whose rows are the groups ``rows`` and its columns the others.

        The first group of ``rows`` changes slowest. Groups of two axes are taken column by column.
        """
        starts = np.cumsum([0, *map(len, groups)])
        columns = [index for index in range(len(groups)) if index not in rows]
        perm: list[int] = []
        for index in (*rows, *columns):
            axes = list(range(starts[index], starts[index + 1]))
            perm += axes[::-1] if len(axes) == 2 else axes
        size = math.prod(math.prod(groups[index]) for index in rows)
        shape = (size, math.prod(math.prod(groups[index]) for index in columns))
        whole, turned = self._fresh(), self._fresh()
        axes = [size for group in groups for size in group]
        self.after.append(_node("Reshape", [inner, self.numbers(axes)], [whole]))
        self.after.append(
            _node("Transpose", [whole], [turned], perm=perm) if perm else _node("Identity", [whole], [turned])
        )
        self.after.append(_node("Reshape", [turned, self.numbers(shape)], [name]))
        self.outputs.append(_value_info(name, dtype, shape))

    def result(self, name: str, inner: str, dtype: str, shape: Shape, first: bool = False) -> None:
        """A value of one sample; with ``first`` that of the first of several equal rows."""
        taken = inner
        if first:
            taken = self._fresh()
            self.after.append(_node("Slice", [inner, self.numbers([0]), self.numbers([1]), self.numbers([0])], [taken]))
        self.after.append(_node("Reshape", [taken, self.numbers(shape)], [name]))
        self.outputs.append(_value_info(name, dtype, shape))

    def products(self, name: str, inner: str, dtype: str, shape: Shape, count: str) -> None:
        """Products of a vector, one a column: ``(n, count)``."""
        size, whole = math.prod(shape), self._fresh()
        self.after.append(_node("Reshape", [inner, self.numbers([-1, size])], [whole]))
        self.after.append(_node("Transpose", [whole], [name], perm=[1, 0]))
        self.outputs.append(_value_info(name, dtype, (size, count)))

    def numbers(self, values: Sequence[int]) -> str:
        """The name of a constant vector of int64."""
        name = self._fresh()
        self.constants.append(_tensor(name, np.array(values, np.int64)))
        return name

    def _fresh(self) -> str:
        return f"casadi/{next(self._count)}"


def inner(name: str) -> str:
    """What an input or output of a graph is called within the wrapping."""
    return f"model/{name}"


def wrapped(
    content: bytes,
    names: Sequence[str],
    results: Sequence[str],
    wrapping: Wrapping,
    where: str,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The part of a bundle's graph that leads to ``results``, wrapped; ``names`` are all its inputs and outputs."""
    renamed = {name: inner(name) for name in names}
    parts = []
    for number, kind, value in wire.fields(memoryview(cut(content, set(results), where)), where):
        if number == _GRAPH:
            parts.append(wire.encoded(number, kind, _graph(wire.message(value, where), renamed, wrapping, where)))
        elif number != _METADATA:  # it is no function of a bundle any more
            parts.append(wire.encoded(number, kind, value))
    for key, text in (metadata or {}).items():
        parts.append(wire.encoded(_METADATA, wire.BYTES, _text(1, key) + _text(2, text)))
    return b"".join(parts)


def _graph(graph: memoryview, renamed: Mapping[str, str], around: Wrapping, where: str) -> bytes:
    parts = [wire.encoded(_NODE, wire.BYTES, node) for node in around.before]
    for number, kind, value in wire.fields(graph, where):
        if number == _NODE:
            parts.append(wire.encoded(number, kind, _renamed_node(wire.message(value, where), renamed, where)))
        elif number not in (_INPUT, _OUTPUT, _VALUE_INFO):
            parts.append(wire.encoded(number, kind, value))
    parts += [wire.encoded(_NODE, wire.BYTES, node) for node in around.after]
    parts += [wire.encoded(_INITIALIZER, wire.BYTES, item) for item in around.constants]
    parts += [wire.encoded(_INPUT, wire.BYTES, item) for item in around.inputs]
    parts += [wire.encoded(_OUTPUT, wire.BYTES, item) for item in around.outputs]
    return b"".join(parts)


def _renamed_node(node: memoryview, renamed: Mapping[str, str], where: str) -> bytes:
    """ONNX names are unique through all nested graphs, so that a name means the same everywhere."""
    parts = []
    for number, kind, value in wire.fields(node, where):
        if number in (_READS, _GIVES):
            name = wire.text(value, where)
            value = memoryview(renamed.get(name, name).encode())
        elif number == _ATTRIBUTE:
            value = memoryview(_renamed_attribute(wire.message(value, where), renamed, where))
        parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _renamed_attribute(attribute: memoryview, renamed: Mapping[str, str], where: str) -> bytes:
    parts = []
    for number, kind, value in wire.fields(attribute, where):
        if number in _SUBGRAPHS:
            inside = []
            for field, wired, item in wire.fields(wire.message(value, where), where):
                if field == _NODE:
                    item = memoryview(_renamed_node(wire.message(item, where), renamed, where))
                elif field == _OUTPUT:
                    item = memoryview(_renamed_value(wire.message(item, where), renamed, where))
                inside.append(wire.encoded(field, wired, item))
            value = memoryview(b"".join(inside))
        parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _renamed_value(info: memoryview, renamed: Mapping[str, str], where: str) -> bytes:
    """The output of a nested graph may be a value from outside."""
    parts = []
    for number, kind, value in wire.fields(info, where):
        if number == 1:
            name = wire.text(value, where)
            value = memoryview(renamed.get(name, name).encode())
        parts.append(wire.encoded(number, kind, value))
    return b"".join(parts)


def _text(number: int, value: str) -> bytes:
    return wire.encoded(number, wire.BYTES, value.encode())


def _node(
    op: str, reads: Sequence[str], gives: Sequence[str], axis: int | None = None, perm: Sequence[int] = ()
) -> bytes:
    parts = [*(_text(_READS, name) for name in reads), *(_text(_GIVES, name) for name in gives), _text(4, op)]
    if perm:
        ints = b"".join(wire.encoded(8, wire.VARINT, int(item)) for item in perm)
        parts.append(
            wire.encoded(_ATTRIBUTE, wire.BYTES, _text(1, "perm") + ints + wire.encoded(20, wire.VARINT, _INTS))
        )
    if axis is not None:
        one = wire.encoded(3, wire.VARINT, axis) + wire.encoded(20, wire.VARINT, 2)
        parts.append(wire.encoded(_ATTRIBUTE, wire.BYTES, _text(1, "axis") + one))
    return b"".join(parts)


def _tensor(name: str, array: Array) -> bytes:
    dims = b"".join(wire.encoded(1, wire.VARINT, size) for size in array.shape)
    code = wire.encoded(2, wire.VARINT, _CODES[str(array.dtype)])
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return dims + code + _text(8, name) + wire.encoded(9, wire.BYTES, data)


def _value_info(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        wire.encoded(1, wire.BYTES, _text(2, size) if isinstance(size, str) else wire.encoded(1, wire.VARINT, size))
        for size in shape
    )
    tensor = wire.encoded(1, wire.VARINT, _CODES[dtype]) + wire.encoded(2, wire.BYTES, dims)
    return _text(1, name) + wire.encoded(2, wire.BYTES, wire.encoded(1, wire.BYTES, tensor))
