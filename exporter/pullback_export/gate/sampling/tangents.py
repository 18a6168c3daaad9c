"""Directions in which inputs of some kind may move: symmetric matrices stay symmetric."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def is_symmetric(array: Array) -> bool:
    """Whether these are matrices, on the last two axes, that equal their transposes up to rounding."""
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.shape[-1] < 2 or not array.size:
        return False
    return np.allclose(array, np.swapaxes(array, -1, -2), rtol=1e-5, atol=0, equal_nan=True)


def tangent(array: Array, direction: Array) -> Array:
    """``direction``, symmetric where ``array`` is.

    What reads one triangle of a symmetric matrix (``tf.linalg.cholesky``, ``eigh``) has a gradient that says how it
    changes along symmetric directions, and says nothing of others.
    """
    if direction.shape != array.shape or not is_symmetric(array) or not array.any():
        return direction
    return np.asarray((direction + np.swapaxes(direction, -1, -2)) / 2, direction.dtype)
