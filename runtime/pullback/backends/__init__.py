"""What computes a function: ONNX Runtime, or TensorFlow on a SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pullback.manifest import FunctionSpec

Array = npt.NDArray[Any]

# Feeds by input name in, arrays in the order that was prepared back.
Run = Callable[[dict[str, Array]], Sequence[Array]]


class Backend(Protocol):
    """Prepares runs; safe to use from several threads and, after ``reset``, in a forked child."""

    name: str

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Run:
        """What computes ``outputs`` of ``function`` and nothing more, where the backend can."""

    def chunk_rows(self, function: FunctionSpec) -> int:
        """Rows of a batch to compute at a time so that intermediate values stay in the cache; 0 for all."""

    def row_threads(self, function: FunctionSpec) -> int:
        """Chunks of a batch to compute side by side; 1 where a run has threads of its own."""

    def reset(self) -> None:
        """Forget what belongs to the parent process; called in the child after a fork."""


__all__ = ["Array", "Backend", "Run", "np"]
