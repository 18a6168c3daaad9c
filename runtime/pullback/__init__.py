"""Evaluate a trained model and its derivatives from a bundle, with NumPy and ONNX Runtime alone."""

from __future__ import annotations

from pullback.bundle import Bundle, load
from pullback.calls.guards import RangeWarning
from pullback.errors import (
    BundleError,
    FormatVersionError,
    InputError,
    MissingDependencyError,
    NotExportedError,
    PullbackError,
)
from pullback.flat import Flat
from pullback.function import Function
from pullback.manifest import DerivativeSpec, FunctionSpec, Manifest, TensorSpec, Tolerance
from pullback.parity import ParityError, Report, compare
from pullback.prepared import Prepared

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleError",
    "DerivativeSpec",
    "Flat",
    "FormatVersionError",
    "Function",
    "FunctionSpec",
    "InputError",
    "Manifest",
    "MissingDependencyError",
    "NotExportedError",
    "ParityError",
    "Prepared",
    "PullbackError",
    "RangeWarning",
    "Report",
    "TensorSpec",
    "Tolerance",
    "compare",
    "load",
]
