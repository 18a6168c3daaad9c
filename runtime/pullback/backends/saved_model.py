"""TensorFlow on the SavedModel of a bundle, for machines that have TensorFlow; Keras is not needed.

A SavedModel is a program: loading and calling one can run code that its author chose, read files and
write files. Open only those you trust; nothing here is opened unless the caller requests it.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Mapping
from typing import Any

from pullback import onednn
from pullback.backends import Array
from pullback.calls.rows import Choice
from pullback.errors import BundleError, MissingDependencyError, NotExportedError, PullbackError
from pullback.manifest import FunctionSpec
from pullback.storage.opening import Opened
from pullback.storage.program import Program

_UNSAFE = (
    "TensorFlow runs with oneDNN on, which on this processor (AVX-512) gives wrong matrix products or crashes;"
    " set TF_ENABLE_ONEDNN_OPTS=0 before TensorFlow is imported, or load the bundle first"
)


class SavedModelBackend:
    """Signatures of a SavedModel; it is loaded at the first call."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._model: Any = None
        self._lock = threading.Lock()
        _tensorflow()

    @classmethod
    def open(cls, opened: Opened, options: Mapping[str, Any]) -> SavedModelBackend:
        """The backend of a checked bundle; raises ``NotExportedError`` where it holds no SavedModel."""
        if opened.saved_model is None:
            raise NotExportedError(f"{opened.path}: holds no SavedModel; load it with backend='onnx'")
        return cls(opened.saved_model)

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        """Runs the whole signature and hands out ``outputs``; TensorFlow splits its own work."""
        with self._lock:
            if self._model is None:
                self._model = _load(self._program)
        try:
            signature = self._model.signatures[function.name]
        except KeyError as error:
            raise NotExportedError(
                f"{self._program.path}: there is no signature {function.name!r}; export the bundle again"
            ) from error
        return Choice(functools.partial(_run, function.name, signature, outputs), shared=function.shared_inputs)

    def reset(self) -> None:
        """Load it again; TensorFlow itself does not survive a fork once it has run, so spawn workers instead."""
        self._model = None
        self._lock = threading.Lock()


def _load(program: Program) -> Any:
    try:
        return _tensorflow().saved_model.load(str(program.folder()))
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            f"{program.path}: TensorFlow cannot load this SavedModel: {_one_line(error)}; upgrade TensorFlow to the"
            " version that wrote it, or export the model again"
        ) from error


def _run(name: str, signature: Any, outputs: tuple[str, ...], feeds: dict[str, Array]) -> list[Array]:
    constant = _tensorflow().constant
    try:
        found = signature(**{key: constant(array) for key, array in feeds.items()})
        return [found[output].numpy() for output in outputs]
    except Exception as error:
        raise PullbackError(f"{name}: TensorFlow failed: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


@functools.cache
def _tensorflow() -> Any:
    if not onednn.make_safe():
        warnings.warn(_UNSAFE, onednn.UnsafeTensorFlowWarning, stacklevel=2)
    try:
        import tensorflow
    except ImportError as error:
        raise MissingDependencyError(
            'backend "saved_model" needs TensorFlow: pip install "pullback[savedmodel]"'
        ) from error
    return tensorflow
