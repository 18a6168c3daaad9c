"""The classes and functions of its own that a Keras model needs, as references that another process can follow."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pullback_export.errors import ExportError

_SCOPE = "custom_objects_scope_dict"  # what keras.saving.custom_object_scope sets


@dataclasses.dataclass(frozen=True)
class OwnObjects:
    """A pickled reference to each, by the name that Keras knows it by; ``lost`` says which have none, and why."""

    references: Mapping[str, bytes]
    lost: Mapping[str, str]

    def restored(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The objects, whose modules are imported; and what is lost, with the failure of what could not be imported."""
        found, lost = {}, dict(self.lost)
        for name, reference in self.references.items():
            try:
                found[name] = pickle.loads(reference)
            except Exception as problem:
                lost[name] = f"{type(problem).__name__}: {problem}"
        return found, lost


def registered() -> OwnObjects:
    """What is registered with Keras, or stands in a ``custom_object_scope``."""
    import keras  # which may be unable to start, where only a path is exported
    from keras.src.backend.common import global_state

    scope = global_state.get_global_attribute(_SCOPE, {})
    return _referenced({**keras.saving.get_custom_objects(), **scope}.items())


def of_model(model: Any) -> OwnObjects:
    """The classes of the model and its layers, what they hold of functions and objects, and all that is registered.

    Raises :class:`ExportError` for a class that no other process can import.
    """
    import keras

    layers = [model, *model._flatten_layers(include_self=False)]
    classes = {type(layer).__name__: type(layer) for layer in layers if _is_own(type(layer))}
    needed = _referenced(classes.items())
    for name, why in needed.lost.items():
        raise ExportError(
            f"Keras runs on {keras.config.backend()}, and the export on TensorFlow in a process of its own, which"
            f" cannot import the class {name}: {why}. Define it at the top of a module, a file that can be"
            " imported without doing anything, and import it from there"
        )
    held = _referenced(item for layer in layers for item in _held(layer))
    rest = registered()
    return OwnObjects(
        {**rest.references, **held.references, **needed.references}, {**rest.lost, **held.lost, **needed.lost}
    )


def classes_of(model: Any) -> dict[str, Any]:
    """The objects of its own themselves, for this process: classes, functions and what is registered."""
    import keras

    layers = list(model._flatten_layers())
    held = dict(item for layer in layers for item in _held(layer))
    classes = {type(layer).__name__: type(layer) for layer in layers if _is_own(type(layer))}
    return {**keras.saving.get_custom_objects(), **held, **classes}


def _held(layer: Any) -> Iterator[tuple[str, Any]]:
    """Functions (activations) and objects with a configuration (initializers, constraints) in a layer's attributes."""
    for item in vars(layer).values():
        if inspect.isfunction(item) and item.__name__ != "<lambda>" and _is_own(item):
            yield item.__name__, item
        elif hasattr(type(item), "get_config") and _is_own(type(item)):
            yield type(item).__name__, type(item)


def _is_own(item: Any) -> bool:
    return str(item.__module__).split(".")[0] not in ("keras", "builtins")


def _referenced(items: Iterable[tuple[str, Any]]) -> OwnObjects:
    references: dict[str, bytes] = {}
    lost: dict[str, str] = {}
    for name, item in items:
        module, place = getattr(item, "__module__", None), getattr(item, "__qualname__", "")
        if module == "__main__":
            lost[name] = "it is defined in the program itself (__main__)"
        elif "<locals>" in place:
            lost[name] = f"it is defined within the function {place.split('.<locals>')[0]} of {module}"
        else:
            try:
                references[name] = pickle.dumps(item)
            except Exception as problem:
                lost[name] = f"{type(problem).__name__}: {problem}"
    return OwnObjects(references, lost)
