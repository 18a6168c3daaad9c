"""A bundle as a model of UM-Bridge, for uncertainty quantification. Needs ``pip install "pullback[umbridge]"``.

See https://um-bridge-benchmarks.readthedocs.io . A server is one line more::

    umbridge.serve_models([UmbridgeModel(pullback.load("bowl.pullback"), "bowl")], 4242)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError
from pullback.integrations.one_sample import OneSample

try:
    import umbridge
except ImportError as error:
    raise MissingDependencyError('UM-Bridge is needed: pip install "pullback[umbridge]"') from error

Lists = Sequence[Sequence[float]]
Config = Mapping[str, Any]


class UmbridgeModel(umbridge.Model):  # type: ignore[misc]  # UM-Bridge has no types
    """Inputs and outputs of the model are UM-Bridge's vectors, by number, raveled in C order; one sample a request.

    ``evaluate`` is always there; ``gradient`` (a vjp), ``apply_jacobian`` (a jvp) and ``apply_hessian`` are where the
    bundle holds what every pair of an output and an input needs: a Jacobian is enough for the first two.

    Args:
        bundle: the bundle; axes besides the batch are fixed.
        name: of the model, as clients ask for it.
        given: inputs that do not vary, by name.
        of: the outputs, in UM-Bridge's order; all where omitted.

    Raises:
        InputError: an axis besides the batch is free, or an input is no float and not given.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str = "forward",
        given: Mapping[str, Any] | None = None,
        of: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name)
        self._sample = OneSample(bundle, given, of)
        self.input_names, self.output_names = tuple(self._sample.inputs), tuple(self._sample.outputs)
        self._can = {method: self._sample.can(method) for method in ("vjp", "jvp", "hvp")}

    def get_input_sizes(self, config: Config = {}) -> list[int]:  # noqa: B006  # as UM-Bridge's
        """How many components each input has."""
        return [math.prod(shape) for shape in self._sample.inputs.values()]

    def get_output_sizes(self, config: Config = {}) -> list[int]:  # noqa: B006
        """How many components each output has."""
        return [math.prod(shape) for shape in self._sample.outputs.values()]

    def __call__(self, parameters: Lists, config: Config = {}) -> list[list[float]]:  # noqa: B006
        """Every output at ``parameters``."""
        return [_list(array) for array in self._sample.value(self._point(parameters)).values()]

    def gradient(
        self,
        out_wrt: int,
        in_wrt: int,
        parameters: Lists,
        sens: Sequence[float],
        config: Config = {},  # noqa: B006
    ) -> list[float]:
        """``sens`` times the Jacobian of an output by an input."""
        return _list(self._sample.vjp(self._point(parameters), self._output(out_wrt), self._input(in_wrt), sens))

    def apply_jacobian(
        self,
        out_wrt: int,
        in_wrt: int,
        parameters: Lists,
        vec: Sequence[float],
        config: Config = {},  # noqa: B006
    ) -> list[float]:
        """The Jacobian of an output by an input times ``vec``."""
        return _list(self._sample.jvp(self._point(parameters), self._output(out_wrt), self._input(in_wrt), vec))

    def apply_hessian(
        self,
        out_wrt: int,
        in_wrt1: int,
        in_wrt2: int,
        parameters: Lists,
        sens: Sequence[float],
        vec: Sequence[float],
        config: Config = {},  # noqa: B006
    ) -> list[float]:
        """Second derivatives of ``sens`` times an output, by two inputs, times ``vec`` of the size of the second."""
        names = self._output(out_wrt), self._input(in_wrt1), self._input(in_wrt2)
        return _list(self._sample.hvp(self._point(parameters), *names, sens, vec))

    def supports_evaluate(self) -> bool:
        """Always."""
        return True

    def supports_gradient(self) -> bool:
        """Where the bundle holds a vjp or a Jacobian of every pair."""
        return self._can["vjp"]

    def supports_apply_jacobian(self) -> bool:
        """Where the bundle holds a jvp or a Jacobian of every pair."""
        return self._can["jvp"]

    def supports_apply_hessian(self) -> bool:
        """Where the bundle holds second derivatives of every output, of any kind."""
        return self._can["hvp"]

    def _output(self, number: int) -> str:
        return _numbered("output", self.output_names, number)

    def _input(self, number: int) -> str:
        return _numbered("input", self.input_names, number)

    def _point(self, parameters: Lists) -> dict[str, Array]:
        sizes = self.get_input_sizes()
        if [len(vector) for vector in parameters] != sizes:
            raise InputError(
                f"the inputs {', '.join(self.input_names)} have {sizes} components, got {[len(v) for v in parameters]}"
            )
        shapes = self._sample.inputs.items()
        return {name: np.reshape(vector, shape) for (name, shape), vector in zip(shapes, parameters, strict=True)}


def _numbered(what: str, names: Sequence[str], number: int) -> str:
    """UM-Bridge asks first for an output, then for an input."""
    if not 0 <= number < len(names):
        known = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
        raise InputError(f"there is no {what} {number}; the {what}s are {known}; the output comes before the inputs")
    return names[number]


def _list(array: Array) -> list[float]:
    found: list[float] = array.ravel().tolist()
    return found
