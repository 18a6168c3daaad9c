"""How a document of the format is read: its version first, which decides what the rest may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pullback import schema
from pullback.manifest import checks

T = TypeVar("T")


def read(kind: type[T], text: str | bytes, where: str, check: Callable[[T, str], None]) -> T:
    """The ``kind`` in ``text``, checked.

    Raises:
        FormatVersionError: it was written in a version that this runtime does not read.
        BundleError: it breaks the format in any other way; the message names the place.
    """
    value = schema.read_json(text, where)
    checks.check_version(value, where)
    found = schema.decode(kind, value, where)
    check(found, where)
    return found
