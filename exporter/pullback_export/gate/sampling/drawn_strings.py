"""Inputs of strings where the caller gives none: what the model knows, what it does not, what is easily mistaken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

# Nothing, what is in no table, and more bytes than letters.
_OTHERS = ("", "no such string", "na\u00efve \u65e5\u672c \U0001f600 e\u0301")


def draws(known: Sequence[str]) -> tuple[tuple[str, Draw], ...]:
    """How to draw strings for a model that tells ``known`` apart, by name; the first reaches most of it."""
    if not known:
        return (("strings", lambda rng, shape: _filled(rng, shape, _OTHERS)),)
    return (
        ("strings that the model knows, and others", lambda rng, shape: _mixed(rng, shape, known)),
        ("strings that the model knows", lambda rng, shape: _filled(rng, shape, known)),
    )


def _mixed(rng: np.random.Generator, shape: tuple[int, ...], known: Sequence[str]) -> Array:
    """One half of each; one that is known occurs in other letters and with a space behind it, too."""
    count = int(np.prod(shape))
    one = known[int(rng.integers(len(known)))]
    own = _some(rng, known, count - count // 2)
    others = _some(rng, (*_OTHERS, one.swapcase(), f"{one} "), count // 2)
    return _shaped(list(rng.permutation(np.array([*own, *others], object))), shape)


def _filled(rng: np.random.Generator, shape: tuple[int, ...], among: Sequence[str]) -> Array:
    return _shaped(_some(rng, among, int(np.prod(shape))), shape)


def _some(rng: np.random.Generator, among: Sequence[str], count: int) -> list[str]:
    """``count`` of them in any order; none occurs twice before each has occurred once."""
    order = rng.permutation(len(among))
    return [among[order[number % len(among)]] for number in range(count)]


def _shaped(strings: Sequence[str], shape: tuple[int, ...]) -> Array:
    flat = np.empty(len(strings), object)
    flat[:] = strings
    return flat.reshape(shape)
