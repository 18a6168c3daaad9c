"""Occlusion: the loss in the output when a part of the input is covered. It needs no derivative, and checks them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.explain.target import Of, Target


def occlusion(
    bundle: Bundle,
    x: Any,
    of: Of,
    wrt: str | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    window: int | Sequence[int] = 1,
    stride: int | Sequence[int] | None = None,
    fill: float = 0.0,
) -> Array:
    """``of(x) - of(x covered)``, averaged over the windows that cover a component; float64, in the shape of ``x``.

    Zeiler and Fergus 2014. For a linear output and windows of one component, it equals ``x * gradient``.

    Args:
        bundle, x, of, wrt, given: see :class:`~pullback.explain.target.Target`.
        window: its size along each axis of a sample; one number: along each but the last of a picture ``(H, W, C)``
            (all channels are covered together), along each axis otherwise.
        stride: from window to window; by default the size of the window. The last window ends at the edge.
        fill: the value inside the window.
    """
    target = Target(bundle, x, of, wrt, given)
    shape = target.x.shape[1:]
    sizes = _sizes(window, shape, "window")
    steps = sizes if stride is None else _sizes(stride, shape, "stride")
    whole = target.value(target.x, target.rows)
    total, count = np.zeros_like(target.x), np.zeros(shape)
    for corner in itertools.product(*map(_starts, shape, sizes, steps)):
        at = tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))
        covered = target.x.copy()
        covered[:, *at] = fill
        lost = whole - target.value(covered, target.rows)
        total[:, *at] += lost.reshape(-1, *(1,) * len(shape))
        count[at] += 1
    return target.shaped(total / np.maximum(count, 1))


def _sizes(given: int | Sequence[int], shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    if isinstance(given, int):
        picture = len(shape) == 3
        sizes = tuple(size if picture and axis == 2 else given for axis, size in enumerate(shape))
    else:
        sizes = tuple(given)
    if len(sizes) != len(shape) or any(size < 1 for size in sizes):
        raise InputError(f"{what} must be {len(shape)} positive sizes, one for each axis of {shape}; got {given}")
    return tuple(min(size, extent) for size, extent in zip(sizes, shape, strict=True)) if what == "window" else sizes


def _starts(extent: int, size: int, step: int) -> list[int]:
    """Where windows begin along an axis, the last one at the edge."""
    last = extent - size
    return sorted({*range(0, last + 1, step), last})
