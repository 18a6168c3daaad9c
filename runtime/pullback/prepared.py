"""A call of fixed size with its own buffers, for control loops: no allocation, no conversion, a single check."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError, PullbackError
from pullback.function import result_class
from pullback.manifest import FunctionSpec, TensorSpec, shape_text
from pullback.texts import STRING


class Prepared:
    """Write into ``inputs[name]`` and call, or call with arrays; the same result arrays are filled each time.

    With ``copy``, every call returns new arrays, which later calls do not change.

    A ``Prepared`` belongs to one thread, and to the process that created it.
    """

    def __init__(
        self, spec: FunctionSpec, session: Any, fetch: tuple[str, ...], sizes: Mapping[str, int], copy: bool = False
    ) -> None:
        self.spec = spec
        outputs = {tensor.name: tensor for tensor in spec.outputs}
        self._inputs = {tensor.name: _buffer(spec.name, tensor, sizes) for tensor in spec.inputs}
        results = [_buffer(spec.name, outputs[name], sizes) for name in fetch]
        binding = session.io_binding()
        for name, array in self._inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(fetch, results, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._run, self._binding = session.run_with_iobinding, binding
        self._ordered = tuple(self._inputs.values())
        self._result = result_class(fetch)(*results)
        self._copy = copy

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The input buffers by name, to be written in place."""
        return MappingProxyType(self._inputs)

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        """The named tuple of result buffers, or of copies of them, after copying the given inputs into theirs."""
        try:
            if len(args) > len(self._ordered):
                raise ValueError(f"got {len(args)} by position")
            for buffer, value in zip(self._ordered, args, strict=False):
                np.copyto(buffer, value, "same_kind")
            for name, value in named.items():
                np.copyto(self._inputs[name], value, "same_kind")
        except (KeyError, TypeError, ValueError) as error:
            wanted = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in self._inputs.items())
            raise InputError(f"{self.spec.name}: a prepared call takes {wanted}; {error}") from error
        try:
            self._run(self._binding)
        except Exception as error:
            raise PullbackError(f"{self.spec.name}: ONNX Runtime failed: {error}") from error
        return type(self._result)(*(array.copy() for array in self._result)) if self._copy else self._result


def _buffer(function: str, tensor: TensorSpec, sizes: Mapping[str, int]) -> Array:
    if tensor.dtype == STRING:
        raise InputError(f"{function}: {tensor.name!r} holds strings, which have no buffer; call the bundle itself")
    shape = []
    for dim in tensor.shape:
        size = sizes.get(dim) if isinstance(dim, str) else dim
        if type(size) is not int or size < 0:
            raise InputError(
                f"{function}: the size of {dim!r} in {tensor.name} {shape_text(tensor.shape)} must be given"
            )
        shape.append(size)
    return np.zeros(shape, tensor.dtype)
