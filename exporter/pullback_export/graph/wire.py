"""An ONNX model as the bytes of its files, piece by piece: no weight is copied to be written.

Where one file cannot hold the weights, or the caller wants it so, large ones are in a file beside the graph: ONNX
Runtime maps that into memory, without a copy, and processes share it.

Protobuf would hold all of them in a message, and once more in the message's bytes. The pieces are, joined, what
``SerializeToString(deterministic=True)`` gives of the whole message: fields in the order of their numbers, each
message after its length. See https://protobuf.dev/programming-guides/encoding/ and the numbers in ``onnx.proto3``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pullback.manifest import FileSpec
from pullback.storage.external import ALIGNMENT

from pullback_export.errors import ExportError

# Protobuf writes messages below 2 GiB; a hundredth is left for nodes and names.
LARGEST_FILE = 2**31 - 2**31 // 100

# Weights from so many bytes on are worth a place at a whole page of their own.
LEAST_BESIDE = 2**20

# A part of a file: bytes, or the memory of an array.
Piece = bytes | memoryview
Array = np.ndarray[Any, Any]
Weight = tuple[str, Array]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a weight is in another file: the file's name, and the first byte."""

    file: str
    start: int


NONE: Mapping[str, Place] = {}


@dataclasses.dataclass(frozen=True)
class Beside:
    """The file ``name`` with weights of a graph: its ``pieces``, and the ``places`` of the weights in it."""

    name: str
    pieces: Sequence[Piece]
    places: dict[str, Place]

    def described(self) -> FileSpec | None:
        """What the graph's metadata and the manifest say of it; None where there is none."""
        if not self.pieces:
            return None
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return FileSpec(self.name, digest.hexdigest(), sum(len(piece) for piece in self.pieces))


def beside(weights: Sequence[Weight], name: str, external: bool | None) -> Beside:
    """The file ``name`` of the large ones among ``weights``; empty where all are in the graph.

    Args:
        weights: all weights of a graph.
        name: of the file.
        external: whether large weights go there; None: where one file cannot hold all.

    Raises:
        ExportError: the graph's own file would be larger than protobuf can write.
    """
    total = sum(array.nbytes for _, array in weights)
    if external is None:
        external = total > LARGEST_FILE
    chosen = [
        (label, array)
        for label, array in weights
        if external and array.dtype != object and array.nbytes >= LEAST_BESIDE
    ]
    if (inside := total - sum(array.nbytes for _, array in chosen)) > LARGEST_FILE:
        kind = f"the weights of less than {LEAST_BESIDE:,} bytes each" if external else "the weights"
        remedy = "a part of the model (an inner layer as output)" if external else "with external_data=True or None"
        raise ExportError(
            f"{kind} take {inside:,} bytes, and one ONNX file holds at most {LARGEST_FILE:,}; export {remedy}, or"
            " weights of a shorter dtype"
        )
    pieces: list[Piece] = []
    places, end = {}, 0
    for label, array in chosen:
        pieces += [bytes(-end % ALIGNMENT), contents(array)]
        places[label] = Place(name, end + -end % ALIGNMENT)
        end = places[label].start + array.nbytes
    return Beside(name, pieces, places)


def pieces(model: onnx.ModelProto, weights: Sequence[Weight], beside: Mapping[str, Place] = NONE) -> list[Piece]:
    """The file of ``model`` with ``weights`` for the initializers of its graph, where it has none.

    Of those that are ``beside`` it, in another file, it holds the places.
    """
    initializers: list[Piece] = []
    for name, array in weights:
        tensor = [_elsewhere(name, array, beside[name])] if name in beside else _tensor(name, array)
        initializers += [_head(onnx.GraphProto, "initializer", _size(tensor)), *tensor]
    graph = _around(model.graph, "initializer", initializers)
    return _around(model, "graph", [_head(onnx.ModelProto, "graph", _size(graph)), *graph])


def contents(array: Array) -> memoryview:
    """The numbers of an array as ``raw_data`` has them: little-endian, in C order, without a copy where possible."""
    little = array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def _elsewhere(name: str, array: Array, place: Place) -> bytes:
    """A ``TensorProto`` without numbers; see https://github.com/onnx/onnx/blob/main/docs/ExternalData.md ."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = onnx.TensorProto(dims=array.shape, data_type=kind, name=name)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": place.file, "offset": str(place.start), "length": str(array.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    return bytes(tensor.SerializeToString(deterministic=True))


def _tensor(name: str, array: Array) -> list[Piece]:
    """A ``TensorProto`` as ``numpy_helper.from_array`` makes it."""
    if array.dtype == object:
        return [numpy_helper.from_array(array, name).SerializeToString(deterministic=True)]
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    start = onnx.TensorProto(dims=array.shape, data_type=kind, name=name).SerializeToString(deterministic=True)
    numbers = contents(array)
    return [start, _head(onnx.TensorProto, "raw_data", numbers.nbytes), numbers]


def _around(message: Any, field: str, content: Sequence[Piece]) -> list[Piece]:
    """``message`` with ``content`` for all of ``field``, which comes where its number says."""
    number = message.DESCRIPTOR.fields_by_name[field].number
    before, after = type(message)(), type(message)()
    for known, value in message.ListFields():
        if known.number == number:
            continue
        half = before if known.number < number else after
        if known.is_repeated:
            getattr(half, known.name).extend(value)
        else:
            setattr(half, known.name, value)
    ends = [half.SerializeToString(deterministic=True) for half in (before, after)]
    return [ends[0], *content, ends[1]]


def _head(message: Any, field: str, size: int) -> bytes:
    """What stands before ``size`` bytes of a field: its number with the wire type of lengths, and the length."""
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes((*found, number))


def _size(content: Sequence[Piece]) -> int:
    return sum(len(piece) for piece in content)
