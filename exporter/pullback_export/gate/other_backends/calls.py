"""What the child process is asked to do: a call of ``export`` or ``compare`` with a model that it opens itself."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from pullback_export.errors import ExportError
from pullback_export.failures import one_line
from pullback_export.gate.other_backends.own_objects import OwnObjects


@dataclasses.dataclass(frozen=True)
class Settings:
    """Keras' global settings, which what it builds depends on."""

    floatx: str
    epsilon: float
    image_data_format: str
    dtype_policy: str

    @classmethod
    def now(cls) -> Settings | None:
        """Those of this process; None where Keras has not started."""
        keras = sys.modules.get("keras")
        if keras is None or not hasattr(keras, "config"):
            return None
        config = keras.config
        return cls(config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name)

    def apply(self) -> None:
        import keras

        keras.config.set_floatx(self.floatx)
        keras.config.set_epsilon(self.epsilon)
        keras.config.set_image_data_format(self.image_data_format)
        keras.config.set_dtype_policy(self.dtype_policy)


@dataclasses.dataclass(frozen=True)
class Handed:
    """A live model as a file that this process has just written, so that code in it (``Lambda``) may be run."""

    path: str
    backend: str

    def opened(self, objects: Mapping[str, Any], lost: Mapping[str, str]) -> Any:
        """The same model on this process' backend; raises :class:`ExportError` where Keras cannot build it."""
        import keras

        try:
            return keras.saving.load_model(self.path, dict(objects), compile=False, safe_mode=False)
        except Exception as problem:
            said = one_line(str(problem).split("Full object config")[0])
            missing = "".join(f"; {name}: {why}" for name, why in lost.items() if name.split(">")[-1] in str(problem))
            raise ExportError(
                f"the model runs on {self.backend}, and Keras cannot build it again on TensorFlow, where it is"
                f" exported: {type(problem).__name__}: {said}{missing}"
            ) from problem


@dataclasses.dataclass(frozen=True)
class Call:
    """``function``, ``module:name``, of ``model`` and ``arguments``; ``model`` is a path, or what was handed over."""

    function: str
    model: str | os.PathLike[str] | Handed
    arguments: Mapping[str, Any]
    objects: OwnObjects
    settings: Settings | None

    def run(self, **others: Any) -> Any:
        """What the function returns; ``others`` are arguments that cannot be handed over."""
        objects, lost = self.objects.restored()
        if objects or self.settings is not None:
            import keras

            known = keras.saving.get_custom_objects()
            known.update({name: item for name, item in objects.items() if name not in known})
        if self.settings is not None:
            self.settings.apply()
        model = self.model.opened(objects, lost) if isinstance(self.model, Handed) else self.model
        module, name = self.function.split(":")
        return getattr(importlib.import_module(module), name)(model, **self.arguments, **others)
