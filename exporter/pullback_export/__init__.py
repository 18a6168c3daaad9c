"""Exports a Keras or TensorFlow model with its input derivatives; see :func:`export`."""

from pullback import onednn
from pullback.errors import MissingDependencyError

try:
    onednn.make_safe()  # before TensorFlow is imported
    import onnx as _onnx  # noqa: F401
    import tensorflow as _tensorflow  # noqa: F401
except ImportError as problem:
    raise MissingDependencyError(
        f'exporting needs TensorFlow and ONNX ({problem.name} is missing): pip install "pullback[export]"'
    ) from problem
except ValueError as problem:  # of Keras, which TensorFlow imports
    raise MissingDependencyError(
        f"Keras cannot start ({problem}): set KERAS_BACKEND=tensorflow before Python starts"
    ) from problem

from pullback_export.derivatives.kinds import (
    HVP,
    JVP,
    VJP,
    Derivative,
    Gradient,
    Hessian,
    Jacobian,
    Laplacian,
    Request,
    WeightedHessian,
)
from pullback_export.derivatives.requests import forces
from pullback_export.errors import ExportError, ParityWarning, PrecisionError, UnsupportedOpsError
from pullback_export.export import export
from pullback_export.gate.existing_bundle import assert_parity, compare
from pullback_export.lowering.own_rules import lowers, own_rules

__all__ = [
    "HVP",
    "JVP",
    "VJP",
    "Derivative",
    "ExportError",
    "Gradient",
    "Hessian",
    "Jacobian",
    "Laplacian",
    "MissingDependencyError",
    "ParityWarning",
    "PrecisionError",
    "Request",
    "UnsupportedOpsError",
    "WeightedHessian",
    "assert_parity",
    "compare",
    "export",
    "forces",
    "lowers",
    "own_rules",
]
