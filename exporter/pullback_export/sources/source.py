"""The live model under one form: named inputs, named outputs, a function of tensors."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError

Tap = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """The live model. ``call(*tensors)`` returns one tensor per output, in graph mode and eagerly.

    ``tapped(names, tap)`` is a context in which the output of each named inner layer passes through ``tap``.
    ``spreads`` gives offset and scale of the inputs that are in physical units. ``axes`` names free axes, by input and
    number; those of one name have one size. ``trackable`` keeps the model's
    variables alive and is stored with the SavedModel.
    """

    kind: str
    inputs: tuple[tf.TensorSpec, ...]
    outputs: tuple[str, ...]
    call: Callable[..., tuple[Any, ...]]
    batched: bool
    trackable: Any = None
    layers: tuple[str, ...] = ()
    tapped: Callable[[Sequence[str], Tap], contextlib.AbstractContextManager[None]] | None = None
    spreads: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """``float64`` where any input is, else ``float32``."""
        return "float64" if any(spec.dtype == tf.float64 for spec in self.inputs) else "float32"


def structure_names(result: Any, count: int) -> tuple[str, ...]:
    """Keys of a dictionary, fields of a named tuple, else ``y`` or ``y0, y1, ...``."""
    if isinstance(result, dict) and all(isinstance(key, str) for key in result):
        return tuple(sorted(result)) if len(result) == count else numbered("y", count)
    fields = getattr(result, "_fields", None)
    return tuple(fields) if fields and len(fields) == count else numbered("y", count)


def numbered(stem: str, count: int) -> tuple[str, ...]:
    return (stem,) if count == 1 else tuple(f"{stem}{index}" for index in range(count))


@contextlib.contextmanager
def no_taps(names: Sequence[str], tap: Tap) -> Iterator[None]:
    """For sources without layers."""
    yield


def rename(wanted: Sequence[str] | None, found: Sequence[str]) -> tuple[str, ...]:
    if wanted is None:
        return tuple(found)
    if isinstance(wanted, str) or len(wanted) != len(found):
        raise ExportError(
            f"outputs={wanted!r}: the model has {len(found)} output(s); give a list with one name for each"
        )
    return tuple(wanted)


def readable(names: Sequence[str], stem: str) -> tuple[str, ...]:
    """Names that Keras and TensorFlow made up give way to ``x`` or ``y``."""
    made_up = re.compile(r"(keras_tensor|input|input_layer|inputs|output|Identity|args?)(_\d+)*|.*[^\w].*")
    if any(made_up.fullmatch(name) for name in names):
        return numbered(stem, len(names))
    return tuple(names)
