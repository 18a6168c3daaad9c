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

    def prepare_chunks(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Run:
        """The same for chunks of a batch, of which several may be computed side by side."""

    def splits_from(self, function: FunctionSpec) -> int:
        """The smallest batch that is computed in chunks when the caller does not say how large they are; 0: none is."""

    def split(self, function: FunctionSpec, batch: int) -> tuple[int, int]:
        """Rows of a chunk, and how many chunks side by side, of a ``batch`` that is split."""

    def row_threads(self, function: FunctionSpec) -> int:
        """How many chunks to compute side by side where the caller says how large they are."""

    def reset(self) -> None:
        """Forget what belongs to the parent process; called in the child after a fork."""


__all__ = ["Array", "Backend", "Run", "np"]
