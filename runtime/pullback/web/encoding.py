"""Bytes and arrays as text that a script can hold."""

from __future__ import annotations

import base64
import gzip

import numpy as np

from pullback.golden import Array


def array_data(array: Array) -> dict[str, object]:
    """An array as its shape and its little-endian bytes in base64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def packed(content: bytes) -> str:
    """Gzip in base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")
