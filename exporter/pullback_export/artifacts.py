"""The files that were written, as functions from arrays to arrays: the SavedModel, and ONNX Runtime at every level."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf

from pullback_export.derivatives import Function
from pullback_export.errors import ExportError

Arrays = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Mapping[str, Any]], Arrays]
LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def artifacts(function: Function, folder: pathlib.Path, formats: Sequence[str]) -> dict[str, Callable[[], Run]]:
    """By stage, what opens the file; whoever drops the result frees its memory."""
    found: dict[str, Callable[[], Run]] = {}
    if "saved_model" in formats:
        found["SavedModel"] = functools.partial(_saved_model, folder / "saved_model", function)
    if "onnx" in formats:
        for label, level in LEVELS.items():
            path = folder / f"{function.name}.onnx"
            found[f"ONNX Runtime, optimisation {label}"] = functools.partial(onnx_session, path, level)
    return found


def _saved_model(folder: pathlib.Path, function: Function) -> Run:
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[function.name]

    def run(inputs: Mapping[str, Any]) -> Arrays:
        tensors = {spec.name: tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs}
        try:
            results = signature(**tensors)
        except tf.errors.OpError as problem:
            raise ExportError(f"the traced graph fails on a sample that the live model takes: {problem}") from problem
        return {name: results[name].numpy() for name in function.outputs}

    run.keep_alive = loaded  # type: ignore[attr-defined]  # the signature only holds its variables weakly
    return run


def onnx_session(path: pathlib.Path, level: Any) -> Run:
    """Runs the file at one graph optimisation level of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = [item.name for item in session.get_inputs()]
    names = [item.name for item in session.get_outputs()]

    def run(inputs: Mapping[str, Any]) -> Arrays:
        return dict(zip(names, session.run(None, {name: inputs[name] for name in taken}), strict=True))

    return run
