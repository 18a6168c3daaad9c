"""A bundle as a function of one sample, by names of inputs and outputs: what servers of simulators ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, NotExportedError
from pullback.flat.view import Flat
from pullback.integrations.whole_derivatives import inputs_of, values_of
from pullback.manifest import TensorSpec, shape_text


class OneSample:
    """Values and derivatives at one point, without the batch axis, in float64.

    ``inputs`` and ``outputs`` are shapes by name, of what varies. ``given`` are values of the other inputs, ``of`` the
    outputs that are wanted, else all.

    Raises:
        InputError: an axis besides the batch is free, an input that is no float is not given, or there is no such one.
        NotExportedError: there is no such output.
    """

    def __init__(self, bundle: Bundle, given: Mapping[str, Any] | None = None, of: Sequence[str] | None = None) -> None:
        bundle.spec.refuse_points("one sample at a time")
        self._bundle, self._given = bundle, dict(given or {})
        self._batched = bundle.spec.batched
        tensors = {tensor.name: tensor for tensor in inputs_of(bundle)}
        for name in self._given:
            if name not in tensors:
                raise InputError(f"given: there is no input {name!r} among {', '.join(tensors)}")
        varying = [tensor for name, tensor in tensors.items() if name not in self._given]
        for tensor in varying:
            if not tensor.dtype.startswith("float"):
                raise InputError(f"{tensor} is no float, and nothing differentiates by it; name its value in given=")
        values = {tensor.name: tensor for tensor in values_of(bundle)}
        for name in of or ():
            if name not in values:
                raise NotExportedError(f"{bundle.path}: there is no output {name!r} among {', '.join(values)}")
        self.dtypes = {tensor.name: tensor.dtype for tensor in (*varying, *values.values())}
        self.inputs = {tensor.name: self._shape(tensor) for tensor in varying}
        self.outputs = {name: self._shape(values[name]) for name in (of or values)}
        if not self.inputs:
            raise InputError("given: every input has a value, and nothing is left to vary")
        # The view that was used last for an output and inputs, with the bytes of the others, which are fixed in it. It
        # knows what holds at its last point: a value, and the derivative that is asked for next, are one evaluation.
        self._views: dict[tuple[str, tuple[str, ...]], tuple[bytes, Flat]] = {}

    def _shape(self, tensor: TensorSpec) -> tuple[int, ...]:
        axes = tensor.shape[1:] if self._batched and tensor.shape[:1] == ("B",) else tensor.shape
        sizes = tuple(axis for axis in axes if isinstance(axis, int))
        if len(sizes) < len(axes):
            raise InputError(
                f"{tensor}: one sample must have one size; export the model with the size of {shape_text(axes)} fixed"
            )
        return sizes

    def value(self, point: Mapping[str, Any]) -> dict[str, Array]:
        """Every output, each of its shape."""
        return {
            of: np.reshape(self._flat(of, next(iter(self.inputs)), point).value(self._first(point)), shape)
            for of, shape in self.outputs.items()
        }

    def jacobian(self, point: Mapping[str, Any], of: str, wrt: str) -> Array:
        """``outputs[of] + inputs[wrt]``."""
        return self._flat(of, wrt, point).jacobian(_vector(point[wrt])).reshape(self.outputs[of] + self.inputs[wrt])

    def vjp(self, point: Mapping[str, Any], of: str, wrt: str, adjoint: Any) -> Array:
        """``inputs[wrt]``: ``adjoint``, of the shape of the output, times the Jacobian."""
        return self._flat(of, wrt, point).vjp(_vector(point[wrt]), _vector(adjoint)).reshape(self.inputs[wrt])

    def jvp(self, point: Mapping[str, Any], of: str, wrt: str, direction: Any) -> Array:
        """``outputs[of]``: the Jacobian times ``direction``, of the shape of the input."""
        found = self._flat(of, wrt, point).jvp(_vector(point[wrt]), _vector(direction))
        return np.reshape(found, self.outputs[of])

    def hvp(self, point: Mapping[str, Any], of: str, left: str, right: str, adjoint: Any, direction: Any) -> Array:
        """``inputs[left]``: second derivatives of the output, weighted by ``adjoint``, by ``left`` and ``right``, times
        ``direction`` of the shape of ``right``."""
        names = (left,) if left == right else (left, right)
        flat = self._flat(of, names, point)
        x = np.concatenate([_vector(point[name]) for name in names])
        p, given = np.zeros(flat.n), _vector(direction)
        if given.shape != p[flat.slices[right]].shape:
            raise InputError(
                f"the direction must have {p[flat.slices[right]].size} components, one for each of {right}; got"
                f" {given.size}"
            )
        p[flat.slices[right]] = given
        return flat.hessp(x, p, _vector(adjoint))[flat.slices[left]].reshape(self.inputs[left])

    def can(self, method: str) -> bool:
        """Whether the bundle holds what ``jacobian``, ``vjp``, ``jvp`` or ``hvp`` needs, for every pair of names."""
        point = {name: np.full(shape, np.mean(self._bundle.span(name))) for name, shape in self.inputs.items()}
        try:
            for of, shape in self.outputs.items():
                for wrt, size in self.inputs.items():
                    if method == "jacobian":
                        self.jacobian(point, of, wrt)
                    elif method == "vjp":
                        self.vjp(point, of, wrt, np.ones(shape))
                    elif method == "jvp":
                        self.jvp(point, of, wrt, np.ones(size))
                    else:
                        for right, direction in self.inputs.items():
                            self.hvp(point, of, wrt, right, np.ones(shape), np.ones(direction))
        except NotExportedError:
            return False
        return True

    def _flat(self, of: str, wrt: str | tuple[str, ...], point: Mapping[str, Any]) -> Flat:
        varying = (wrt,) if isinstance(wrt, str) else wrt
        others = {
            name: np.reshape(np.asarray(point[name]), shape)
            for name, shape in self.inputs.items()
            if name not in varying
        }
        key = b"".join(np.asarray(array, np.float64).tobytes() for array in others.values())
        known = self._views.get((of, varying))
        if known is None or known[0] != key:
            known = key, self._bundle.flat(of=of, wrt=wrt, given={**self._given, **others})
            self._views[of, varying] = known
        return known[1]

    def _first(self, point: Mapping[str, Any]) -> Array:
        return _vector(point[next(iter(self.inputs))])


def _vector(value: Any) -> Array:
    return np.asarray(value, np.float64).ravel()
