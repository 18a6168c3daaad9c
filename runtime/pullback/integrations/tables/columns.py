"""Names of columns: of inputs, and of the components of values and derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.features import Features, derivative_of
from pullback.flat.pieces import picked
from pullback.manifest import FunctionSpec, TensorSpec
from pullback.selection import Selection
from pullback.streams import tables

# A group of axes of a result, those of ``of`` or of one ``wrt``: its name, its sizes, and the names of its components.
Group = tuple[str, tuple[int, ...], "tuple[str, ...] | None"]


def input_columns(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The columns of each input, in C order; raises ``InputError`` if a row has no fixed size."""
    spec = bundle.functions["evaluate"].spec
    spec.refuse_points("a table")
    if not spec.rowwise:
        raise InputError(f"{spec}: a table needs independent rows; every array must have the batch axis")
    names = bundle.features
    return {t.name: names.get(t.name) or tuple(tables.columns(t.name, tables.row_shape(t))) for t in spec.inputs}


def result_columns(bundle: Bundle, name: str) -> tuple[str, ...]:
    """The columns of a value or derivative, in C order: ``y``, ``dy_dx[age]``, ``d2y_dx2[age,income]``."""
    spec, tensor = bundle.functions["evaluate"].spec, _output(bundle, name)
    groups = groups_of(spec, tensor, bundle.features)
    if all(labels is None for _, _, labels in groups):
        return tuple(tables.columns(name, tables.row_shape(tensor)))
    if derivative_of(spec, name) is None:
        return groups[0][2] or ()
    named = [_labels(sizes, labels) for _, sizes, labels in groups if labels is not None or math.prod(sizes) != 1]
    found = [""]
    for labels in named:
        found = [f"{start},{label}" if start else label for start in found for label in labels]
    return tuple(f"{name}[{label}]" for label in found)


def groups_of(spec: FunctionSpec, tensor: TensorSpec, features: Features) -> list[Group]:
    """The groups of axes of a result; one without names where they cannot be told apart."""
    shape = tables.row_shape(tensor)
    derivative = derivative_of(spec, tensor.name)
    if derivative is None:
        return [(tensor.name, shape, features.get(tensor.name))]
    selections = [derivative.of_selection, *derivative.wrt_selections]
    if derivative.kind == "laplacian":
        selections = selections[:1]
    groups: list[Group] = []
    for number, selection in enumerate(selections):
        whole = _row_shape(spec, selection.name)
        if whole is None:  # an inner layer
            return [(tensor.name, shape, None)]
        numbers = picked(selection, whole, spec.batched)
        labels = features.get(selection.name)
        if selection.summed or (number == 0 and derivative.kind == "gradient"):
            groups.append((selection.name, (), None))
        else:
            sizes = np.empty(whole, np.bool_)[_index(selection)].shape
            groups.append((selection.name, sizes, labels and tuple(labels[n] for n in numbers)))
    if math.prod(math.prod(sizes) for _, sizes, _ in groups) != math.prod(shape):
        return [(tensor.name, shape, None)]
    return groups


def _index(selection: Selection) -> tuple[int | slice, ...]:
    """The index of one sample: a leading bare ``:`` counts the batch axis."""
    key = selection.key
    return key[1:] if key and key[0] == slice(None) else key


def _labels(sizes: Sequence[int], labels: tuple[str, ...] | None) -> tuple[str, ...]:
    return labels or tuple(",".join(map(str, index)) for index in np.ndindex(*sizes))


def _row_shape(spec: FunctionSpec, name: str) -> tuple[int, ...] | None:
    tensor = next((item for item in (*spec.inputs, *spec.outputs) if item.name == name), None)
    return None if tensor is None else tables.row_shape(tensor)


def _output(bundle: Bundle, name: str) -> TensorSpec:
    return next(item for item in bundle.functions["evaluate"].spec.outputs if item.name == name)
