"""Strict JSON to frozen dataclasses and back: limits first, then every key, type and value.

Nothing is guessed and nothing is ignored: an unknown key, a missing key, a wrong type, a repeated key
and a NaN are each a ``BundleError`` that names the place (``manifest.json: functions[0].file.size``).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from typing import Any, TypeVar, Union

from pullback.errors import DamagedError

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 32

# Metadata of a field that was added to a released format: readers of before take what does not have it.
OMITTED_WHERE_NONE = {"omitted": True}

T = TypeVar("T")

_NO_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\[\]{}"]+|"', re.DOTALL)


def read_json(text: str | bytes, where: str) -> Any:
    """The value in ``text``; size, nesting, encoding, repeated keys and NaN are checked.

    Raises:
        BundleError: the text breaks a limit or is not JSON.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise DamagedError(f"{where}: {len(raw)} bytes of JSON, at most {MAX_BYTES} are read")
    if _depth(raw) > MAX_DEPTH:
        raise DamagedError(f"{where}: JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(
            f"{where}: not valid JSON ({error}); the file is damaged, or Pullback did not write it"
        ) from error


def _depth(raw: bytes) -> int:
    """Deepest nesting of brackets outside strings, found without recursion."""
    depth = deepest = 0
    for bracket in _NO_BRACKETS.sub(b"", raw):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed")


def write_json(value: object) -> str:
    """Deterministic, sorted and indented JSON, ending in a newline; NaN and infinity are refused."""
    return json.dumps(plain(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_compact_json(value: object) -> str:
    """The same on one line, for the metadata of an ONNX file."""
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False)


def plain(value: object) -> object:
    """Dataclasses and tuples as dicts and lists, all the way down; a field that follows from others is omitted."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init)
        return {f.name: plain(item) for f, item in fields if item is not None or not f.metadata.get("omitted")}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@functools.cache
def _fields(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Type of each field, and whether it is optional."""
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        f.name: (hints[f.name], f.default is not missing or f.default_factory is not missing)
        for f in dataclasses.fields(cls)
        if f.init  # the others follow from these
    }


def decode(cls: type[T], value: object, where: str) -> T:
    """``value``, as read from JSON, as an instance of the dataclass ``cls``; raises ``BundleError``."""
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    fields = _fields(typing.cast("Any", cls))
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise DamagedError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    missing = sorted(name for name, (_, optional) in fields.items() if not optional and name not in value)
    if missing:
        raise DamagedError(f"{where}: key {missing[0]!r} is missing")
    return cls(**{name: _decode(fields[name][0], item, f"{where}: {name}") for name, item in value.items()})


def _decode(kind: Any, value: object, where: str) -> Any:
    if kind is object:
        return value
    if dataclasses.is_dataclass(kind):
        return decode(typing.cast("type[Any]", kind), value, where)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {key: _decode(typing.get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(kind), value, where)
    return _decode_scalar(kind, value, where)


def _decode_tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _wrong(where, f"a list of {len(kinds)}", value)
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _decode_union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], value, where)
    for kind in rest:
        if type(value) is kind:
            return value
    raise _wrong(where, " or ".join(kind.__name__ for kind in rest), value)


def _decode_scalar(kind: Any, value: object, where: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**1000 else value
    if type(value) is not kind:  # exactly: True is not an int here
        raise _wrong(where, kind.__name__, value)
    return value


def _wrong(where: str, want: str, value: object) -> DamagedError:
    shown = repr(value)
    return DamagedError(f"{where} must be {want}, got {shown if len(shown) < 60 else shown[:57] + '...'}")
