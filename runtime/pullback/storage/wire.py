"""Just enough of the protobuf wire format to look into an ONNX file before anything else parses it, and to cut it.

https://protobuf.dev/programming-guides/encoding/ is the reference. Groups and malformed varints are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from pullback.errors import DamagedError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A field: its number, its wire type, and its value (an int for VARINT, else the raw bytes).
Field = tuple[int, int, "int | memoryview"]


def fields(message: memoryview, where: str) -> Iterator[Field]:
    """Every field of ``message`` in file order; raises ``BundleError`` where the bytes are not a message."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position, where)
        number, kind = key >> 3, key & 7
        value: int | memoryview
        if kind == VARINT:
            value, position = _varint(message, position, where)
        else:
            if kind == BYTES:
                size, position = _varint(message, position, where)
            elif kind in (FIXED64, FIXED32):
                size = 8 if kind == FIXED64 else 4
            else:
                raise DamagedError(f"{where}: not an ONNX file (wire type {kind}); it is damaged")
            value = message[position : position + size]
            position += size
            if position > end:
                raise DamagedError(f"{where}: it ends in the middle of a field; it is truncated or damaged")
        if number == 0:
            raise DamagedError(f"{where}: not an ONNX file (field number 0); it is damaged")
        yield number, kind, value


def encoded(number: int, kind: int, value: int | bytes | memoryview) -> bytes:
    """A field as bytes: the inverse of :func:`fields`."""
    key = _encoded_varint(number << 3 | kind)
    if isinstance(value, int):
        return key + _encoded_varint(value)
    return b"".join((key, _encoded_varint(len(value)) if kind == BYTES else b"", value))


def _encoded_varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _varint(message: memoryview, position: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise DamagedError(f"{where}: a number in it is cut off or too long; it is truncated or damaged")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7


def varints(packed: memoryview, where: str) -> list[int]:
    """The numbers of a packed field."""
    found, position = [], 0
    while position < len(packed):
        value, position = _varint(packed, position, where)
        found.append(number(value, where))
    return found


def text(value: int | memoryview, where: str) -> str:
    """A string field; raises ``BundleError`` when it is not UTF-8."""
    try:
        return bytes(message(value, where)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"{where}: a name in it is not UTF-8; it is damaged") from error


def message(value: int | memoryview, where: str) -> memoryview:
    """A length-delimited field; raises ``BundleError`` when it is a number."""
    if isinstance(value, int):
        raise DamagedError(f"{where}: found a number where bytes are expected; the file is damaged")
    return value


def number(value: int | memoryview, where: str) -> int:
    """A varint field as a signed 64-bit integer; raises ``BundleError`` when it is bytes."""
    if not isinstance(value, int):
        raise DamagedError(f"{where}: found bytes where a number is expected; the file is damaged")
    return value - 2**64 if value >= 2**63 else value
