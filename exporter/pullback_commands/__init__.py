"""The commands of the exporter: they say what to install where only the runtime is, and have Keras run on TensorFlow.

A ``.keras`` file is the same on every backend, and TensorFlow's is the one that is exported; it has to be chosen before
TensorFlow is imported, which imports Keras.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator

from pullback.errors import MissingDependencyError


def export() -> int:
    """``pullback-export``; 2 where TensorFlow or ONNX is missing."""
    return _launch("pullback-export", "main")


def parity() -> int:
    """``pullback-parity``; 2 where TensorFlow or ONNX is missing."""
    return _launch("pullback-parity", "parity_main")


@contextlib.contextmanager
def _kept_back() -> Iterator[None]:
    """What is written to standard error meanwhile appears only where it ends with an error.

    TensorFlow's C++ logs before its levels are set. ``--debug`` shows all.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        kept = -1
    if kept < 0 or "--debug" in sys.argv:
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            file.seek(0)
            os.write(2, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _launch(command: str, name: str) -> int:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _kept_back():
            module = importlib.import_module("pullback_export.cli")
    except MissingDependencyError as problem:
        print(f"{command}: {problem}", file=sys.stderr)
        return 2
    return int(getattr(module, name)())
