"""Each domain is what its name says, of any shape, and the search finds one that the model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError
from pullback_export.gate.sampling.domain_search import MOST_TRIES, search
from pullback_export.gate.sampling.domains import domains_of
from pullback_export.gate.sampling.given import Given
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
LAWS: dict[str, Callable[[Array], bool]] = {
    "normal": lambda x: bool((x < 0).any() and (x > 0).any()),
    "uniform in (0, 1)": lambda x: bool(((x > 0) & (x < 1)).all()),
    "positive": lambda x: bool((x > 0).all()),
    "sums of one": lambda x: np.allclose(x.sum(-1), 1) and bool((x > 0).all()),
    "one-hot": lambda x: bool(np.isin(x, (0, 1)).all() and (x.sum(-1) == 1).all()),
    "sorted": lambda x: bool((np.diff(x, axis=-1) >= 0).all()),
    "sorted and positive": lambda x: bool((np.diff(x, axis=-1) >= 0).all() and (x > 0).all()),
    "directions": lambda x: np.allclose(np.linalg.norm(x, axis=-1), 1),
    "above 1": lambda x: bool((x > 1).all()),
    "negative": lambda x: bool((x < 0).all()),
    "whole numbers": lambda x: bool((x == np.round(x)).all()),
    "up to 255": lambda x: bool(((x >= 0) & (x <= 255)).all() and x.max() > 100),
    "close to 0": lambda x: bool((np.abs(x) < 0.1).all()),
    "symmetric positive definite": lambda x: bool((np.linalg.eigvalsh(x) > 0.5).all()),
    "well-conditioned": lambda x: bool((np.linalg.cond(x) < 100).all()),
    "symmetric": lambda x: np.array_equal(x, np.swapaxes(x, -1, -2)),
    "0 or 1": lambda x: bool(np.isin(x, (0, 1)).all()),
    "sorted from 0": lambda x: bool((x[..., 0] == 0).all() and np.isin(np.diff(x, axis=-1), (0, 1)).all()),
    "zeros": lambda x: not x.any(),
    "1 or 2": lambda x: bool(np.isin(x, (1, 2)).all()),
    "permutations": lambda x: bool((np.sort(x, -1) == np.arange(x.shape[-1])).all()),
    "2 to 7": lambda x: bool(((x >= 2) & (x <= 7)).all()),
    "random": lambda x: x.dtype == bool,
    "true": lambda x: bool(x.all()),
    "padded": lambda x: bool(x[..., 0].all() and (np.diff(x.astype(int), axis=-1) <= 0).all()),
    "false": lambda x: not x.any(),
    "lengths along axis 1 of other": lambda x: bool(((x >= 1) & (x <= 9)).all()),
    "indices along axis 1 of other": lambda x: bool(((x >= 0) & (x < 9)).all()),
    "row splits along axis 1 of other": lambda x: bool(
        (x[..., 0] == 0).all() and (x[..., -1] == 9).all() and (np.diff(x, axis=-1) >= 0).all()
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_domains_are_what_their_names_say(dtype: str) -> None:
    spec = tf.TensorSpec([None, 4, 4], dtype, "x")
    domains = domains_of(spec, 1, {"other": [1]})
    assert len({domain.name for domain in domains}) == len(domains)
    for domain in domains:
        drawn = domain.draw(np.random.default_rng(0), (6, 4, 4), 9)
        assert drawn.shape == (6, 4, 4)
        assert LAWS[domain.name](drawn), domain.name
        assert domain.draw(np.random.default_rng(0), (0, 4, 4), 9).shape == (0, 4, 4)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_domains_of_scalars(dtype: str) -> None:
    for domain in domains_of(tf.TensorSpec([], dtype, "x"), 0, {"other": [0, 1]}):
        assert np.shape(domain.draw(np.random.default_rng(0), (), 9)) == (), domain.name


def source_of(call: Callable[..., Any], *inputs: tf.TensorSpec, batched: bool = True) -> Source:
    return Source("function", inputs, ("y",), lambda *tensors: (call(*tensors),), batched)


def required(condition: Any, result: Any) -> Any:
    tf.debugging.assert_equal(condition, True)
    return result


X, M, K, J = (
    tf.TensorSpec([None, 4], tf.float32, "x"), tf.TensorSpec([None, 3, 3], tf.float32, "m"),
    tf.TensorSpec([None, 4], tf.int32, "i"), tf.TensorSpec([None], tf.int32, "j"),
)  # fmt: skip
FOUND: list[tuple[Callable[..., Any], tuple[tf.TensorSpec, ...], str]] = [
    (lambda x: x, (X,), "x: normal"),
    (lambda x: tf.math.log(x), (X,), "x: uniform in (0, 1)"),
    (lambda x: tf.math.acosh(x), (X,), "x: above 1"),
    (lambda x: tf.sqrt(-x), (X,), "x: negative"),
    (lambda x: required(tf.reduce_all(x >= 1), x), (X,), "x: above 1"),
    (lambda x: required(tf.reduce_all(tf.abs(tf.reduce_sum(x, -1) - 1) < 1e-4), x), (X,), "x: sums of one"),
    (lambda x: required(tf.reduce_all(x * (x - 1) == 0), x), (X,), "x: one-hot"),
    (lambda m: tf.linalg.cholesky(m), (M,), "m: symmetric positive definite"),
    (lambda x, m: x[:, 0] * tf.linalg.logdet(m) + tf.reduce_sum(tf.sqrt(x), 1), (X, M),
     "x: uniform in (0, 1); m: symmetric positive definite"),
    (lambda i: required(tf.reduce_all(i[:, 1:] >= i[:, :-1]), i), (K,), "i: sorted from 0"),
    (lambda x, i: required(tf.reduce_all(i > 0), tf.math.log(x)), (X, K), "x: uniform in (0, 1); i: 1 or 2"),
    (lambda x, j: required(tf.reduce_max(j) > 2, tf.gather(x, j - 1, axis=1)), (X, J),
     "x: normal; j: lengths along axis 1 of x"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "inputs", "found"), FOUND, ids=[row[2] for row in FOUND])
def test_the_first_domain_that_the_model_takes(call: Any, inputs: tuple[tf.TensorSpec, ...], found: str) -> None:
    assert str(search(source_of(call, *inputs), None)) == found


def test_what_the_caller_gives_is_kept() -> None:
    source = source_of(
        lambda x, j: required(tf.reduce_all(x == 7), tf.math.log(x) * tf.cast(j, x.dtype)[:, None]), X, J
    )
    drawn = search(source, Given("samples", {"x": np.full((3, 4), 7, np.float32)})).draw("usual", 5, {}, 0)
    assert (drawn["x"] == 7).all()
    assert drawn["j"].shape == (5,)


def test_a_search_ends_and_says_what_the_model_says() -> None:
    calls = []

    def call(*tensors: Any) -> Any:
        calls.append(1)
        raise RuntimeError("only on\nTuesdays")

    problem = r"RuntimeError: only on Tuesdays; pass samples=\{'x': \.\.\., 'm': \.\.\., 'i': \.\.\.\} that it accepts"
    with pytest.raises(ExportError, match=problem):
        search(source_of(call, X, M, K), None)
    assert len(calls) <= MOST_TRIES


def test_nan_everywhere_does_not_end_an_export() -> None:
    assert str(search(source_of(lambda x: x * np.nan, X), None)) == "x: normal"
