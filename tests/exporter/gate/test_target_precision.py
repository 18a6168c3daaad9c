"""``precision=``: a model in a higher precision than its own, with the weights that it was trained to."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, PrecisionError, export

layers = keras.layers
REQUESTS = ("jacobian(y, x)", "vjp(y, x)", "jvp(y, x)")
X = np.random.default_rng(0).normal(size=(5, 3))


def network(dtype: str) -> keras.Model:
    """Smooth, so that half precision is a small error in every derivative."""
    keras.utils.set_random_seed(1)
    stack = [
        layers.Dense(6, "tanh", dtype=dtype),
        layers.Dense(4, "sigmoid", dtype=dtype),
        layers.Dense(2, dtype=dtype),
    ]
    model = keras.Sequential([keras.Input((3,), dtype="float32" if "mixed" in dtype else dtype, name="x"), *stack])
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=item.shape).astype("float32") for item in model.get_weights()])
    return model


def recurrent(dtype: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    steps = layers.Reshape((3, 1), dtype=dtype)
    start = keras.Input((3,), dtype="float32" if "mixed" in dtype else dtype, name="x")
    return keras.Model(start, layers.Dense(2, dtype=dtype)(layers.LSTM(3, dtype=dtype)(steps(start))))


def rebuilt(build: Callable[[str], keras.Model], dtype: str) -> tuple[keras.Model, Any, Any]:
    """The same weights in a model of float64, its values and its Jacobian at ``X``."""
    narrow, wide = build(dtype), build("float64")
    wide.set_weights([np.asarray(item, np.float64) for item in narrow.get_weights()])
    point = tf.constant(X)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(point)
        y = wide(point)
    return narrow, y.numpy(), tape.batch_jacobian(y, point, experimental_use_pfor=False).numpy()


@dataclasses.dataclass(frozen=True)
class Row:
    build: Callable[[str], keras.Model]
    dtype: str
    precision: str
    bound: float


ROWS = (
    Row(network, "float32", "float64", 1e-13),
    Row(recurrent, "float32", "float64", 1e-13),
    Row(network, "mixed_float16", "float32", 1e-6),
    Row(network, "mixed_bfloat16", "float32", 1e-6),
    Row(network, "float16", "float32", 1e-6),
    Row(network, "bfloat16", "float64", 1e-13),
    Row(recurrent, "mixed_float16", "float64", 1e-13),
)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.build.__name__}-{row.dtype}-{row.precision}" for row in ROWS])
def test_the_bundle_is_the_model_rebuilt(row: Row, tmp_path: pathlib.Path) -> None:
    model, y, jacobian = rebuilt(row.build, row.dtype)
    path = tmp_path / "it.pullback"
    requests = REQUESTS if row.build is network else REQUESTS[:1]
    bundle = export(model, path, requests, outputs=["y"], precision=row.precision)
    dtype = np.dtype(row.precision)
    v = np.ones((5, 2), dtype)
    for backend in ("onnx", "saved_model"):
        loaded = pullback.load(path, backend=backend)
        found = loaded(X.astype(dtype))
        assert {item.dtype for item in found} == {dtype}
        assert np.abs(found.y - y).max() < row.bound * np.abs(y).max()
        assert np.abs(found.dy_dx - jacobian).max() < row.bound * np.abs(jacobian).max()
        if row.build is not network:
            continue
        pulled = loaded.vjp(x=X.astype(dtype), adj_y=v).adj_x
        assert np.abs(pulled - jacobian.sum(1)).max() < 4 * row.bound * np.abs(jacobian).max()
    assert bundle.verify().ok
    kinds = {item.data_type for item in onnx.load(path / "evaluate.onnx").graph.initializer}
    other = onnx.TensorProto.FLOAT if row.precision == "float64" else onnx.TensorProto.DOUBLE
    assert not kinds & {other, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


def half_inside(x: Any) -> Any:
    return {"y": tf.cast(tf.tanh(tf.cast(x, tf.float16)), tf.float32)}


def test_a_function_with_half_precision_inside(tmp_path: pathlib.Path) -> None:
    inputs = [tf.TensorSpec([None, 3], tf.float32, name="x")]
    with pytest.raises(PrecisionError, match="precision='float32'"):
        export(half_inside, tmp_path / "it.pullback", REQUESTS, inputs=inputs)
    bundle = export(half_inside, tmp_path / "it.pullback", REQUESTS, inputs=inputs, precision="float32")
    x = X.astype(np.float32)
    np.testing.assert_allclose(bundle(x).y, np.tanh(X), rtol=1e-6)
    np.testing.assert_allclose(bundle.jvp(x=x, fwd_x=np.ones_like(x)).fwd_y, 1 / np.cosh(X) ** 2, rtol=1e-5)


def test_the_samples_may_be_more_exact_than_the_model(tmp_path: pathlib.Path) -> None:
    model, y, _ = rebuilt(network, "float32")
    bundle = export(
        model, tmp_path / "it.pullback", ["gradient(y[0], x)"], outputs=["y"], samples={"x": X}, precision="float64"
    )
    assert np.abs(bundle(X).y - y).max() < 1e-13


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_its_own_precision_changes_nothing(precision: str, tmp_path: pathlib.Path) -> None:
    model = network(precision)  # one: the graph says which layer a node comes from, by names that Keras counts up
    for name, word in (("with", precision), ("without", None)):
        export(model, tmp_path / f"{name}.pullback", REQUESTS, outputs=["y"], formats="onnx", precision=word)
    graphs = [(tmp_path / f"{name}.pullback" / "evaluate.onnx").read_bytes() for name in ("with", "without")]
    assert graphs[0] == graphs[1]


def test_what_cannot_be_had_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "it.pullback"
    with pytest.raises(ExportError, match="precision='half'"):
        export(network("float32"), path, precision="half")
    with pytest.raises(ExportError, match="never less precise"):
        export(network("float64"), path, precision="float32")
    volumes = [tf.TensorSpec([None, 4, 4, 4, 1], tf.float32, name="x")]
    with pytest.raises(PrecisionError, match=r"no float64 kernel of AvgPool3D \(1\)"):
        export(lambda x: tf.nn.avg_pool3d(x, 2, 2, "VALID"), path, inputs=volumes, precision="float64")
    assert list(tmp_path.iterdir()) == []


def test_the_graph_has_to_be_what_the_model_says(tmp_path: pathlib.Path) -> None:
    """A model that does something else when it is traced is no such graph."""

    def model(x: Any) -> Any:
        return {"y": tf.sin(x) if tf.executing_eagerly() else tf.sin(x) * 1.5}

    inputs = [tf.TensorSpec([None, 3], tf.float32, name="x")]
    with pytest.raises(pullback.ParityError, match="disagrees"):
        export(model, tmp_path / "it.pullback", ["vjp(y, x)"], inputs=inputs, precision="float64")
