"""Models from paths: Keras files, SavedModel folders, and an answer for every other kind of file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pathlib
import zipfile
from typing import Any

import h5py  # comes with Keras
import tensorflow as tf

from pullback_export.errors import ExportError, MissingDependencyError


def load(path: pathlib.Path) -> Any:
    """The live model of a ``.keras`` or ``.h5`` file, or the loaded SavedModel of a folder (or of its own ``.pb``).

    Raises :class:`ExportError` for what is none of them, with what to do instead.
    """
    if not path.exists():
        raise ExportError(f"{path}: no such file or folder; give a .keras or .h5 file or a SavedModel folder")
    if path.name == "saved_model.pb":
        path = path.parent
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ExportError(
                f"{path}: not a SavedModel folder (it has no saved_model.pb); give the folder that has one"
            )
        return tf.saved_model.load(str(path))
    if path.suffix in _OTHER_FILES:
        raise ExportError(f"{path}: {_OTHER_FILES[path.suffix]}")
    return _keras_model(path)


def is_keras_file(path: pathlib.Path) -> bool:
    """Whether :func:`load` would have Keras read ``path``."""
    return path.is_file() and path.name != "saved_model.pb" and path.suffix not in _OTHER_FILES


_FROZEN = (
    "a .pb file alone is a frozen graph of TensorFlow 1, which does not say its inputs and outputs: make a function of"
    " it with tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def), []).prune(inputs, outputs)"
    " and export that with inputs=[tf.TensorSpec(...)]"
)
_CHECKPOINT = "a checkpoint holds weights without the model: build the model, restore the weights, export the model"
_OTHER_FILES = {
    ".pb": _FROZEN,
    ".pbtxt": _FROZEN,
    ".meta": "a graph of TensorFlow 1 without its weights: restore it in a session and write a SavedModel",
    ".index": _CHECKPOINT,
    ".ckpt": _CHECKPOINT,
    ".onnx": "an ONNX file has no gradients to export: give the Keras model or SavedModel that it was made of",
    ".tflite": "a TFLite file has no gradients to export: give the Keras model or SavedModel that it was made of",
}


def _keras() -> Any:
    """Keras; raises :class:`ExportError` where it cannot start on the backend that was chosen for it."""
    if importlib.util.find_spec("keras") is None:
        raise MissingDependencyError('reading a .keras file needs Keras: pip install "pullback[export]"')
    try:
        return importlib.import_module("keras")
    except (ImportError, ValueError) as problem:
        chosen = os.environ.get("KERAS_BACKEND", "of keras.json")
        raise ExportError(
            f"Keras cannot start on the backend {chosen} ({problem}): set KERAS_BACKEND=tensorflow before Keras is"
            " imported; a .keras file is the same on every backend"
        ) from problem


def _keras_model(path: pathlib.Path) -> Any:
    keras = _keras()
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as problem:
        if path.name.endswith((".weights.h5", ".weights.json")) or "No model config found" in str(problem):
            raise ExportError(
                f"{path}: a file of weights without the model: build the model, model.load_weights({path.name!r}), and"
                " export the model"
            ) from problem
        version = _written_by(path)
        if version.startswith("2."):
            return _keras_2_model(path, version, problem)
        said = str(problem).split("Full object config")[0].strip()
        remedy = " (on the command line: --import MODULE)" if "make sure they are all imported" in said else ""
        raise ExportError(f"{path}: Keras cannot read it: {said}{remedy}") from problem


def _written_by(path: pathlib.Path) -> str:
    """The version of Keras that wrote a file; empty where it does not say."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        with h5py.File(path) as file:
            return str(file.attrs.get("keras_version", ""))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return ""


def _keras_2_model(path: pathlib.Path, version: str, problem: Exception) -> Any:
    """The model of a file that Keras 3 cannot read (``problem``) and Keras 2 wrote."""
    try:
        keras_2 = importlib.import_module("tf_keras")
    except ImportError:
        raise MissingDependencyError(
            f"{path}: written by Keras 2 ({version}), and Keras 3 cannot read it: pip install"
            f' "tf_keras~={tf.__version__.rsplit(".", 1)[0]}.0", which can'
        ) from problem
    try:
        return keras_2.models.load_model(path, compile=False)
    except Exception as second:
        said = str(second).split("Full object config")[0].strip()
        raise ExportError(f"{path}: written by Keras 2 ({version}), and tf_keras cannot read it: {said}") from second
