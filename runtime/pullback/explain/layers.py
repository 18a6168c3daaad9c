"""Grad-CAM: the regions of an image that an inner layer bases its evidence on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, NotExportedError
from pullback.explain.target import Of, Target


def grad_cam(
    bundle: Bundle, x: Any, of: Of, layer: str, wrt: str | None = None, given: Mapping[str, Any] | None = None
) -> Array:
    """``relu(sum over c of A[..., c] * mean of d of / d A[..., c])``, float64, ``(B, *places)`` of ``layer``.

    Selvaraju et al. 2017. ``A`` is the output of ``layer``, ``(B, *places, channels)``; the mean is over the places.
    The map has the resolution of the layer; ``plot`` stretches it over the picture.

    Args:
        bundle, x, of, wrt, given: see :class:`~pullback.explain.target.Target`.
        layer: the inner layer, as named in the request ``gradient(score, layer)``.

    Raises:
        NotExportedError: the bundle holds no derivative by ``layer``. InputError: ``layer`` has no places.
    """
    target = Target(bundle, x, of, wrt, given)
    if layer not in {tensor.name for tensor in target.spec.outputs}:
        text = of if isinstance(of, str) else next(iter(of), "y")
        raise NotExportedError(f"the bundle knows no layer {layer!r}; export it with 'gradient({text}, {layer})'")
    gradient = target.gradient(target.x, target.rows, by=layer)
    if gradient.ndim < 3:
        raise InputError(
            f"{layer!r} is {gradient.shape[1:]} a row: Grad-CAM needs positions and channels; name"
            " a convolutional layer"
        )
    weights = gradient.mean(tuple(range(1, gradient.ndim - 1)))
    activation = target.activation(layer, target.x, target.rows)
    return target.shaped(np.maximum(np.einsum("b...c,bc->b...", activation, weights), 0))
