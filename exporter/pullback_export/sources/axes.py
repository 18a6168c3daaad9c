"""Names of free axes: axes of one name have one size. The form is that of torch.onnx's ``dynamic_axes``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from pullback.manifest import BATCH_NAMES

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source

# The axis of the points, where functions meet them and the caller names it not.
POINTS = "points"


def with_axes(source: Source, axes: Any) -> Source:
    """``source`` whose free axes have the names of ``axes``, ``{"positions": {0: "atoms"}, "species": {0: "atoms"}}``.

    The batch axis keeps its own name, whatever is given for it. Raises :class:`ExportError` for an input or an axis
    that does not exist, for one of fixed size and for what cannot be a name.
    """
    axes = {} if axes is None else axes
    if not isinstance(axes, Mapping) or not all(isinstance(names, Mapping) for names in axes.values()):
        raise ExportError(f"axes={axes!r}: give names by input and axis, such as {{'positions': {{0: 'atoms'}}}}")
    chosen = {**source.axes, **{name: _checked(source, name, names) for name, names in axes.items()}}
    return dataclasses.replace(source, axes=_with_points(source, chosen))


def _with_points(source: Source, axes: Mapping[str, Mapping[int, str]]) -> Mapping[str, Mapping[int, str]]:
    """``axes`` with one name for the axis of the points, the caller's or :data:`POINTS`, of all inputs that have it."""
    if not source.points:
        return axes
    named = {name: axes.get(name, {}).get(source.lead(name)) for name in sorted(source.points)}
    found = sorted({label for label in named.values() if label is not None})
    if len(found) > 1:
        raise ExportError(
            f"axes: the axis of the points has one name, got {' and '.join(map(repr, found))}; choose one"
        )
    others = {
        label: (name, axis)
        for name, names in axes.items()
        for axis, label in names.items()
        if name not in source.points or axis != source.lead(name)
    }
    label = found[0] if found else _unlike(POINTS, set(others))
    if label in others:
        name, axis = others[label]
        raise ExportError(
            f"axes[{name!r}]: {label!r} is the name of the axis of the points; give axis {axis} another one"
        )
    return {**axes, **{name: {**axes.get(name, {}), source.lead(name): label} for name in sorted(source.points)}}


def axis_names(source: Source, batch: str = "B") -> dict[str, tuple[int | str, ...]]:
    """The shape of every input, with a name for each free axis; ``batch`` is that of the batch axis."""
    taken = {label for names in source.axes.values() for label in names.values()}
    return {
        spec.name: tuple(
            size
            if size is not None
            else batch
            if axis < source.lead(spec.name)
            else source.axes.get(spec.name, {}).get(axis) or _default(spec.name, axis, taken)
            for axis, size in enumerate(spec.shape.as_list())
        )
        for spec in source.inputs
    }


def _default(name: str, axis: int, taken: set[str]) -> str:
    return _unlike(f"{name}_{axis}", taken)


def _unlike(label: str, taken: set[str]) -> str:
    while label in taken:  # chosen for another axis, with which this one has nothing to do
        label += "_"
    return label


def _checked(source: Source, name: str, names: Mapping[Any, Any]) -> dict[int, str]:
    spec = next((spec for spec in source.inputs if spec.name == name), None)
    if spec is None:
        known = ", ".join(spec.name for spec in source.inputs)
        raise ExportError(f"axes: there is no input {name!r}; inputs: {known}")
    shape = spec.shape.as_list()
    found = {}
    for axis, label in names.items():
        if not isinstance(axis, int) or isinstance(axis, bool) or not -len(shape) <= axis < len(shape):
            raise ExportError(f"axes[{name!r}]: {name} of shape {tuple(shape)} has no axis {axis!r}; count from 0")
        if shape[axis] is not None:
            raise ExportError(
                f"axes[{name!r}]: axis {axis} of {name} is not free, its size is {shape[axis]}; name free axes only"
            )
        if not isinstance(label, str) or not re.fullmatch(r"[A-Za-z]\w{0,63}", label, re.ASCII):
            raise ExportError(f"axes[{name!r}]: {label!r} cannot name an axis: use letters, digits and underscores")
        if axis % len(shape) < source.lead(name):
            continue
        if label in BATCH_NAMES:
            raise ExportError(f"axes[{name!r}]: {label!r} is the name of the batch axis; give axis {axis} another one")
        found[axis % len(shape)] = label
    return found
