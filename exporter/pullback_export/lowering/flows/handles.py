"""Captured variables and constants, as they travel along the edges of a TensorFlow graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.precision import check_dtype

# What flows along an edge: a tensor, a complex tensor, or a compile-time object (a variable's handle, a list).
Flow = Any


@dataclasses.dataclass(frozen=True)
class ResourceHandle:
    """A variable that the function captured; reading it gives a constant."""

    tensor: Any


def contents(tensor: Any) -> np.ndarray[Any, Any]:
    """What an eager tensor holds, read-only: its own memory where it offers that, which ``numpy()`` would copy.

    TensorFlow does not write to a variable's memory while somebody holds it.
    """
    try:
        array = np.asarray(memoryview(tensor))
    except (TypeError, ValueError, BufferError):  # dtypes that NumPy has not, other devices
        return np.asarray(tensor.numpy())
    array.flags.writeable = False
    return array


def as_constant(graph: Graph, array: np.ndarray[Any, Any]) -> Flow:
    """A constant; complex numbers as a pair of real ones. Half precision is refused."""
    check_dtype(array.dtype)
    if array.dtype.kind == "c":
        return ComplexValue(graph.constant(array.real), graph.constant(array.imag))
    return graph.constant(array)
