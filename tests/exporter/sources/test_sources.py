"""Whatever the user gives, live or from a file, gives the same numbers; what cannot be exported is refused by name."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, PrecisionError, export

REQUEST = ["jacobian(y, x)"]
X = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")


def network(*extra: Any, **options: Any) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, activation="tanh", **options), *extra, keras.layers.Dense(2, **options)]
    return keras.Sequential([keras.Input((3,), name="x"), *layers])


class Module(tf.Module):
    """A ``tf.Module`` around the network's numbers."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.weights = [tf.Variable(array) for array in model.get_weights()]

    def compute(self, x: Any) -> Any:
        first, bias, second, last = self.weights
        return tf.tanh(x @ first + bias) @ second + last


class Callable1(Module):
    __call__ = Module.compute


class Callable2(Module):
    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        return self.compute(x)


def keras_file(model: keras.Model, folder: pathlib.Path) -> Any:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def keras_saved_model(model: keras.Model, folder: pathlib.Path) -> Any:
    model.export(folder / "served", verbose=False)
    return folder / "served"


def module_saved_model(model: keras.Model, folder: pathlib.Path) -> Any:
    module = Callable2(model)
    tf.saved_model.save(module, str(folder / "served"), signatures=module.__call__)
    return str(folder / "served")


# name: what is given to export, its inputs=.
SOURCES: dict[str, tuple[Callable[[keras.Model, pathlib.Path], Any], Any]] = {
    "live model": (lambda model, folder: model, None),
    "path of a .keras file": (keras_file, None),
    "path of a .keras file as text": (lambda model, folder: str(keras_file(model, folder)), None),
    "module": (lambda model, folder: Callable1(model), [SPEC]),
    "module with a signature": (lambda model, folder: Callable2(model), None),
    "plain function": (lambda model, folder: Module(model).compute, [SPEC]),
    "lambda over a Keras model": (lambda model, folder: lambda x: model(x), [SPEC]),
    "tf.function": (lambda model, folder: tf.function(Module(model).compute), [SPEC]),
    "tf.function with a signature": (
        lambda model, folder: tf.function(Module(model).compute, input_signature=[SPEC]),
        None,
    ),
    "SavedModel of Keras": (keras_saved_model, None),
    "SavedModel of a module": (module_saved_model, None),
}


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    model, point = network(), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = model(point)
    return y.numpy(), tape.batch_jacobian(y, point).numpy()


@pytest.mark.parametrize("name", SOURCES)
def test_source(name: str, reference: Any, tmp_path: pathlib.Path) -> None:
    make, inputs = SOURCES[name]
    result = export(make(network(), tmp_path), tmp_path / "it.pullback", REQUEST, inputs=inputs)(x=X)
    for mine, live in zip((result.y, result.dy_dx), reference, strict=True):
        np.testing.assert_allclose(mine, live, rtol=0, atol=2e-6)


def test_bundle_does_not_need_its_source(tmp_path: pathlib.Path) -> None:
    path = keras_file(network(), tmp_path)
    bundle = export(path, tmp_path / "it.pullback", REQUEST)
    path.unlink()
    assert bundle.verify().ok


def test_batch_statistics_in_training_mode(tmp_path: pathlib.Path) -> None:
    model = network(keras.layers.BatchNormalization())
    model.layers[1].set_weights([np.full(4, value, np.float32) for value in (1.5, 0.2, 3.0, 9.0)])
    before = [array.copy() for array in model.get_weights()]
    bundle = export(model, tmp_path / "it.pullback", ["gradient(sum(y), x)"], training=True, samples={"x": X})
    point = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = model(point, training=True)
    gradient = tape.gradient(y, point)
    model.set_weights(before)
    np.testing.assert_allclose(bundle(X).y, y, rtol=0, atol=2e-5)
    np.testing.assert_allclose(bundle(X).dsum_y_dx, gradient, rtol=0, atol=2e-5)
    plain = export(model, tmp_path / "plain.pullback", REQUEST)
    assert np.abs(plain(X).y - y).max() > 0.1


def test_export_does_not_change_the_model(tmp_path: pathlib.Path) -> None:
    model = network(keras.layers.BatchNormalization())
    before = [array.copy() for array in model.get_weights()]
    export(model, tmp_path / "it.pullback", ["vjp(y, x)"], training=True, samples={"x": X}, formats="onnx")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("layer", [keras.layers.Dropout, keras.layers.GaussianDropout, keras.layers.GaussianNoise])
def test_random_layers_are_refused_by_name_in_training_mode(layer: Any, tmp_path: pathlib.Path) -> None:
    model = network(layer(0.5, name="the_random_one"))
    with pytest.raises(ExportError, match="the_random_one"):
        export(model, tmp_path / "it.pullback", REQUEST, training=True)
    assert list(tmp_path.iterdir()) == []
    export(model, tmp_path / "it.pullback", REQUEST, formats="onnx")


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_refused(policy: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(PrecisionError, match="float32"):
        export(network(dtype=policy), tmp_path / "it.pullback", REQUEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_function_is_refused(dtype: Any, tmp_path: pathlib.Path) -> None:
    with pytest.raises(PrecisionError, match=dtype.name):
        export(tf.tanh, tmp_path / "it.pullback", REQUEST, inputs=[tf.TensorSpec([None, 3], dtype, name="x")])


def test_half_precision_inside_is_refused(tmp_path: pathlib.Path) -> None:
    def function(x: Any) -> Any:
        return tf.cast(tf.tanh(tf.cast(x, tf.float16)), tf.float32)

    with pytest.raises(PrecisionError, match="float16"):
        export(function, tmp_path / "it.pullback", REQUEST, inputs=[SPEC])


def test_captured_constants_do_not_become_inputs(tmp_path: pathlib.Path) -> None:
    matrix = tf.constant(np.eye(3, dtype=np.float32) * 2)
    bundle = export(lambda x: tf.sin(x @ matrix), tmp_path / "it.pullback", REQUEST, inputs=[SPEC], formats="onnx")
    assert [spec.name for spec in bundle.spec.inputs] == ["x"]
    assert [item.name for item in bundle.session().get_inputs()] == ["x"]
    np.testing.assert_allclose(bundle(X).y, np.sin(2 * X), atol=1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "a number": (3, "give a keras.Model"),
    "a missing file": ("no/such/model.keras", "no such file"),
    "a function without inputs": (tf.tanh, r"inputs=\[tf.TensorSpec"),
    "a model that was never built": (keras.Sequential([keras.layers.Dense(2)]), "inputs="),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_source(name: str, tmp_path: pathlib.Path) -> None:
    source, remedy = REFUSED[name]
    with pytest.raises(ExportError, match=remedy):
        export(source, tmp_path / "it.pullback", REQUEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_broken_keras_file(content: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ExportError, match=r"model\.keras"):
        export(tmp_path / "model.keras", tmp_path / "it.pullback", REQUEST)


def test_folder_that_is_no_saved_model(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match="SavedModel"):
        export(tmp_path, tmp_path / "it.pullback", REQUEST)


def test_names_can_be_chosen(tmp_path: pathlib.Path) -> None:
    bundle = export(
        network(),
        tmp_path / "it.pullback",
        ["gradient(force[0], place)"],
        formats="onnx",
        inputs=[tf.TensorSpec([None, 3], tf.float32, name="place")],
        outputs=["force"],
    )
    assert bundle(place=X)._fields == ("force", "dforce_0_dplace")
