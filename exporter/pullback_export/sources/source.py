"""The live model under one form: named inputs, named outputs, a function of tensors."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
    ``notes`` are for the report: what was called otherwise. ``shared`` names the inputs without a batch axis of what
    is ``batched``: one value for all rows. ``points`` names the inputs with a second batch axis, that of points, after
    the rows where they have them: rows are functions then, and derivatives those of each function at each point.
    ``known_strings`` are those that the model tells apart, by input of strings.
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
    shared: frozenset[str] = frozenset()
    known_strings: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    points: frozenset[str] = frozenset()

    def lead(self, name: str) -> int:
        """1 where an input has rows, else 0; of what is no input, that of an output or inner layer."""
        return int(self.batched and name not in self.shared)

    @property
    def batch_axes(self) -> int:
        """The number of batch axes of an output that has derivatives: 0, 1, or 2 where rows meet points."""
        return int(self.batched) + bool(self.points)

    def missing(self, name: str) -> tuple[int, ...]:
        """Those of the batch axes, 0 of the rows and 1 of the points, that an input has not: all of these share it."""
        if all(spec.name != name for spec in self.inputs):
            return ()
        absent = (self.batched and name in self.shared, bool(self.points) and name not in self.points)
        return tuple(axis for axis, is_absent in enumerate(absent) if is_absent)

    def depth(self, name: str) -> int:
        """The number of leading axes along which there are derivatives for each index of an input, output or layer."""
        return self.batch_axes - len(self.missing(name))

    @property
    def points_axis(self) -> str | None:
        """The name of the axis of the points, where there is one."""
        return next((self.axes[name][self.lead(name)] for name in sorted(self.points) if name in self.axes), None)

    def has_layer(self, name: str) -> bool:
        """Whether ``name`` is an inner layer, or one of its calls."""
        return layer_call(name, self.layers)[0] in self.layers

    @property
    def dtype(self) -> str:
        """``float64`` where any input is, else ``float32``."""
        return "float64" if any(spec.dtype == tf.float64 for spec in self.inputs) else "float32"


def spelled(name: str) -> str:
    """``conv#1``, the second call of a layer, as names in a bundle can be: ``conv_call_1``."""
    return re.sub(r"#(\d+)", r"_call_\1", name)


def layer_call(name: str, layers: Container[str]) -> tuple[str, int | None]:
    """A layer and the number of one of its calls, ``conv_call_1``; None where ``name`` is a layer as it stands."""
    match = re.fullmatch(r"(.+)_call_(\d+)", name)
    return (match[1], int(match[2])) if match and name not in layers else (name, None)


@contextlib.contextmanager
def no_taps(names: Sequence[str], tap: Tap) -> Iterator[None]:
    """For sources without layers."""
    yield
