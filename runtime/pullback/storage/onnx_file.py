"""What an ONNX file requires, found before ONNX Runtime parses it: nothing but plain graphs gets through.

Refused with ``BundleError``: operators outside ``ai.onnx`` and ``ai.onnx.ml``, weights outside of the file that the
metadata do not promise (see :mod:`pullback.storage.external`), functions and training graphs inside of it, graphs
nested too deeply, and a signature that is not the promised one.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto .
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pullback.errors import DamagedError
from pullback.manifest import FileSpec, FunctionSpec, TensorSpec, shape_text, weights_from_metadata_props
from pullback.storage import external, wire

MAX_DEPTH = 16
STEP_BY_STEP = frozenset({"Loop", "Scan", "LSTM", "GRU", "RNN"})
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")

# onnx.TensorProto.DataType
_DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"},
}

_ELSEWHERE = "{}: it keeps weights in another file, which its metadata do not promise; it is damaged, or forged"

# A dimension as the file has it: a size, or None for any kind of free one. A shape may be absent.
Signature = tuple[str, str, "tuple[int | None, ...] | None"]


@dataclasses.dataclass
class Screened:
    """Signature and metadata of a file that passed; ``beside``: the file with its large weights, where it has one."""

    inputs: list[Signature]
    outputs: list[Signature]
    metadata: dict[str, str]
    values: list[Signature] = dataclasses.field(default_factory=list)
    weights: list[tuple[str, tuple[int, ...]]] = dataclasses.field(default_factory=list)
    parts: list[external.Part] = dataclasses.field(default_factory=list)
    beside: FileSpec | None = None
    operators: set[str] = dataclasses.field(default_factory=set)

    @property
    def shares_weights(self) -> bool:
        """Whether a row alone uses a weight many times: its widest value has places as well as channels, and no
        operator goes from step to step, where few rows take as long as many."""
        places = max((len(shape or ()) for _, _, shape in self.values), default=0) > 2
        return places and self.operators.isdisjoint(STEP_BY_STEP)

    @property
    def row_bytes(self) -> int:
        """Bytes per row of the widest intermediate value; 0 where nothing tells.

        Read off the values' shapes where the file has them, else off matrices of a net that has nothing else.
        """
        stated = max((_row_bytes(dtype, shape) for _, dtype, shape in self.values), default=0)
        if stated or any(len(dims) > 2 for _, dims in self.weights):
            return stated
        return max((_row_bytes(dtype, (None, max(dims))) for dtype, dims in self.weights if len(dims) == 2), default=0)


def screen(content: bytes, where: str) -> Screened:
    """Look through a whole ONNX file; raises ``BundleError`` naming what is not allowed in it."""
    found = Screened([], [], {})
    graphs = 0
    for number, _, value in wire.fields(memoryview(content), where):
        if number == 7:
            graphs += 1
            _graph(wire.message(value, where), where, 0, found)
        elif number == 8:
            _opset_import(wire.message(value, where), where)
        elif number == 14:
            _metadata(wire.message(value, where), where, found.metadata)
        elif number in (20, 25):
            what = "training information" if number == 20 else "functions of its own"
            raise DamagedError(f"{where}: it holds {what}, which no bundle needs; Pullback did not write it")
    if graphs != 1:
        raise DamagedError(f"{where}: it holds {graphs} graphs instead of one; it is damaged or not an ONNX file")
    found.beside = weights_from_metadata_props(found.metadata, where)
    if found.beside is not None:
        external.check_path(found.beside, where)
        external.check(found.parts, found.beside, where)
    elif found.parts:
        raise DamagedError(_ELSEWHERE.format(where))
    return found


def check_signature(found: Screened, spec: FunctionSpec, where: str) -> None:
    """The file's inputs and outputs must be those of ``spec``; raises ``BundleError``."""
    for kind, theirs, ours in (("inputs", found.inputs, spec.inputs), ("outputs", found.outputs, spec.outputs)):
        if sorted(name for name, _, _ in theirs) != sorted(tensor.name for tensor in ours):
            raise DamagedError(
                f"{where}: its {kind} are {_names(name for name, _, _ in theirs)}, "
                f"its specification says {_names(tensor.name for tensor in ours)}"
            )
        by_name = {tensor.name: tensor for tensor in ours}
        for name, dtype, shape in theirs:
            if dtype != by_name[name].dtype or not _same_shape(shape, by_name[name]):
                shown = "any shape" if shape is None else shape_text(["?" if d is None else d for d in shape])
                raise DamagedError(f"{where}: {name!r} is {dtype} {shown}, its specification says {by_name[name]}")


def _same_shape(shape: tuple[int | None, ...] | None, tensor: TensorSpec) -> bool:
    return shape == tuple(dim if isinstance(dim, int) else None for dim in tensor.shape)


def _names(names: object) -> str:
    return ", ".join(sorted(names)) or "none"  # type: ignore[call-overload]


