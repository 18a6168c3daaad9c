"""Models that take only some inputs export: with samples of the caller's, and without, in a domain that is found."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export

RNG = np.random.default_rng(0)
ROOTS = RNG.normal(size=(6, 3, 3))
POSITIVE_DEFINITE = ROOTS @ ROOTS.transpose(0, 2, 1) + np.eye(3)


class Row(NamedTuple):
    """``samples`` are valid inputs; ``batched`` as in :func:`export`."""

    name: str
    function: Callable[..., Any]
    request: str
    inputs: list[tf.TensorSpec]
    samples: dict[str, Any]
    batched: bool | None = None


def floats(*shape: int | None, name: str = "x") -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float64, name)


def whole(*shape: int | None, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.int32, name)


def segments(x: Any, ids: Any) -> Any:
    return {"y": tf.reduce_sum(tf.math.segment_sum(x, ids) ** 2)}


def gathered(x: Any, index: Any) -> Any:
    return {"y": tf.reduce_sum(tf.gather(x, index, batch_dims=1) ** 3, [1, 2])}


def permuted(x: Any, order: Any) -> Any:
    return {"y": tf.reduce_sum(tf.gather(x, tf.math.invert_permutation(order)) * tf.range(5, dtype=x.dtype) ** 2)}


def embedded(x: Any, index: Any) -> Any:
    table = tf.reshape(tf.range(200.0), [100, 2]) / 100
    return {"y": tf.reduce_sum(tf.cast(tf.nn.embedding_lookup(table, index), x.dtype), [1, 2]) * x**2}


def padded(x: Any, length: Any) -> Any:
    check = tf.debugging.assert_less_equal(length, tf.shape(x)[1])
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": tf.reduce_sum(tf.where(tf.sequence_mask(length, tf.shape(x)[1]), x, 0) ** 2, 1)}


def logarithm(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.math.log(x), -1)}


def asserted(x: Any) -> Any:
    check = tf.debugging.assert_greater(x, tf.constant(0.0, x.dtype))
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": tf.reduce_sum(x**2, -1)}


def interval(x: Any) -> Any:
    checks = [tf.debugging.assert_greater(x, tf.zeros([], x.dtype)), tf.debugging.assert_less(x, tf.ones([], x.dtype))]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return {"y": tf.reduce_sum(tf.math.log(x) + tf.math.log1p(-x), -1)}


def entropy(p: Any) -> Any:
    check = tf.debugging.assert_near(tf.reduce_sum(p, -1), tf.ones(tf.shape(p)[0], p.dtype), atol=1e-5, rtol=1e-5)
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": -tf.reduce_sum(p * tf.math.log(p), -1)}


def chosen(x: Any, kind: Any) -> Any:
    check = tf.debugging.assert_equal(tf.reduce_sum(kind, -1), tf.ones(tf.shape(kind)[0], kind.dtype))
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": tf.reduce_sum(kind * tf.sin(x), -1)}


def interpolated(x: Any) -> Any:
    check = tf.debugging.assert_non_negative(x[:, 1:] - x[:, :-1])
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": tf.reduce_sum((x[:, 1:] - x[:, :-1]) ** 2, 1)}


def symmetric(m: Any) -> Any:
    check = tf.debugging.assert_near(m, tf.linalg.matrix_transpose(m))
    with tf.control_dependencies([check] if check is not None else []):
        return {"y": tf.reduce_sum(m**3, [1, 2])}


ROWS = [
    Row("segment ids", segments, "gradient(y, x)", [floats(None), whole(None, name="ids")],
        {"x": np.linspace(1, 2, 6), "ids": [0, 0, 1, 2, 2, 2]}, False),
    Row("segments of ones", segments, "gradient(y, x)", [floats(None), whole(None, name="ids")],
        {"x": np.ones(6), "ids": [0, 0, 1, 2, 2, 2]}, False),
    Row("indices", gathered, "gradient(y, x)", [floats(None, 4, 2), whole(None, 3, name="index")],
        {"x": RNG.normal(size=(5, 4, 2)), "index": RNG.integers(0, 4, (5, 3))}),
    Row("a permutation", permuted, "gradient(y, x)", [floats(5), whole(5, name="order")],
        {"x": RNG.normal(size=5), "order": [3, 1, 0, 4, 2]}, False),
    Row("large indices", embedded, "gradient(y, x)", [floats(None), whole(None, 2, name="index")],
        {"x": RNG.normal(size=4), "index": [[3, 99], [57, 58], [0, 1], [80, 2]]}),
    Row("lengths", padded, "gradient(y, x)", [floats(None, None), whole(None, name="length")],
        {"x": RNG.normal(size=(4, 6)), "length": [6, 2, 3, 1]}),
    Row("cholesky", lambda m: {"y": tf.linalg.cholesky(m)}, "vjp(y, m)", [floats(None, 3, 3, name="m")],
        {"m": POSITIVE_DEFINITE}),
    Row("cholesky, one sample", lambda m: {"y": tf.reduce_sum(tf.linalg.cholesky(m) ** 3)}, "gradient(y, m)",
        [floats(3, 3, name="m")], {"m": POSITIVE_DEFINITE[0]}, False),
    Row("cholesky of any size", lambda m: {"y": tf.reduce_sum(tf.linalg.cholesky(m) ** 3)}, "gradient(y, m)",
        [floats(None, None, name="m")], {"m": POSITIVE_DEFINITE[0]}, False),
    Row("log determinant", lambda m: {"y": tf.linalg.logdet(m)}, "gradient(y, m)", [floats(None, 3, 3, name="m")],
        {"m": POSITIVE_DEFINITE}),
    Row("inverse", lambda m: {"y": tf.linalg.inv(m)}, "jacobian(y, m)", [floats(None, 3, 3, name="m")],
        {"m": ROOTS + 3 * np.eye(3)}),
    Row("logarithm", logarithm, "hessian(y, x)", [floats(None, 3)], {"x": RNG.lognormal(size=(8, 3))}),
    Row("an assertion", asserted, "gradient(y, x)", [floats(None, 3)], {"x": RNG.lognormal(size=(8, 3))}),
    Row("an interval", interval, "gradient(y, x)", [floats(None, 3)], {"x": RNG.uniform(0, 1, (8, 3))}),
    Row("probabilities", entropy, "vjp(y, p)", [floats(None, 4, name="p")], {"p": RNG.dirichlet(np.ones(4), 6)}),
    Row("one-hot", chosen, "gradient(y, x)", [floats(None, 3), floats(None, 3, name="kind")],
        {"x": RNG.normal(size=(5, 3)), "kind": np.eye(3)[[0, 2, 1, 1, 0]]}),
    Row("sorted", interpolated, "gradient(y, x)", [floats(None, 5)], {"x": np.sort(RNG.normal(size=(6, 5)), 1)}),
    Row("symmetric", symmetric, "gradient(y, m)", [floats(None, 3, 3, name="m")],
        {"m": ROOTS + ROOTS.transpose(0, 2, 1)}),
]  # fmt: skip


def exported(row: Row, folder: pathlib.Path, samples: Any) -> pullback.Bundle:
    return export(
        row.function, folder / "it.pullback", [row.request], inputs=row.inputs, samples=samples, batched=row.batched,
        formats=("onnx",),
    )  # fmt: skip


def is_right(row: Row, bundle: pullback.Bundle) -> None:
    """The bundle says of the samples what TensorFlow says."""
    feeds = {spec.name: np.asarray(row.samples[spec.name], spec.dtype.as_numpy_dtype) for spec in row.inputs}
    want = row.function(**{name: tf.constant(array) for name, array in feeds.items()})["y"]
    np.testing.assert_allclose(bundle(**feeds).y, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_samples_of_the_callers_decide(row: Row, tmp_path: pathlib.Path) -> None:
    bundle = exported(row, tmp_path, row.samples)
    is_right(row, bundle)
    manifest = bundle.manifest
    assert manifest is not None
    assert not any("drawn at random" in note for note in manifest.parity["notes"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_without_samples_a_domain_is_found(row: Row, tmp_path: pathlib.Path) -> None:
    bundle = exported(row, tmp_path, None)
    is_right(row, bundle)
    manifest = bundle.manifest
    assert manifest is not None
    notes = manifest.parity["notes"]
    assert any("drawn at random" in note and "real samples would prove more" in note for note in notes)  # type: ignore[attr-defined]
