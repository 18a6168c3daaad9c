"""Requests and responses of the Open Inference Protocol (REST), with the extension for binary tensors.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.manifest import FunctionSpec, TensorSpec, shape_text
from pullback.serving.datatypes import DATATYPES, sizes
from pullback.texts import STRING, as_texts

HEADER_LENGTH = "inference-header-content-length"
BINARY = "application/octet-stream"
MAX_SIZE = 2**48


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that fits its function: arrays by name, the requested outputs, and which of them as bytes."""

    id: str | None
    feeds: dict[str, Array]
    outputs: tuple[str, ...]
    binary: frozenset[str]


def metadata(name: str, spec: FunctionSpec) -> dict[str, object]:
    """What ``GET v2/models/NAME`` answers."""

    def described(tensors: Sequence[TensorSpec]) -> list[dict[str, object]]:
        return [{"name": t.name, "datatype": DATATYPES[t.dtype], "shape": sizes(t.shape)} for t in tensors]

    return {
        "name": name,
        "versions": ["1"],
        "platform": "pullback_onnx",
        "inputs": described(spec.inputs),
        "outputs": described(spec.outputs),
    }


def parse(body: bytes, header_length: str | None, spec: FunctionSpec) -> Request:
    """The request in ``body``; raises ``InputError`` that says what does not fit."""
    head, rest = _split(body, header_length)
    try:
        message = json.loads(head, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request is not valid JSON ({error})") from error
    if not isinstance(message, dict):
        raise InputError(f"the request must be a JSON object, got {type(message).__name__}")
    feeds = _inputs(message, rest, spec)
    outputs, binary = _outputs(message, spec)
    found = message.get("id")
    if found is not None and not isinstance(found, str):
        raise InputError(f"'id' must be a string, got {type(found).__name__}")
    return Request(found, feeds, outputs, binary)


def respond(name: str, request: Request, results: Mapping[str, Array]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the response; raises ``InputError`` for numbers that JSON cannot hold."""
    described, tail = [], []
    for output in request.outputs:
        array = results[output]
        entry: dict[str, object] = {
            "name": output,
            "datatype": DATATYPES[str(array.dtype)],
            "shape": list(array.shape),
        }
        if output in request.binary:
            tail.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InputError(f"{output!r} holds NaN or an infinity, which JSON cannot; request it with binary_data")
            entry["data"] = array.ravel().tolist()
        described.append(entry)
    message: dict[str, object] = {"model_name": name, "model_version": "1", "outputs": described}
    if request.id is not None:
        message["id"] = request.id
    head = json.dumps(message, allow_nan=False).encode()
    if not tail:
        return head, {"content-type": "application/json"}
    return b"".join([head, *tail]), {"content-type": BINARY, HEADER_LENGTH: str(len(head))}


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > len(body):
        raise InputError(
            f"{HEADER_LENGTH}: {header_length[:40]!r} is not a length within the body of {len(body)} bytes"
        )
    return body[: int(header_length)], memoryview(body)[int(header_length) :]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; send the tensor as bytes")


def _inputs(message: Mapping[str, Any], rest: memoryview, spec: FunctionSpec) -> dict[str, Array]:
    given = message.get("inputs")
    if not isinstance(given, list):
        raise InputError("'inputs' must be a list of tensors")
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    feeds: dict[str, Array] = {}
    free: dict[str, int] = {}
    for item in given:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in tensors or name in feeds:
            held = ", ".join(map(str, spec.inputs))
            raise InputError(f"input {str(name)[:100]!r} is unknown or occurs twice; the model takes {held}")
        size = _binary_size(item, name)
        if size is None:
            feeds[name] = _array(item, tensors[name], free, None)
        else:
            if size > len(rest):
                raise InputError(f"{name}: binary_data_size is {size}, {len(rest)} bytes are left")
            feeds[name] = _array(item, tensors[name], free, rest[:size])
            rest = rest[size:]
    if missing := [name for name in tensors if name not in feeds]:
        raise InputError(f"input {missing[0]!r} is missing; the model takes {', '.join(map(str, spec.inputs))}")
    if len(rest):
        raise InputError(f"{len(rest)} bytes at the end of the body belong to no input")
    return feeds


def _binary_size(item: Mapping[str, Any], name: str) -> int | None:
    parameters = item.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else "of parameters"
    if size is not None and (type(size) is not int or size < 0):
        raise InputError(f"{name}: binary_data_size must be a number of bytes, got {str(size)[:40]!r}")
    return size


def _array(item: Mapping[str, Any], tensor: TensorSpec, free: dict[str, int], content: memoryview | None) -> Array:
    """One input, of the dtype and shape that the model takes; ``free`` collects the sizes of free axes."""
    datatype, name = DATATYPES[tensor.dtype], tensor.name
    if item.get("datatype") != datatype:
        raise InputError(f"{name}: the datatype must be {datatype}, got {str(item.get('datatype'))[:40]!r}")
    shape = item.get("shape")
    if not isinstance(shape, list) or any(type(size) is not int or not 0 <= size < MAX_SIZE for size in shape):
        raise InputError(f"{name}: 'shape' must be a list of sizes")
    fits = len(shape) == len(tensor.shape) and all(
        size == (dim if isinstance(dim, int) else free.setdefault(dim, size)) for size, dim in zip(shape, tensor.shape)
    )
    if not fits:
        known = ", ".join(f"{axis} = {size}" for axis, size in free.items())
        raise InputError(
            f"{name}: the shape {shape_text(shape) if shape else '()'} is not {shape_text(tensor.shape)}"
            + (f" with {known}" if known else "")
        )
    if tensor.dtype == STRING:
        return _texts(item.get("data"), content, name, math.prod(shape)).reshape(shape)
    dtype = np.dtype(tensor.dtype)
    if content is not None:
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise InputError(f"{name}: {len(content)} bytes for {tensor.dtype} of {math.prod(shape)} entries")
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return _numbers(item.get("data"), dtype, name, math.prod(shape)).reshape(shape)


def _texts(data: object, content: memoryview | None, name: str, size: int) -> Array:
    """Strings: a flat or nested list of them, or each one's length as four bytes, little-endian, and its UTF-8."""
    if content is None and not isinstance(data, list):
        raise InputError(f"{name}: 'data' must be a list of strings, or binary_data_size say how many bytes they have")
    try:
        found = as_texts(np.array(data, object) if content is None else _apart(content)).ravel()
    except RecursionError as error:
        raise InputError(f"{name}: 'data' is too deep") from error
    except ValueError as error:
        raise InputError(f"{name}: not an array of strings: {error}") from error
    if found.size != size:
        raise InputError(f"{name}: there are {found.size} strings, the shape says {size}")
    return found


def _apart(content: memoryview) -> list[bytes]:
    found, at = [], 0
    while at < len(content):
        start = at + 4
        at = start + int.from_bytes(content[at:start], "little")
        if start > len(content) or at > len(content):
            raise ValueError("the last string is cut off")
        found.append(bytes(content[start:at]))
    return found


def _numbers(data: object, dtype: np.dtype[Any], name: str, size: int) -> Array:
    """A flat or nested list as an array without loss of whole numbers; raises ``InputError``."""
    if not isinstance(data, list):
        raise InputError(f"{name}: 'data' must be a list of numbers, or binary_data_size say how many bytes they have")
    try:
        found = np.array(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: 'data' is ragged or too deep") from error
    if found.size != size:
        raise InputError(f"{name}: 'data' has {found.size} entries, the shape says {size}")
    allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    if found.size and found.dtype.kind not in allowed:
        raise InputError(f"{name}: 'data' must hold {dtype.name}, it holds {found.dtype.name}")
    with np.errstate(over="ignore"):
        array = found.ravel().astype(dtype)
    if dtype.kind in "iu" and found.size and not np.array_equal(array, found.ravel()):
        raise InputError(f"{name}: a number is out of the range of {dtype.name}")
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name}: a number is too large for {dtype.name}; send infinities as bytes")
    return array


def _outputs(message: Mapping[str, Any], spec: FunctionSpec) -> tuple[tuple[str, ...], frozenset[str]]:
    """The requested names, all defaults where none are, and which of them come as bytes."""
    parameters = message.get("parameters") or {}
    every = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    given = message.get("outputs")
    if given is None or given == []:
        return spec.default_outputs, frozenset(spec.default_outputs if every else ())
    known = {tensor.name for tensor in spec.outputs}
    names: list[str] = []
    binary: list[str] = []
    for item in given if isinstance(given, list) else [None]:
        item = item if isinstance(item, dict) else {}
        name = item.get("name")
        if not isinstance(name, str) or name not in known or name in names:
            held = ", ".join(tensor.name for tensor in spec.outputs)
            raise InputError(f"output {str(name)[:100]!r} is unknown or occurs twice; the model returns {held}")
        names.append(name)
        own = item.get("parameters") or {}
        if own.get("binary_data", every) is True if isinstance(own, dict) else every:
            binary.append(name)
    return tuple(names), frozenset(binary)