def _graph(graph: memoryview, where: str, depth: int, found: Screened) -> None:
    outermost = depth == 0
    if depth > MAX_DEPTH:
        raise DamagedError(f"{where}: graphs are nested deeper than {MAX_DEPTH} levels")
    for number, _, value in wire.fields(graph, where):
        if number == 1:
            _node(wire.message(value, where), where, depth, found)
        elif number == 5:
            _tensor(wire.message(value, where), where, found if outermost else None)
        elif number == 15:
            _sparse_tensor(wire.message(value, where), where)
        elif number in (11, 12) and outermost:
            signatures = found.inputs if number == 11 else found.outputs
            signatures.append(_signature(wire.message(value, where), where))
        elif number == 13 and outermost:
            found.values.append(_signature(wire.message(value, where), where))


def _node(node: memoryview, where: str, depth: int, found: Screened) -> None:
    domains, op = [""], "?"
    for number, _, value in wire.fields(node, where):
        if number == 4:
            op = wire.text(value, where)
        elif number == 7:
            domains.append(wire.text(value, where))
        elif number == 5:
            _attribute(wire.message(value, where), where, depth, found)
    found.operators.add(op)
    for domain in domains:
        if domain not in STANDARD_DOMAINS:
            raise DamagedError(
                f"{where}: operator {domain}::{op} is not a standard ONNX operator; bundles hold none of those"
            )


def _attribute(attribute: memoryview, where: str, depth: int, found: Screened) -> None:
    for number, _, value in wire.fields(attribute, where):
        if number in (5, 10):
            _tensor(wire.message(value, where), where)
        elif number in (6, 11):
            _graph(wire.message(value, where), where, depth + 1, found)
        elif number in (22, 23):
            _sparse_tensor(wire.message(value, where), where)
        elif number == 21:
            raise DamagedError(f"{where}: an attribute refers to an enclosing function, but there is none")


def _sparse_tensor(tensor: memoryview, where: str) -> None:
    for number, _, value in wire.fields(tensor, where):
        if number in (1, 2):
            _tensor(wire.message(value, where), where)


def _tensor(tensor: memoryview, where: str, found: Screened | None = None) -> None:
    dims: list[int] = []
    code, elsewhere = 0, False
    for number, _, value in wire.fields(tensor, where):
        if number == 1:
            dims += [wire.number(value, where)] if isinstance(value, int) else wire.varints(value, where)
        elif number == 2:
            code = wire.number(value, where)
        elsewhere = elsewhere or external.is_elsewhere(number, value, where)
    if elsewhere and found is None:
        raise DamagedError(_ELSEWHERE.format(where))
    if found is not None:
        found.weights.append((_DTYPES.get(code, ""), tuple(dims)))
        if elsewhere:
            found.parts.append(external.Part(_DTYPES.get(code, ""), tuple(dims), tensor))


def _opset_import(entry: memoryview, where: str) -> None:
    for number, _, value in wire.fields(entry, where):
        if number == 1 and wire.text(value, where) not in STANDARD_DOMAINS:
            domain = wire.text(value, where)
            raise DamagedError(f"{where}: it imports operators of {domain!r}; only standard ONNX operators are run")


def _metadata(entry: memoryview, where: str, metadata: dict[str, str]) -> None:
    pair = {1: "", 2: ""}
    for number, _, value in wire.fields(entry, where):
        if number in pair:
            pair[number] = wire.text(value, where)
    if pair[1] in metadata:
        raise DamagedError(f"{where}: metadata {pair[1]!r} occurs twice")
    metadata[pair[1]] = pair[2]


def _signature(value_info: memoryview, where: str) -> Signature:
    name, dtype = "", "no tensor"
    shape: tuple[int | None, ...] | None = None
    for number, _, value in wire.fields(value_info, where):
        if number == 1:
            name = wire.text(value, where)
        elif number == 2:
            for kind, _, tensor in wire.fields(wire.message(value, where), where):
                if kind == 1:
                    dtype, shape = _tensor_type(wire.message(tensor, where), where)
    return name, dtype, shape


def _tensor_type(tensor: memoryview, where: str) -> tuple[str, tuple[int | None, ...] | None]:
    dtype, shape = "unknown", None
    for number, _, value in wire.fields(tensor, where):
        if number == 1:
            code = wire.number(value, where)
            dtype = _DTYPES.get(code, f"data type {code}")
        elif number == 2:
            dims = wire.fields(wire.message(value, where), where)
            shape = tuple(_dim(wire.message(dim, where), where) for kind, _, dim in dims if kind == 1)
    return dtype, shape


def _dim(dim: memoryview, where: str) -> int | None:
    size = None
    for number, _, value in wire.fields(dim, where):
        if number in (1, 2):  # dim_value and dim_param are a oneof: the last one counts
            size = wire.number(value, where) if number == 1 else None
    return size


def _row_bytes(dtype: str, shape: tuple[int | None, ...] | None) -> int:
    """Bytes of one row of a value of which one axis alone is free; 0 for any other."""
    if not shape or shape.count(None) != 1 or dtype not in _DTYPES.values() or dtype == "string":
        return 0
    return math.prod(size for size in shape if size is not None) * np.dtype(dtype).itemsize
