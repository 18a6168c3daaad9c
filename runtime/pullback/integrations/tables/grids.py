"""xarray: features on a grid. Each point of the grid is a row, and the results are on the same grid."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.integrations.tables.columns import groups_of
from pullback.integrations.tables.frames import not_numbers
from pullback.texts import objects


def is_grid(table: Any) -> bool:
    """Whether it is of xarray."""
    return any(
        kind.__module__.split(".")[0] == "xarray" and kind.__name__ in ("Dataset", "DataArray")
        for kind in type(table).__mro__
    )


class Grid:
    """A Dataset with a variable or coordinate for each feature, or a DataArray with one axis whose labels they are."""

    def __init__(self, table: Any, features: Sequence[str]) -> None:
        self._xarray = importlib.import_module("xarray")
        data = table if hasattr(table, "data_vars") else _by_feature(table, features)
        self.names = [str(name) for name in (*data.data_vars, *(name for name in data.coords if name in features))]
        held = [data[name] for name in features if name in self.names]
        self._columns = {}
        self._dims: tuple[Any, ...] = ()
        self._sizes: tuple[int, ...] = ()
        self._coords: dict[Any, Any] = {}
        if held:
            spread = self._xarray.broadcast(*held)
            self._dims, self._sizes = spread[0].dims, spread[0].shape
            self._columns = {item.name: item.transpose(*self._dims) for item in spread}
            own = set(self._dims)
            self._coords = {name: item for name, item in data.coords.items() if set(item.dims) <= own}
        self.rows = math.prod(self._sizes)

    def column(self, name: str) -> tuple[Array, Array]:
        """The numbers of every point in C order, and which are missing."""
        values = np.ravel(self._columns[name].values)
        if values.dtype.kind not in "fiub":
            raise not_numbers(name, values.dtype)
        return values, np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)

    def texts(self, name: str) -> tuple[Array, Array]:
        """What stands at every point in C order, and where nothing does."""
        values = objects(np.ravel(self._columns[name].values).tolist())
        return values, np.array([value is None or value != value for value in values], np.bool_)

    def row(self, number: int) -> str:
        """``time=2001, lat=3`` by the coordinates of the point."""
        place = np.unravel_index(number, self._sizes)
        told = []
        for dim, index in zip(self._dims, place, strict=True):
            label = self._coords[dim].values[index] if dim in self._coords else index
            told.append(f"{dim}={label}")
        return ", ".join(told) or "the only point"

    def rebuilt(self, bundle: Bundle, results: Mapping[str, Array]) -> Any:
        """A Dataset of the results on this grid; axes of features are named ``x_feature``."""
        spec = bundle.functions["evaluate"].spec
        tensors = {tensor.name: tensor for tensor in spec.outputs}
        variables, coords = {}, dict(self._coords)
        for name, array in results.items():
            dims, sizes = list(self._dims), list(self._sizes)
            for group, shape, labels in groups_of(spec, tensors[name], bundle.features):
                if math.prod(shape) == 1:
                    continue
                axes = [shape] if labels is None else [(len(labels),)]
                for axis, size in enumerate(axes[0]):
                    dim = f"{group}_feature" if len(axes[0]) == 1 else f"{group}_axis{axis}"
                    if labels is not None and dim in coords and tuple(coords[dim][1]) != labels:
                        dim = f"{name}_{dim}"  # some of the features alone
                    taken = dim
                    while dim in dims:
                        dim = f"{taken}_{1 + sum(other.startswith(taken) for other in dims)}"
                    dims.append(dim)
                    sizes.append(size)
                    if labels is not None:
                        coords[dim] = (dim, list(labels))
            variables[name] = (dims, np.reshape(array, sizes))
        return self._xarray.Dataset(variables, coords)


def _by_feature(table: Any, features: Sequence[str]) -> Any:
    """A DataArray as a Dataset of its features."""
    for dim in table.dims:
        if dim in table.coords and set(features) & {str(label) for label in table.coords[dim].values}:
            return table.to_dataset(dim=dim)
    raise InputError(
        f"no axis of the DataArray ({', '.join(map(str, table.dims))}) is labelled with the features"
        f" {', '.join(features)}; assign them as coordinates: array.assign_coords(feature=[...])"
    )
