"""Where the numbers of a flat ``x`` go: which inputs they fill, in what shape, and what the others are fixed at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.function import Function
from pullback.manifest import BATCH_NAMES, Dim, FunctionSpec, TensorSpec, shape_text

_FLOAT64 = np.dtype(np.float64)
_FEW = 8  # numbers, of which Python finds the largest faster than NumPy multiplies them

# ``shape=``: of the one flat input, of inputs by name, or sizes of free axes by name.
Shapes = Sequence[int] | Mapping[str, "Sequence[int] | int"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A flat input: ``x[start:stop]``, raveled in C order, is its array of ``shape``, with the batch axis if any."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int
    lead: int = 0  # batch axes of ``shape``

    @property
    def size(self) -> int:
        """How many components of ``x`` it takes."""
        return self.stop - self.start


class Layout:
    """The flat inputs of a model in order, the fixed values of its others, and the size of every free axis known."""

    def __init__(
        self, function: Function, wrt: Sequence[str], given: Mapping[str, Any], shape: Shapes | None, call: str
    ) -> None:
        """``function`` has the inputs of the model, and seeds besides; ``call`` begins each message."""
        self._call = call
        spec = function.spec
        self.lead = spec.batch_axes
        self._spec = spec
        self._shared = spec.shared_inputs
        tensors = {tensor.name: tensor for tensor in spec.inputs if tensor.name not in spec.seeds}
        self._check_names(tensors, wrt, given)
        self.sizes: dict[str, int] = dict.fromkeys(BATCH_NAMES, 1) if spec.batched else {}
        if spec.points is not None:
            self.sizes[spec.points] = 1
        self._read_shapes([tensors[name] for name in wrt], shape)
        self.given = {
            name: self._fixed(tensor, function.convert(name, given[name]))
            for name, tensor in tensors.items()
            if name in given
        }
        self.parts = self._parts([tensors[name] for name in wrt])
        self.n = self.parts[-1].stop
        self._shape = (self.n,)
        only = self.parts[0]
        self._only = (only.name, only.dtype, only.shape) if len(self.parts) == 1 else None
        largest = min(float(np.finfo(part.dtype).max) for part in self.parts)
        self._largest = None if all(part.dtype == _FLOAT64 for part in self.parts) else largest

    def point(self, x: Any, what: str = "x") -> Array:
        """``x`` as a float64 vector ``(n,)``; raises ``InputError``."""
        if type(x) is np.ndarray and x.dtype is _FLOAT64 and x.shape == self._shape:
            return x
        array = self._array(x, what)
        if array.dtype != np.float64:
            if array.dtype.kind not in "fiub":
                raise InputError(f"{self._call}: {what} must be {self.n} real numbers, got {array.dtype}")
            array = array.astype(np.float64)
        if array.shape != self._shape:
            if array.ndim == 0 and self.n == 1:
                return array.reshape(1)
            raise InputError(
                f"{self._call}: {what} must have shape ({self.n},), {self._order()}; got {array.shape}"
                f"{self._remedy(array, what)}"
            )
        return array

    def _remedy(self, array: Array, what: str) -> str:
        if array.ndim > 1 and array.size == self.n:
            return f"; pass {what}.ravel()"
        several = array.ndim == 2 and array.shape[1] == self.n
        return "; pass one point at a time, or all of them to samples()" if several else ""

    def feeds(self, x: Array) -> dict[str, Array]:
        """The arrays of all inputs at the point ``x``, new ones for the flat inputs; raises ``InputError``."""
        if self._largest is not None:
            # Cheaper than to look at what came out. What is too large, or a NaN that may hide it, goes the long way.
            if self.n <= _FEW:
                values = x.tolist()
                held = max(values) <= self._largest and min(values) >= -self._largest
            else:
                held = x.dot(x) <= self._largest * self._largest
            if not held:
                self._require_held(x)
        if self._only is not None:
            name, dtype, shape = self._only
            return {name: x.astype(dtype).reshape(shape), **self.given}
        parts = {part.name: x[part.start : part.stop].astype(part.dtype).reshape(part.shape) for part in self.parts}
        return parts | self.given

    def feeds_of(self, points: Array) -> dict[str, Array]:
        """The same at the points ``(N, n)`` of a model that :meth:`divides`, as one batch; raises ``InputError``."""
        if self._largest is not None and not np.abs(points).max(initial=0.0) <= self._largest:
            for point in points:
                self._require_held(point)
        count = len(points)
        parts = {p.name: points[:, p.start : p.stop].astype(p.dtype) for p in self.parts}
        feeds = {p.name: parts[p.name].reshape(count, *p.shape[1:]) for p in self.parts}
        given = self.given.items()
        return feeds | {name: value if name in self._shared else np.repeat(value, count, 0) for name, value in given}

    def divides(self, spec: FunctionSpec) -> bool:
        """Whether several points may be one batch of a function: what all rows share is given then, and no part."""
        return spec.divisible and not any(part.name in self._shared for part in self.parts)

    def _require_held(self, x: Array) -> None:
        for part in self.parts:
            try:
                with np.errstate(over="raise"):
                    x[part.start : part.stop].astype(part.dtype)
            except FloatingPointError as error:
                largest = np.abs(x[np.isfinite(x)]).max()
                raise InputError(
                    f"{self._call}: x holds {largest:g}, which {part.name} ({part.dtype}) cannot hold; restrict the"
                    ' search with bounds, or export the model with precision="float64"'
                ) from error

    def sample_shape(self, tensor: TensorSpec) -> tuple[int, ...] | None:
        """The shape of one sample of an array, at one point; None where the size of a free axis is not known."""
        sizes = [self.sizes.get(dim) if isinstance(dim, str) else dim for dim in self._dims(tensor)]
        known = [size for size in sizes if size is not None]
        return tuple(known) if len(known) == len(sizes) else None

    def rank(self, tensor: TensorSpec) -> int:
        """How many axes one sample of an array has."""
        return len(self._dims(tensor))

    def learn(self, tensor: TensorSpec, shape: tuple[int, ...]) -> None:
        """Take the sizes of free axes from the ``shape`` of an array that came out."""
        self._learn(tensor, shape, f"shape of {tensor.name!r}")

    def _check_names(self, tensors: Mapping[str, TensorSpec], wrt: Sequence[str], given: Mapping[str, Any]) -> None:
        held = ", ".join(f"{t.name} ({t.dtype} {shape_text(t.shape)})" for t in tensors.values())
        if not wrt or len(set(wrt)) < len(wrt):
            raise InputError(f"{self._call}: wrt must name an input, or several, each once; got {tuple(wrt)!r}")
        for name in (*wrt, *given):
            if name not in tensors:
                raise InputError(f"{self._call}: there is no input {name!r}; the inputs are {held}")
        for name in wrt:
            if name in given:
                raise InputError(f"{self._call}: {name!r} is both in wrt and in given; remove it from one of them")
            if not tensors[name].dtype.startswith("float"):
                raise InputError(f"{self._call}: {name!r} is {tensors[name].dtype}; only floats have derivatives")
        for name in tensors:
            if name not in wrt and name not in given:
                raise InputError(
                    f"{self._call}: input {name!r} needs a value, given={{{name!r}: ...}}, or a place in wrt"
                )

    def _read_shapes(self, tensors: Sequence[TensorSpec], shape: Shapes | None) -> None:
        if shape is None:
            return
        if not isinstance(shape, Mapping):
            if len(tensors) > 1:
                raise InputError(f"{self._call}: shape must name the inputs, shape={{{tensors[0].name!r}: (...)}}")
            shape = {tensors[0].name: shape}
        by_name = {tensor.name: tensor for tensor in tensors}
        axes = {dim for tensor in tensors for dim in tensor.shape if isinstance(dim, str)}
        for name, value in shape.items():
            if name in by_name and not isinstance(value, int):
                self._learn(by_name[name], tuple(value), f"shape of {name!r}")
            elif name in axes and type(value) is int and value >= 0:
                self._size(name, value, "shape")
            else:
                raise InputError(
                    f"{self._call}: shape takes the shape of an input in wrt or the size of one of its free axes; got"
                    f" {name!r}: {value!r}"
                )

    def _learn(self, tensor: TensorSpec, shape: tuple[int, ...], what: str) -> None:
        """Take the sizes of free axes from a ``shape`` with the batch axis or without."""
        dims = self._dims(tensor)
        wanted = dims if len(shape) == len(dims) else tensor.shape
        if len(shape) != len(wanted) or any(type(size) is not int or size < 0 for size in shape):
            raise InputError(f"{self._call}: {what} must be {shape_text(dims)}, got {shape}")
        for dim, size in zip(wanted, shape, strict=True):
            if isinstance(dim, str):
                self._size(dim, size, what)
            elif dim != size:
                raise InputError(f"{self._call}: {what} must be {shape_text(dims)}, got {shape}")

    def _size(self, name: str, size: int, what: str) -> None:
        if self.sizes.setdefault(name, size) != size:
            raise InputError(
                f"{self._call}: {what}: {name} is {size} here and {self.sizes[name]} elsewhere;"
                " give arrays of equal size"
            )

    def _dims(self, tensor: TensorSpec) -> tuple[Dim, ...]:
        return tensor.shape[len(self._spec.batch_of(tensor)) :]

    def row_shape(self, tensor: TensorSpec) -> tuple[int, ...] | None:
        """The same behind the rows: with an axis of one point where an array has points."""
        sample = self.sample_shape(tensor)
        points = [1 for axis in self._spec.batch_of(tensor) if axis == self._spec.points]
        return None if sample is None else (*points, *sample)

    def _fixed(self, tensor: TensorSpec, value: Array) -> Array:
        """A fixed input as it is fed: of one sample, of a batch of one, or one number where there is only one."""
        dims = self._dims(tensor)
        if value.size == 1 and all(dim == 1 for dim in dims):
            value = value.reshape([1] * len(dims))
        self._learn(tensor, value.shape, f"given {tensor.name!r}")
        return value.copy().reshape([self.sizes[dim] if isinstance(dim, str) else dim for dim in tensor.shape])

    def _parts(self, tensors: Iterable[TensorSpec]) -> tuple[Part, ...]:
        parts, start = [], 0
        for tensor in tensors:
            for dim in tensor.shape:
                if isinstance(dim, str) and dim not in self.sizes:
                    raise InputError(
                        f"{self._call}: the size of axis {dim!r} of {tensor} is free; specify it: shape={{{dim!r}: 5}}"
                    )
            shape = tuple(self.sizes[dim] if isinstance(dim, str) else dim for dim in tensor.shape)
            stop = start + math.prod(shape)
            lead = len(self._spec.batch_of(tensor))
            parts.append(Part(tensor.name, np.dtype(tensor.dtype), shape, start, stop, lead))
            start = stop
        return tuple(parts)

    def _array(self, x: Any, what: str) -> Array:
        try:
            return np.asarray(x)
        except Exception as error:  # whatever a foreign __array__ raises
            raise InputError(f"{self._call}: {what} must be {self.n} real numbers: {error}") from error

    def _order(self) -> str:
        return " then ".join(
            f"{p.name} {shape_text(p.shape[p.lead :])}" + (" in C order" if len(p.shape) - p.lead > 1 else "")
            for p in self.parts
        )
