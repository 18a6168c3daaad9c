"""Optional guards of a call: ``check_finite`` and ``check_range``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError


class RangeWarning(UserWarning):
    """An input lies outside the range of the samples that parity was measured on."""


class Guard:
    """Looks at what goes into function ``name`` and at what comes out of it."""

    def __init__(self, name: str, finite: bool, ranged: str | None, ranges: Mapping[str, tuple[float, float]]) -> None:
        self._name = name
        self._finite = finite
        self._ranged = ranged
        self._ranges = dict(ranges) if ranged is not None else {}

    @property
    def idle(self) -> bool:
        """True when there is nothing to look at."""
        return not self._finite and not self._ranges

    def inputs(self, feeds: Mapping[str, Array]) -> None:
        """Raises ``InputError``, or warns with ``RangeWarning`` where that was chosen."""
        if self._finite:
            self._require_finite("input", feeds.items())
        for name, (low, high) in self._ranges.items():
            if name in feeds and feeds[name].size:
                self._check_range(name, feeds[name], low, high)

    def results(self, names: Iterable[str], arrays: Iterable[Array]) -> None:
        """Raises ``InputError`` when a result is not finite and ``check_finite`` is on."""
        if self._finite:
            self._require_finite("output", zip(names, arrays, strict=True))

    def _require_finite(self, what: str, items: Iterable[tuple[str, Array]]) -> None:
        for name, array in items:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                where = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
                raise InputError(f"{self._name}: {what} {name!r} is {array[where]} at {where}; check_finite is on")

    def _check_range(self, name: str, array: Array, low: float, high: float) -> None:
        least, largest = array.min(), array.max()
        if least >= low and largest <= high:
            return
        text = (
            f"{self._name}: input {name!r} spans [{least:g}, {largest:g}], parity was measured on [{low:g}, {high:g}]"
        )
        if self._ranged == "raise":
            raise InputError(f"{text}; check_range is on")
        warnings.warn(text, RangeWarning, stacklevel=4)
