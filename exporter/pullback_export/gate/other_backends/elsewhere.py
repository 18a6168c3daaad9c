"""Whether a model has to be exported in another process, as Keras of this one does not run on TensorFlow."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pullback
from pullback.manifest import Tolerance
from pullback.parity import Report

from pullback_export.errors import ExportError, ParityWarning
from pullback_export.failures import one_line
from pullback_export.gate.other_backends.calls import Call, Handed, Settings
from pullback_export.gate.other_backends.own_objects import OwnObjects, of_model, registered
from pullback_export.gate.other_backends.process import run
from pullback_export.sources.files import is_keras_file

P = ParamSpec("P")
R = TypeVar("R")


class Elsewhere:
    """A call of ``function`` whose ``model`` needs Keras on TensorFlow, in a process that has it."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self.function = f"{function.__module__}:{function.__qualname__}"
        self.model = arguments["model"]
        self.arguments = {name: value for name, value in arguments.items() if name != "model"}
        self.progress = self.arguments.pop("progress", None)
        self.warnings: list[str] = []

    @property
    def is_live(self) -> bool:
        """Whether there is a live model, which can be asked itself."""
        return not isinstance(self.model, str | os.PathLike)

    def say(self, line: str) -> None:
        if self.progress is not None:
            self.progress(line)

    def run(self, folder: pathlib.Path, **others: Any) -> Any:
        """What the function returns there (a report, else None), with ``others`` as arguments.

        ``folder`` takes what is handed over, and is empty again afterwards.
        """

        def progress(line: str) -> None:
            if line != f"wrote {others.get('path')}":  # which is not yet where it belongs
                self.say(line)

        settings = Settings.now()
        arguments = {name: _handed(name, value) for name, value in {**self.arguments, **others}.items()}
        if not self.is_live:
            objects = OwnObjects({}, {}) if settings is None else registered()
            call = Call(self.function, self.model, arguments, objects, settings)
            return run(call, folder, progress if self.progress is not None else None, self.warnings.append)
        objects = of_model(self.model)
        file = folder / "model.keras"
        _save(self.model, file)
        try:
            call = Call(self.function, Handed(str(file.resolve()), _backend()), arguments, objects, settings)
            return run(call, folder, progress if self.progress is not None else None, self.warnings.append)
        finally:
            file.unlink(missing_ok=True)

    def confirmed(self, bundle: pullback.Bundle, tolerance: Callable[[str], Tolerance], explain: bool = True) -> Report:
        """What the live model says of a ``bundle``, on its own backend.

        ``explain``: where the bundle is that of the model on TensorFlow, a difference has a cause that can be named.
        """
        from pullback_export.gate.other_backends.live_values import LiveModel, confirmed
        from pullback_export.gate.other_backends.rebuilt import explained

        self.say(f"comparing with the live model on {_backend()}")
        told = self.arguments
        known = {name: told[name] for name in ("inputs", "outputs", "training") if name in told}
        live = LiveModel(self.model, **known, scaling=told.get("scaling") or {})
        found = confirmed(live, bundle, told.get("samples"), tolerance)
        return explained(found, live, bundle, told.get("samples"), _save) if explain and not found.ok else found


def on_tensorflow(there: Callable[[Elsewhere], R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function of a ``model``, for which ``there`` answers where Keras of this process is on another backend."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            if not is_elsewhere(bound.arguments["model"]):
                return function(*args, **kwargs)
            call = Elsewhere(function, bound.arguments)
            try:
                return there(call)
            finally:
                for line in call.warnings:
                    warnings.warn(line, ParityWarning, stacklevel=3)

        return wrapped

    return decorate


def is_elsewhere(model: Any) -> bool:
    """Whether ``model`` is a Keras model, or the file of one, and Keras does not run on TensorFlow here."""
    if isinstance(model, str | pathlib.Path):
        return is_keras_file(pathlib.Path(model)) and _backend() != "tensorflow"
    layer = getattr(sys.modules.get("keras"), "Layer", None)
    return layer is not None and isinstance(model, layer) and _backend() != "tensorflow"


def _backend() -> str:
    """The backend of Keras in this process; empty where it cannot start on the one that was chosen for it."""
    try:
        return str(importlib.import_module("keras").config.backend())
    except (ImportError, ValueError):
        return "" if importlib.util.find_spec("keras") is not None else "tensorflow"


def _save(model: Any, file: pathlib.Path) -> None:
    import keras

    try:
        keras.saving.save_model(model, file)
    except OSError:
        raise
    except Exception as problem:
        raise ExportError(
            f"the model runs on {_backend()}, and is exported on TensorFlow by way of a .keras file, which Keras cannot"
            f" write: {type(problem).__name__}: {one_line(str(problem))}"
        ) from problem


def _handed(name: str, value: Any) -> Any:
    """``value`` without what belongs to a backend: tensors as arrays of NumPy, paths as they are from anywhere."""
    if isinstance(value, Mapping):
        return {key: _handed(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_handed(name, item) for item in value)
    if type(value).__module__.split(".")[0] in ("jax", "jaxlib", "torch"):
        import keras

        return np.asarray(keras.ops.convert_to_numpy(value))
    if name == "derivatives" and not isinstance(value, str) and isinstance(value, Iterable):
        return list(value)
    return value
