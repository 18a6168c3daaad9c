"""What the caller passes: matched by name, converted where nothing is lost, refused with a reason otherwise.

Accepted: arrays of the promised dtype and shape; besides, lists, other float widths, whole numbers for a
float input, non-contiguous arrays and anything NumPy reads as an array of numbers. A Python scalar is
taken only where the shape is ``()``. An input of strings takes what :func:`pullback.texts.as_texts` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import ndarray

from pullback.calls.axes import inputs_of, sizes_that_follow
from pullback.errors import InputError
from pullback.manifest import FunctionSpec, TensorSpec, shape_text
from pullback.texts import STRING, as_texts

Array = npt.NDArray[Any]


class Binder:
    """Turns the arguments of one function into feeds; built once, used at every call."""

    def __init__(self, spec: FunctionSpec, features: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._function = spec.name
        self._features = features or {}
        self._specs = {tensor.name: tensor for tensor in inputs_of(spec)}
        self._following = sizes_that_follow(spec)
        self._shared = shared = spec.shared_inputs
        self._rows = tuple(_row(tensor) for tensor in spec.inputs if tensor.name not in shared)
        self._whole = tuple(_whole(tensor) for tensor in spec.inputs if tensor.name in shared)
        self._names = tuple(self._specs)

    def exact(self, args: Sequence[Any], named: dict[str, Any]) -> dict[str, Array] | None:
        """The feeds, when every argument is an array exactly as promised; else None, and ``feeds`` knows why.

        This is the path of every call in a loop: it allocates nothing but the feeds.
        """
        names = self._names
        if args:
            if named or len(args) != len(names):
                return None
            named = {names[0]: args[0]} if len(args) == 1 else dict(zip(names, args, strict=True))
        elif len(named) != len(names):
            return None
        for name, dtype, fixed in self._whole:
            value = named.get(name)
            if type(value) is not ndarray or value.dtype is not dtype or value.shape != fixed:
                return None
        batch = None
        for name, dtype, rank, tail in self._rows:
            value = named.get(name)
            if type(value) is not ndarray or value.dtype is not dtype:
                return None
            shape = value.shape
            if len(shape) != rank or shape[1:] != tail:
                return None
            if batch is None:
                batch = shape[0]
            elif batch != shape[0]:
                return None
        return named

    def values(self, args: Sequence[Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every argument by name, in calling order or not; raises ``InputError``."""
        if not args and len(named) == len(self._names):
            return named  # a wrong name among them is found by ``feeds``
        if len(args) == 1 and isinstance(args[0], Mapping):
            raise InputError(f"{self._function}: inputs by name are passed as **inputs; it takes {self._signature()}")
        if len(args) > len(self._names):
            raise InputError(f"{self._function}: {len(args)} positional inputs; it takes {self._signature()}")
        values = dict(zip(self._names, args, strict=False))
        for name, value in named.items():
            if name in values:
                raise InputError(f"{self._function}: input {name!r} is given both by position and by name; remove one")
            values[name] = value
        return values

    def feeds(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Arrays of exactly the promised dtypes, with shapes that agree with each other; raises ``InputError``."""
        if len(values) != len(self._names):
            raise self._names_error(values)
        feeds: dict[str, Array] = {}
        free: dict[str, tuple[int, str]] = {}
        for name, tensor in self._specs.items():
            if name not in values:
                raise self._names_error(values)
            value = self.convert(name, values[name])
            self._check_shape(tensor, value, values[name], free)
            feeds[name] = value
        self._check_following(feeds, values, free)
        return feeds

    def convert(self, name: str, value: Any) -> Array:
        """``value`` as a C-ordered array of the input's dtype, of whatever shape; raises ``InputError``."""
        tensor = self._specs[name]
        if name in self._features:
            self._check_columns(name, value)
        if tensor.dtype == STRING:
            return self._texts(tensor, value)
        array = self._array(tensor, value)
        wanted = np.dtype(tensor.dtype)
        if array.dtype == wanted:
            return np.asarray(array, dtype=wanted, order="C")
        if array.size and not _convertible(array.dtype, wanted):
            why = "" if array.dtype.kind not in "fiub" else "; convert it yourself if that is meant"
            raise self._error(tensor, f"{_shown(value)}{why}")
        with np.errstate(over="ignore", invalid="ignore"):
            converted = np.asarray(array.astype(wanted), order="C")
        self._check_conversion(tensor, array, converted)
        return converted

    def _check_shape(self, tensor: TensorSpec, array: Array, value: Any, free: dict[str, tuple[int, str]]) -> None:
        if array.ndim != len(tensor.shape):
            hint = ""
            if array.ndim == len(tensor.shape) - 1 and tensor.is_batched:
                hint = f"; the batch axis is missing, pass np.asarray({tensor.name})[None] for one sample"
            elif tensor.name in self._shared and array.ndim == len(tensor.shape) + 1:
                hint = "; it has no batch axis, all rows share one value"
            raise self._error(tensor, _shown(value) + hint)
        for axis, (size, dim) in enumerate(zip(array.shape, tensor.shape, strict=True)):
            if isinstance(dim, int):
                if size != dim:
                    raise self._error(tensor, f"{_shown(value)}: axis {axis} must have size {dim}")
                continue
            first, owner = free.setdefault(dim, (size, tensor.name))
            if first != size:
                same = "it" if owner == tensor.name else f"input {owner!r}"
                raise self._error(
                    tensor, f"{_shown(value)}: {dim} is {size} here and {first} in {same}; give arrays of equal size"
                )

    def _check_following(
        self, feeds: Mapping[str, Array], values: Mapping[str, Any], free: Mapping[str, tuple[int, str]]
    ) -> None:
        sizes = {dim: size for dim, (size, _) in free.items()} if self._following else {}
        for item in self._following:
            try:
                wanted = item.size(sizes)
            except ArithmeticError:  # a remainder of nothing: the graph itself says so
                continue
            if feeds[item.seed].shape[item.axis] != wanted:
                tensor = self._specs[item.seed]
                others = ", ".join(
                    f"{dim} is {size} in input {name!r}" for dim, (size, name) in free.items() if name != item.seed
                )
                why = f"axis {item.axis} must have size {wanted}, as {others}"
                raise self._error(tensor, f"{_shown(values[item.seed])}: {why}")

    def _array(self, tensor: TensorSpec, value: Any) -> Array:
        if isinstance(value, np.ma.MaskedArray):
            raise self._error(tensor, "a masked array; fill it first, with .filled(...)")
        try:
            array = np.asarray(value)
        except Exception as error:  # whatever a foreign __array__ raises
            raise self._error(tensor, f"{type(value).__name__} that is not an array: {error}") from error
        if array.dtype.kind not in "fiub":
            raise self._error(tensor, _shown(value))
        return array

    def _texts(self, tensor: TensorSpec, value: Any) -> Array:
        if isinstance(value, np.ma.MaskedArray):
            raise self._error(tensor, "a masked array; fill it first, with .filled(...)")
        try:
            return as_texts(value)
        except ValueError as error:
            raise self._error(tensor, str(error)) from error
        except Exception as error:  # whatever a foreign __array__ raises
            raise self._error(tensor, f"{type(value).__name__} that is not an array: {error}") from error

    def _check_columns(self, name: str, value: Any) -> None:
        """A table whose columns stand in another order would give a wrong answer without a word."""
        columns = getattr(value, "column_names", None) or getattr(value, "columns", None)
        if columns is None or callable(columns) or tuple(columns) == self._features[name]:
            return
        raise InputError(
            f"{self._function}: input {name!r} takes the columns {', '.join(self._features[name])}, in this order; got"
            f" {', '.join(map(str, columns))}. pullback.integrations.tables.evaluate(bundle, table) finds them by name"
        )

    def _check_conversion(self, tensor: TensorSpec, array: Array, converted: Array) -> None:
        if converted.dtype.kind == "f":
            lost = np.isinf(converted) & np.isfinite(array) if array.dtype.kind == "f" else np.isinf(converted)
        else:
            lost = (converted != array) | ((converted < 0) != (array < 0))
        if lost.any():
            raise self._error(tensor, f"the value {array[lost].flat[0]!s}, which {tensor.dtype} cannot hold")

    def _error(self, tensor: TensorSpec, got: str) -> InputError:
        want = f"{tensor.dtype} of shape {shape_text(tensor.shape)}"
        return InputError(f"{self._function}: input {tensor.name!r} must be {want}, got {got}")

    def _names_error(self, values: Mapping[str, Any]) -> InputError:
        unknown = [name for name in values if name not in self._specs]
        missing = [name for name in self._names if name not in values]
        what = [f"unknown input {unknown[0]!r}"] if unknown else []
        if missing:
            what.append(f"input {missing[0]!r} is missing")
        together = [name for name, value in values.items() if isinstance(value, (list, tuple)) and _holds_arrays(value)]
        hint = "; pass the inputs one by one, not in a list" if missing and together else ""
        return InputError(f"{self._function}: {' and '.join(what)}; it takes {self._signature()}{hint}")

    def _signature(self) -> str:
        return ", ".join(f"{t.name} ({t.dtype} {shape_text(t.shape)})" for t in self._specs.values())


def _row(tensor: TensorSpec) -> tuple[str, np.dtype[Any] | None, int, tuple[int, ...] | None]:
    """Name, dtype, rank and fixed sizes after the batch axis (None where free axes lie elsewhere)."""
    tail = tuple(dim for dim in tensor.shape[1:] if isinstance(dim, int))
    simple = tensor.shape[:1] == ("B",) and len(tail) == len(tensor.shape) - 1
    return tensor.name, _exact_dtype(tensor), len(tensor.shape), tail if simple else None


def _exact_dtype(tensor: TensorSpec) -> np.dtype[Any] | None:
    """The dtype of arrays that can be passed on as they are; None for strings, each of which has to be looked at."""
    return None if tensor.dtype == STRING else np.dtype(tensor.dtype)


def _whole(tensor: TensorSpec) -> tuple[str, np.dtype[Any] | None, tuple[int, ...] | None]:
    """Name, dtype and shape of what all rows share (None where axes of it are free)."""
    fixed = tuple(dim for dim in tensor.shape if isinstance(dim, int))
    return tensor.name, _exact_dtype(tensor), fixed if len(fixed) == len(tensor.shape) else None


def _holds_arrays(values: Sequence[Any]) -> bool:
    return any(isinstance(value, ndarray) for value in values)


def _convertible(have: np.dtype[Any], want: np.dtype[Any]) -> bool:
    """Any number to a float, whole numbers and booleans to whole numbers, booleans to booleans."""
    if want.kind == "f":
        return have.kind in "fiub"
    return have.kind in "iub" if want.kind in "iu" else have.kind == "b"


def _shown(value: Any) -> str:
    """What came, in a few words."""
    array = np.asarray(value)
    if isinstance(value, np.ndarray):
        return f"{array.dtype} of shape {array.shape}"
    return f"{type(value).__name__} (read as {array.dtype} of shape {array.shape})"
