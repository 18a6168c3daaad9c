"""The live model under one form: named inputs, named outputs, a function of tensors."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

Tap = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """The live model. ``call(*tensors)`` returns one tensor per output, in graph mode and eagerly.

    ``tapped(names, tap)`` is a context in which the output of each named inner layer passes through ``tap``.
    ``spreads`` gives offset and scale of the inputs that are in physical units. ``axes`` names free axes, by input and
    number; those of one name have one size. ``ranks`` are those, by output and inner layer, that TensorFlow does not
    know and that calls have shown. ``trackable`` keeps the model's variables alive and is stored with the SavedModel.
    ``notes`` are for the report: what was called otherwise.
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
    notes: tuple[str, ...] = ()
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """``float64`` where any input is, else ``float32``."""
        return "float64" if any(spec.dtype == tf.float64 for spec in self.inputs) else "float32"


@contextlib.contextmanager
def no_taps(names: Sequence[str], tap: Tap) -> Iterator[None]:
    """For sources without layers."""
    yield
