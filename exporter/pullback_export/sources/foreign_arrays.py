"""Functions that compute with JAX or torch, or with Keras on them: TensorFlow cannot trace them, and has to say why."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from pullback_export.errors import ExportError

_PACKAGES = {"jax": "JAX", "jaxlib": "JAX", "torch": "torch"}


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Names the cause where a traced function fails in another framework; :class:`ExportError` says what to do."""
    try:
        yield
    except ExportError:
        raise
    except Exception as problem:
        cause = _cause(problem)
        if cause is None:
            raise
        raise ExportError(f"the function cannot be traced: {cause}") from problem


def _cause(problem: Exception) -> str | None:
    """What the innermost frames say: Keras on another backend, or the framework itself; None for anything else."""
    packages = [_package(frame.filename) for frame in traceback.extract_tb(problem.__traceback__)]
    packages += [_package(frame.filename) for frame in _hidden(problem)]
    backend = _backend_of_keras()
    if backend not in (None, "tensorflow") and "keras" in packages:
        return (
            f"it calls Keras, which runs on {backend} here. Set KERAS_BACKEND=tensorflow before Keras is imported (a"
            " .keras file is the same on every backend), or export the Keras model itself, which a process with Keras"
            " on TensorFlow then does"
        )
    found = next((_PACKAGES[package] for package in packages if package in _PACKAGES), None)
    if found is None:
        return None
    return f"it computes with {found}, and only operations of TensorFlow can be traced: write it with tf or keras.ops"


def _hidden(problem: Exception) -> list[Any]:
    """The frames of what was raised first: Keras raises its errors again without its own frames."""
    first = problem.__cause__ or problem.__context__
    return list(traceback.extract_tb(first.__traceback__)) if first is not None else []


def _package(file: str) -> str:
    """Which of the packages that were imported a file belongs to; empty for any other."""
    for name in (*_PACKAGES, "keras"):
        place = getattr(sys.modules.get(name), "__file__", None)
        if place is not None and pathlib.Path(place).parent in pathlib.Path(file).parents:
            return name
    return ""


def _backend_of_keras() -> str | None:
    """The backend of Keras in this process; None where it was not imported, or could not start."""
    config = getattr(sys.modules.get("keras"), "config", None)
    return str(config.backend()) if config is not None else None
