"""What computes a function: ONNX Runtime, or TensorFlow on a SavedModel; :mod:`pullback.backends.table` lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

# Feeds by input name in, arrays in the order that was prepared back.
Run = Callable[[dict[str, Array]], Sequence[Array]]

__all__ = ["Array", "Run"]
