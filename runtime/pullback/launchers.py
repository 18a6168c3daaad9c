"""The commands of the exporter: they say what to install where only the runtime is, and have Keras run on TensorFlow.

A ``.keras`` file is the same on every backend, and TensorFlow's is the one that is exported; it has to be chosen before
TensorFlow is imported, which imports Keras.
"""

from __future__ import annotations

import importlib
import os
import sys

from pullback.errors import MissingDependencyError


def export() -> int:
    """``pullback-export``; 2 where TensorFlow or ONNX is missing."""
    return _launch("pullback-export", "main")


def parity() -> int:
    """``pullback-parity``; 2 where TensorFlow or ONNX is missing."""
    return _launch("pullback-parity", "parity_main")


def _launch(command: str, name: str) -> int:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        module = importlib.import_module("pullback_export.cli")
    except MissingDependencyError as problem:
        print(f"{command}: {problem}", file=sys.stderr)
        return 2
    return int(getattr(module, name)())
