"""Names of free axes: axes of one name have one size. The form is that of torch.onnx's ``dynamic_axes``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from pullback.manifest import BATCH_NAMES

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source


def with_axes(source: Source, axes: Any) -> Source:
    """``source`` whose free axes have the names of ``axes``, ``{"positions": {0: "atoms"}, "species": {0: "atoms"}}``.

    The batch axis keeps its own name, whatever is given for it. Raises :class:`ExportError` for an input or an axis
    that does not exist, for one of fixed size and for what cannot be a name.
    """
    if axes is None:
        return source
    if not isinstance(axes, Mapping) or not all(isinstance(names, Mapping) for names in axes.values()):
        raise ExportError(f"axes={axes!r}: give names by input and axis, such as {{'positions': {{0: 'atoms'}}}}")
    chosen = {name: _checked(source, name, names) for name, names in axes.items()}
    return dataclasses.replace(source, axes={**source.axes, **chosen})


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
    label = f"{name}_{axis}"
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
