"""Keeps TensorFlow's crash on strided 1x1 convolutions out of traces and references."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def safe_convolution() -> Iterator[None]:
    """Replaced by the convolution family."""
    yield
