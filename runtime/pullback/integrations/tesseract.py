"""A bundle as a Tesseract, a differentiable component in a container. Needs ``pip install "pullback[tesseract]"``.

See https://docs.pasteurlabs.ai/projects/tesseract-core . ``docs/howto/simulators.md`` has the ``tesseract_api.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError
from pullback.integrations.one_sample import OneSample

try:
    import tesseract_core.runtime as tesseract
    from pydantic import BaseModel, create_model
except (ImportError, SystemExit) as error:  # without its extra `runtime` tesseract-core ends the process
    raise MissingDependencyError('tesseract-core is needed: pip install "pullback[tesseract]"') from error

_DTYPES = {"float16": "Float16", "float32": "Float32", "float64": "Float64"}


class BundleTesseract:
    """The functions of a ``tesseract_api.py`` and bases of its ``InputSchema`` and ``OutputSchema``; one sample.

    Args:
        bundle: the bundle; axes besides the batch are fixed. A request for a derivative that it does not hold
            raises ``NotExportedError``.
        given: inputs that do not vary, by name.
        of: the outputs; all where omitted.

    Raises:
        InputError: an axis besides the batch is free, or an input or output is no float.
    """

    def __init__(self, bundle: Bundle, given: Mapping[str, Any] | None = None, of: Sequence[str] | None = None) -> None:
        self._sample = OneSample(bundle, given, of)
        self.InputSchema: Any = self._schema("InputSchema", self._sample.inputs)
        self.OutputSchema: Any = self._schema("OutputSchema", self._sample.outputs)

    def _schema(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        fields: dict[str, Any] = {}
        for key, shape in shapes.items():
            if self._sample.dtypes[key] not in _DTYPES:
                raise InputError(f"{key} is {self._sample.dtypes[key]}, and a Tesseract differentiates floats; see of=")
            scalar = getattr(tesseract, _DTYPES[self._sample.dtypes[key]])
            fields[key] = tesseract.Differentiable[tesseract.Array[shape, scalar]], ...
        return create_model(name, __base__=BaseModel, **fields)

    def apply(self, inputs: Any) -> dict[str, Array]:
        """The outputs at ``inputs``, by name."""
        return {name: self._cast(name, array) for name, array in self._sample.value(_point(inputs)).items()}

    def jacobian(
        self, inputs: Any, jac_inputs: Collection[str], jac_outputs: Collection[str]
    ) -> dict[str, dict[str, Array]]:
        """``{output: {input: array of output.shape + input.shape}}``."""
        point = _point(inputs)
        return {
            of: {wrt: self._cast(of, self._sample.jacobian(point, of, wrt)) for wrt in jac_inputs} for of in jac_outputs
        }

    def jacobian_vector_product(
        self, inputs: Any, jvp_inputs: Collection[str], jvp_outputs: Collection[str], tangent_vector: Mapping[str, Any]
    ) -> dict[str, Array]:
        """``{output: the sum, over inputs, of Jacobian times tangent}``."""
        point = _point(inputs)
        return {
            of: self._cast(of, sum(self._sample.jvp(point, of, wrt, tangent_vector[wrt]) for wrt in jvp_inputs))
            for of in jvp_outputs
        }

    def vector_jacobian_product(
        self,
        inputs: Any,
        vjp_inputs: Collection[str],
        vjp_outputs: Collection[str],
        cotangent_vector: Mapping[str, Any],
    ) -> dict[str, Array]:
        """``{input: the sum, over outputs, of cotangent times Jacobian}``."""
        point = _point(inputs)
        return {
            wrt: self._cast(wrt, sum(self._sample.vjp(point, of, wrt, cotangent_vector[of]) for of in vjp_outputs))
            for wrt in vjp_inputs
        }

    def abstract_eval(self, abstract_inputs: Any) -> dict[str, dict[str, Any]]:
        """Shapes and dtypes of the outputs, which do not depend on the inputs."""
        return {
            name: {"shape": shape, "dtype": self._sample.dtypes[name]} for name, shape in self._sample.outputs.items()
        }

    def _cast(self, name: str, array: Any) -> Array:
        return np.asarray(array, self._sample.dtypes[name])


def _point(inputs: Any) -> dict[str, Array]:
    return {name: np.asarray(getattr(inputs, name)) for name in type(inputs).model_fields}
