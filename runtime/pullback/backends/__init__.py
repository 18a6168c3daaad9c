"""What computes a function: ONNX Runtime, or TensorFlow on a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Runner(Protocol):
    """One function, ready to run: feeds by input name in, arrays in the order of ``outputs`` back."""

    def __call__(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]: ...


class Backend(Protocol):
    """Makes runners; safe to use from several threads and, after ``reset``, in a forked child."""

    name: str

    def runner(self, function: str) -> Runner:
        """The runner of ``function``, made at the first call."""

    def reset(self) -> None:
        """Forget every runner without touching its threads; called in the child after a fork."""


__all__ = ["Array", "Backend", "Runner", "np"]
