"""Every backend: one row each. A new one is one file that keeps to :class:`Backend`, and its row here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pullback.backends.onnx import OnnxBackend
from pullback.backends.saved_model import SavedModelBackend
from pullback.calls.rows import Choice
from pullback.manifest import FunctionSpec
from pullback.storage.opening import Opened


class Backend(Protocol):
    """Prepares runs; safe to use from several threads and, after ``reset``, in a forked child."""

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        """What computes ``outputs`` of ``function`` and nothing more, where the backend can."""

    def reset(self) -> None:
        """Forget what belongs to the parent process; called in the child after a fork."""


@dataclasses.dataclass(frozen=True)
class Row:
    """``open`` makes the backend of a checked bundle and of the options of ``load``.

    It raises ``NotExportedError`` where the bundle lacks what the backend runs. ``program`` says that this is the
    SavedModel: a folder that must then hold no file that the manifest does not list.
    """

    open: Callable[[Opened, Mapping[str, Any]], Backend]
    program: bool = False


BACKENDS: dict[str, Row] = {
    "onnx": Row(OnnxBackend.open),
    "saved_model": Row(SavedModelBackend.open, program=True),
}


def default(opened: Opened) -> str:
    """The backend where the caller names none: a SavedModel, which is a program, only where there is nothing else."""
    return "onnx" if opened.manifest is not None or opened.graphs else "saved_model"
