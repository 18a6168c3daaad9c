"""What inputs may look like where the caller gives no samples: a table of distributions, the usual one first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.gate.sampling import drawn_strings

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], Array]


@dataclasses.dataclass(frozen=True)
class Domain:
    """Values of one input: ``draw(rng, shape, size)``, where ``size`` is that of the axis ``counts``, if any.

    ``counts`` is ``(input, axis)`` of another input that these whole numbers count along: lengths, row splits, indices.
    """

    name: str
    draw: Callable[[np.random.Generator, Shape, int], Array]
    counts: tuple[str, int] | None = None


def domains_of(spec: Any, lead: int, others: Mapping[str, Sequence[int]], known: Sequence[str] = ()) -> list[Domain]:
    """The domains to try for an input, in this order.

    ``lead`` counts its batch axes; ``others`` are the axes of the inputs besides it, without those of the batch.
    ``known`` are the strings that the model tells apart in an input of strings.
    """
    if spec.dtype.name == "string":
        return [Domain(name, _sizeless(draw)) for name, draw in drawn_strings.draws(known)]
    if spec.dtype.is_floating:
        shape = spec.shape.as_list()
        plain = [Domain(name, _sizeless(draw)) for name, draw in _FLOATS]
        if len(shape) - lead < 1:
            plain = [item for item in plain if item.name not in _VECTORS]
        if len(shape) - lead >= 2 and shape[-1] == shape[-2]:
            plain[1:1] = [Domain(name, _where_square(draw)) for name, draw in _MATRICES]
        return plain
    if not spec.dtype.is_integer:
        return [Domain(name, _sizeless(draw)) for name, draw in _BOOLEANS]
    found = [Domain(name, _sizeless(draw)) for name, draw in _INTEGERS]
    for name, axes in others.items():
        for axis in axes:
            found += [Domain(f"{label} along axis {axis} of {name}", draw, (name, axis)) for label, draw in _COUNTS]
    return found


def _sizeless(draw: Draw) -> Callable[[np.random.Generator, Shape, int], Array]:
    return lambda rng, shape, size: draw(rng, shape)


def _where_square(draw: Draw) -> Callable[[np.random.Generator, Shape, int], Array]:
    """Two free axes may have different sizes; then there are no such matrices."""
    return lambda rng, shape, size: draw(rng, shape) if shape[-1] == shape[-2] else rng.normal(size=shape)


def _symmetric(rng: np.random.Generator, shape: Shape) -> Array:
    root = rng.normal(size=shape)
    return np.asarray(root + np.swapaxes(root, -1, -2))


def _positive_definite(rng: np.random.Generator, shape: Shape) -> Array:
    root = rng.normal(size=shape)
    return np.asarray(root @ np.swapaxes(root, -1, -2) / max(shape[-1], 1) + np.eye(shape[-1]))


def _well_conditioned(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.normal(size=shape) / max(shape[-1], 1) ** 0.5 + 2 * np.eye(shape[-1]))


def _one_hot(rng: np.random.Generator, shape: Shape) -> Array:
    """A single one along the last axis."""
    chosen = rng.integers(0, max(shape[-1], 1), shape[:-1])
    return np.asarray(np.arange(shape[-1]) == chosen[..., None], np.float64)


def _shares(rng: np.random.Generator, shape: Shape) -> Array:
    """Positive, with a sum of one along the last axis."""
    drawn = rng.uniform(0.2, 1, shape)
    return np.asarray(drawn / drawn.sum(-1, keepdims=True))


def _directions(rng: np.random.Generator, shape: Shape) -> Array:
    """Of length one along the last axis."""
    drawn = rng.normal(size=shape)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))


def _counted_up(rng: np.random.Generator, shape: Shape) -> Array:
    """0, 0, 1, 2, 2, ...: sorted along the last axis, without gaps, as ids of segments are."""
    steps = rng.integers(0, 2, shape)
    steps[..., :1] = 0
    return np.asarray(np.cumsum(steps, -1))


def _permutations(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)) if shape else np.zeros(shape)


def _padded_masks(rng: np.random.Generator, shape: Shape) -> Array:
    """True up to a length of one or more."""
    if not shape:
        return np.ones(shape, bool)
    lengths = rng.integers(1, shape[-1] + 1, shape[:-1]) if shape[-1] else np.zeros(shape[:-1], int)
    return np.asarray(np.arange(shape[-1]) < lengths[..., None])


def _splits(rng: np.random.Generator, shape: Shape, size: int) -> Array:
    """From 0 up to ``size``, sorted: where rows of different lengths begin and end."""
    drawn = np.sort(rng.integers(0, size + 1, shape), -1)
    drawn[..., :1], drawn[..., -1:] = 0, size
    return np.asarray(drawn)


_FLOATS: tuple[tuple[str, Draw], ...] = (
    ("normal", lambda rng, shape: np.asarray(rng.normal(size=shape))),
    ("uniform in (0, 1)", lambda rng, shape: np.asarray(rng.uniform(0.05, 0.95, shape))),
    ("positive", lambda rng, shape: np.asarray(rng.uniform(0.5, 2, shape))),
    ("sums of one", _shares),
    ("one-hot", _one_hot),
    ("sorted", lambda rng, shape: np.sort(rng.normal(size=shape), -1)),
    ("sorted and positive", lambda rng, shape: np.cumsum(rng.uniform(0.1, 1, shape), -1)),
    ("directions", _directions),
    ("above 1", lambda rng, shape: np.asarray(rng.uniform(1.1, 3, shape))),
    ("negative", lambda rng, shape: np.asarray(rng.uniform(-2, -0.5, shape))),
    ("whole numbers", lambda rng, shape: np.asarray(rng.integers(0, 2, shape), np.float64)),
    ("up to 255", lambda rng, shape: np.asarray(rng.uniform(0, 255, shape))),
    ("close to 0", lambda rng, shape: np.asarray(rng.normal(size=shape) / 100)),
)
_VECTORS = ("sums of one", "one-hot", "sorted", "sorted and positive", "directions")
_MATRICES: tuple[tuple[str, Draw], ...] = (
    ("symmetric positive definite", _positive_definite),
    ("well-conditioned", _well_conditioned),
    ("symmetric", _symmetric),
)
_INTEGERS: tuple[tuple[str, Draw], ...] = (
    ("0 or 1", lambda rng, shape: np.asarray(rng.integers(0, 2, shape))),
    ("sorted from 0", lambda rng, shape: _counted_up(rng, shape) if shape else np.zeros(shape, int)),
    ("zeros", lambda rng, shape: np.zeros(shape, int)),
    ("1 or 2", lambda rng, shape: np.asarray(rng.integers(1, 3, shape))),
    ("permutations", _permutations),
    ("2 to 7", lambda rng, shape: np.asarray(rng.integers(2, 8, shape))),
)
_COUNTS: tuple[tuple[str, Callable[[np.random.Generator, Shape, int], Array]], ...] = (
    ("lengths", lambda rng, shape, size: np.asarray(rng.integers(1, max(size, 1) + 1, shape))),
    ("indices", lambda rng, shape, size: np.asarray(rng.integers(0, max(size, 1), shape))),
    ("row splits", lambda rng, shape, size: _splits(rng, shape, size) if shape else np.full(shape, size)),
)
_BOOLEANS: tuple[tuple[str, Draw], ...] = (
    ("random", lambda rng, shape: np.asarray(rng.integers(0, 2, shape), bool)),
    ("true", lambda rng, shape: np.ones(shape, bool)),
    ("padded", _padded_masks),
    ("false", lambda rng, shape: np.zeros(shape, bool)),
)
