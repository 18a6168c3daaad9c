"""What is drawn from samples has what all of them have in common: one row is a property and samples that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.gate.sampling.given import read_samples
from pullback_export.gate.sampling.resampling import Resampler, jittered
from pullback_export.gate.sampling.resizing import resized
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
ROOTS = RNG.normal(size=(5, 4, 4))
SHARES = RNG.dirichlet(np.ones(4), 5)
ROTATIONS = np.linalg.qr(ROOTS)[0]
UNITS = ROOTS[..., 0] / np.linalg.norm(ROOTS[..., 0], axis=-1, keepdims=True)


def is_positive_definite(array: Array) -> bool:
    return bool((np.linalg.eigvalsh(array) > 0).all()) and is_symmetric(array)


def is_symmetric(array: Array) -> bool:
    return np.allclose(array, np.swapaxes(array, -1, -2), rtol=1e-6, atol=0)


def within(low: float, high: float) -> Callable[[Array], bool]:
    return lambda array: bool(((array >= low) & (array <= high)).all())


def sums_to_one(array: Array) -> bool:
    return np.allclose(array.sum(-1), 1) and bool((array >= 0).all())


def is_mask(array: Array) -> bool:
    return bool(np.isin(array, (0, 1)).all())


def is_one_hot(array: Array) -> bool:
    return is_mask(array) and bool((array.sum(-1) == 1).all())


def is_sorted(array: Array) -> bool:
    return bool((np.diff(array, axis=-1) >= 0).all())


def is_rotation(array: Array) -> bool:
    return np.allclose(array @ np.swapaxes(array, -1, -2), np.eye(4), atol=1e-3)


LAWS: list[tuple[str, Array, Callable[[Array], bool]]] = [
    ("positive definite", ROOTS @ np.swapaxes(ROOTS, -1, -2) + np.eye(4), is_positive_definite),
    ("symmetric", ROOTS + np.swapaxes(ROOTS, -1, -2), is_symmetric),
    ("positive, from tiny to large", np.exp(5 * ROOTS[..., 0]), lambda array: bool((array > 0).all())),
    ("in [0, 1]", RNG.uniform(0, 1, (5, 4)), within(0, 1)),
    ("in the range of the samples", ROOTS[..., 0], within(ROOTS[..., 0].min(), ROOTS[..., 0].max())),
    ("probabilities", SHARES, sums_to_one),
    ("a mask", (SHARES > 0.2).astype(float), is_mask),
    ("one-hot", np.eye(4)[[0, 3, 1, 1, 2]], is_one_hot),
    ("sorted", np.sort(ROOTS[..., 0], -1), is_sorted),
    ("constant", np.full((5, 4), 7.5), lambda array: bool((np.abs(array - 7.5) <= 0.2).all())),
    ("lower triangular", np.tril(ROOTS), lambda array: not np.triu(array, 1).any()),
    ("padded with zeros", ROOTS[..., 0] * [1, 1, 0, 0], lambda array: not array[..., 2:].any()),
]


def resampler(**arrays: Array) -> Resampler:
    specs = tuple(tf.TensorSpec([None, *array.shape[1:]], array.dtype, name) for name, array in arrays.items())
    source = Source("function", specs, ("y",), lambda *tensors: tensors, True)
    return Resampler(source, read_samples(source, arrays))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("samples", "law"), [row[1:] for row in LAWS], ids=[row[0] for row in LAWS])
def test_rows_drawn_from_samples_keep_what_these_have_in_common(
    samples: Array, law: Callable[[Array], bool], dtype: str
) -> None:
    drawer = resampler(x=samples.astype(dtype))
    for rows in (0, 1, 2, 7, 40):
        drawn = drawer.draw("usual", rows, {}, rows)["x"]
        assert drawn.dtype == dtype
        assert drawn.shape == (rows, *samples.shape[1:])
        assert law(drawn)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("samples", "law"),
    [
        *(row[1:] for row in LAWS),
        (ROTATIONS, is_rotation),
        (UNITS, lambda a: np.allclose(np.linalg.norm(a, axis=-1), 1)),
    ],
    ids=[*(row[0] for row in LAWS), "rotations", "directions"],
)
def test_a_single_sample_keeps_what_it_is_when_it_moves(
    samples: Array, law: Callable[[Array], bool], dtype: str
) -> None:
    for sample in samples.astype(dtype):
        moved = jittered(sample, np.random.default_rng(0))
        assert moved.dtype == dtype
        assert law(moved)
        np.testing.assert_allclose(moved, sample, rtol=0.1)
    drawn = resampler(x=samples[:1].astype(dtype)).draw("usual", 7, {}, 0)["x"]
    assert drawn.shape == (7, *samples.shape[1:])
    assert law(drawn)


def test_rows_move_and_are_not_far_from_samples() -> None:
    x = ROOTS[..., 0]
    drawn = resampler(x=x).draw("usual", 7, {}, 0)["x"]
    distance = np.abs(drawn[:, None] - x[None]).max(-1)
    assert (distance.min(1) > 0).all()
    assert (distance.min(1) <= 0.1 * np.ptp(x, axis=0).max()).all()


def test_the_inputs_of_a_row_stay_together() -> None:
    """Whole numbers are those of a row of the samples, and the floats beside them are near those of the same row."""
    ids = np.arange(100)
    drawn = resampler(x=ids.astype(float), ids=ids).draw("usual", 40, {}, 0)
    assert np.isin(drawn["ids"], ids).all()
    assert (np.abs(drawn["x"] - drawn["ids"]) <= 0.1 * 99).all()
    assert (np.diff(drawn["ids"]) > 0).all()


def test_zeros_and_large_values_leave_whole_numbers_and_masks_alone() -> None:
    drawer = resampler(x=ROOTS[..., 0], ids=np.arange(5), mask=np.eye(5))
    for kind, law in (("zeros", lambda x: not x.any()), ("large", lambda x: np.abs(x).max() > 20)):
        drawn = drawer.draw(kind, 2, {}, 0)
        assert law(drawn["x"])
        assert is_one_hot(drawn["mask"])
        assert np.isin(drawn["ids"], np.arange(5)).all()


def test_what_is_not_finite_stays() -> None:
    x = np.array([[1.0, np.nan], [2.0, np.inf], [3.0, -np.inf]])
    drawn = resampler(x=x).draw("usual", 30, {}, 0)["x"]
    assert np.isfinite(drawn[:, 0]).all()
    assert not np.isfinite(drawn[:, 1]).any()


NAMES = {"x": ("n", 2), "ids": ("n",), "index": ("m",), "splits": ("k",), "matrix": ("n", "n")}
SIZED = {
    "x": np.arange(10.0).reshape(5, 2),
    "ids": np.array([0, 0, 1, 2, 2]),
    "index": np.array([0, 4, 2]),
    "splits": np.array([0, 2, 5]),
    "matrix": (ROOTS[0] @ ROOTS[0].T + np.eye(4))[[0, 1, 2, 3, 3]][:, [0, 1, 2, 3, 3]] + np.diag([0, 0, 0, 0, 1.0]),
}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 11, 13])
def test_other_sizes(size: int) -> None:
    found = resized(SIZED, NAMES, {"n": size}, True)
    assert {name: array.shape for name, array in found.items()} == {
        "x": (size, 2), "ids": (size,), "index": (3,), "splits": (3,), "matrix": (size, size)
    }  # fmt: skip
    assert is_sorted(found["ids"])
    assert is_sorted(found["x"].T)
    assert is_sorted(found["splits"])
    assert found["splits"][-1] == size
    assert within(0, size - 1)(found["index"])
    assert is_positive_definite(found["matrix"])
    kept = resized(SIZED, NAMES, {"n": size}, False)
    np.testing.assert_array_equal(kept["index"], SIZED["index"])


def test_probabilities_of_another_size() -> None:
    for size in (2, 3, 7, 9):
        found = resized({"x": SHARES}, {"x": ("B", "n")}, {"n": size}, False)["x"]
        assert found.shape == (5, size)
        assert sums_to_one(found)


def test_infinities_stay_what_they_are() -> None:
    """Between two of them lies a NaN, which the caller did not give."""
    array = np.array([-np.inf, np.inf, 1.0, np.inf])
    for size in (2, 5, 7, 13):
        found = resized({"x": array}, {"x": ("n",)}, {"n": size}, False)["x"]
        assert found.shape == (size,)
        assert not np.isnan(found).any()
