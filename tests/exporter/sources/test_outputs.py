"""Which outputs are exported, what they are called, and what happens to names that are no identifiers."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, assert_parity, export
from pullback_export.sources.names import identifiers, kept, readable

SPEC = tf.TensorSpec([None, 2], tf.float32, name="x")
X = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)


class Served(tf.Module):
    """Two numbers beside a text and a constant, and a function that is no signature."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)

    @tf.function(input_signature=[SPEC])
    def serve(self, x: Any) -> Any:
        energy = tf.reduce_sum(self.scale * x**2, -1)
        return {"energy": energy, "label": tf.as_string(energy), "version": tf.constant(3.0), "norm": energy**0.5}

    @tf.function(input_signature=[SPEC])
    def cube(self, x: Any) -> Any:
        return self.scale * x**3


SERVED = Served()  # a tf.function does not keep its object alive


def function(folder: pathlib.Path) -> tuple[Any, Any]:
    return SERVED.serve, None


def plain_function(folder: pathlib.Path) -> tuple[Any, Any]:
    module = Served()
    return (lambda x: {**module.serve(x), "sparse": tf.sparse.from_dense(x)}), [SPEC]


def saved_model(folder: pathlib.Path) -> tuple[Any, Any]:
    module = Served()
    tf.saved_model.save(module, str(folder / "served"), signatures=module.serve)
    return folder / "served", None


def keras_model(folder: pathlib.Path) -> tuple[Any, Any]:
    class Energy(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            energy = tf.reduce_sum(2.0 * x**2, -1)
            rest = {"label": tf.as_string(energy), "none": None, "sparse": tf.sparse.from_dense(x)}
            return {"energy": energy, "norm": energy**0.5, **rest}

    return Energy(), [SPEC]


SOURCES = [function, plain_function, saved_model, keras_model]


@pytest.mark.parametrize("source", SOURCES)
def test_outputs_that_are_kept(source: Any, tmp_path: pathlib.Path) -> None:
    """A text, a constant or a sparse tensor beside them does not matter; the order is that of the names."""
    model, inputs = source(tmp_path)
    bundle = export(model, tmp_path / "b", "gradient(energy, x)", inputs=inputs, outputs=["norm", "energy"])
    norm, energy, slope = bundle(X)
    np.testing.assert_allclose(energy, 2 * (X**2).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(norm, energy**0.5, rtol=1e-6)
    np.testing.assert_allclose(slope, 4 * X, rtol=1e-6)
    assert bundle(X)._fields == ("norm", "energy", "denergy_dx")
    assert assert_parity(model, tmp_path / "b", inputs=inputs).ok


@pytest.mark.parametrize("source", SOURCES)
def test_outputs_that_are_kept_and_renamed(source: Any, tmp_path: pathlib.Path) -> None:
    model, inputs = source(tmp_path)
    options: dict[str, Any] = {"inputs": inputs, "outputs": {"energy": "e"}, "formats": "onnx"}
    bundle = export(model, tmp_path / "b", "gradient(e, x)", **options)
    assert bundle(X)._fields == ("e", "de_dx")
    np.testing.assert_allclose(bundle(X).de_dx, 4 * X, rtol=1e-6)
    assert assert_parity(model, tmp_path / "b", inputs=inputs, outputs={"energy": "e"}).ok
    with pytest.raises(ExportError, match=r"outputs=\.\.\. as at the export"):
        assert_parity(model, tmp_path / "b", inputs=inputs)


class Sampling(tf.Module):
    """What cannot be exported stands behind the outputs that are dropped, in the function and in one that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)
        self.drawn = tf.function(lambda x: (tf.nn.silu(self.scale * x), x + tf.random.normal(tf.shape(x))))

    @tf.function(input_signature=[SPEC])
    def serve(self, x: Any) -> Any:
        smooth, noisy = self.drawn(x)
        kept = tf.image.non_max_suppression(tf.concat([x, x + 1], 1), x[:, 0], 2)
        text = tf.strings.as_string(noisy)
        return {
            "energy": tf.reduce_sum(smooth, -1),
            "noisy": noisy * tf.exp(x),
            "kept": tf.gather(x, kept),
            "text": text,
        }


SAMPLING = Sampling()


@pytest.mark.parametrize("saved", [False, True])
def test_what_stands_behind_outputs_that_are_dropped(saved: bool, tmp_path: pathlib.Path) -> None:
    """A sample that is drawn, boxes that are suppressed: TensorFlow's gradient of a call would need them."""
    model: Any = SAMPLING.serve
    if saved:
        model = tmp_path / "sampling"
        tf.saved_model.save(SAMPLING, str(model), signatures=SAMPLING.serve)
    bundle = export(model, tmp_path / "b", ["gradient(energy, x)", "hessian(energy, x)"], outputs=["energy"])
    sigmoid = 1 / (1 + np.exp(-2.0 * X))
    np.testing.assert_allclose(bundle(X).energy, (2 * X * sigmoid).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(
        bundle(X).denergy_dx, 2 * sigmoid + 4 * X * sigmoid * (1 - sigmoid), rtol=1e-5, atol=1e-6
    )


def test_a_text_that_is_kept_is_refused_with_the_way_out(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=r"'label' has dtype string.*outputs=\[\.\.\.\]"):
        export(SERVED.serve, tmp_path / "b")


SLIPS: list[Any] = [["none"], {"none": "e"}, [], {}, ["energy", "none"], ["label", "enrgy", "norm", "version"]]


@pytest.mark.parametrize("wanted", SLIPS)
def test_outputs_that_are_not_there(wanted: Any) -> None:
    with pytest.raises(ExportError, match=r"4 output.*energy, label, norm, version"):
        kept(wanted, ("energy", "label", "norm", "version"))


def test_as_many_new_names_rename_all() -> None:
    assert kept(["a", "b"], ("y0", "y1")).names == ("a", "b")
    assert kept(["y0", "b"], ("y0", "y1")).names == ("y0", "b")
    assert kept(["y1", "y0"], ("y0", "y1")).positions == (1, 0)
    assert kept("output_1", ("y0", "y1"), ("output_0", "output_1")).positions == (1,)


NAMES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("a/b",): ("a_b",),
    ("a/b", "a_b", "a-b"): ("a_b_2", "a_b", "a_b_3"),
    ("2nd", "lambda", ""): ("_2nd", "lambda_", "_"),
}


@pytest.mark.parametrize("names", NAMES)
def test_identifiers(names: tuple[str, ...]) -> None:
    assert identifiers(names) == NAMES[names]


READABLE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("keras_tensor_4",): ("x",),
    ("positions", "input_2"): ("positions", "x1"),
    ("x1", "input_2"): ("x1", "x1_"),
    ("input_1", "input_2"): ("x0", "x1"),
}


@pytest.mark.parametrize("names", READABLE)
def test_a_chosen_name_stays_beside_one_that_was_made_up(names: tuple[str, ...]) -> None:
    assert readable(names, "x") == READABLE[names]


def test_another_spelling_is_told(tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    energy = tf.function(lambda x: {"a/b": 2.0 * x})
    bundle = export(energy, tmp_path / "b", inputs=[SPEC], formats="onnx", progress=said.append)
    assert bundle(X)._fields == ("a_b",)
    assert any("'a/b' is called a_b" in line and "outputs={'a/b': 'name'}" in line for line in said), said


def test_a_function_of_a_saved_model_that_is_no_signature(tmp_path: pathlib.Path) -> None:
    path, _ = saved_model(tmp_path)
    bundle = export(path, tmp_path / "b", "gradient(sum(y), x)", signature="cube")
    np.testing.assert_allclose(bundle(X).y, 2 * X**3, rtol=1e-6)
    np.testing.assert_allclose(bundle(X).dsum_y_dx, 6 * X**2, rtol=1e-6)
    with pytest.raises(ExportError, match="its functions: cube, serve"):
        export(path, tmp_path / "c", signature="square")


def test_h5_file(tmp_path: pathlib.Path) -> None:
    model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(3, "tanh", name="y")])
    model.save(tmp_path / "m.h5")
    bundle = export(tmp_path / "m.h5", tmp_path / "b", "jacobian(y, x)", formats="onnx")
    np.testing.assert_allclose(bundle(X).y, model(X), atol=1e-6)


FILES = {"m.pb": "wrap_function", "m.onnx": "no gradients", "m.ckpt": "weights without the model"}


@pytest.mark.parametrize("name", FILES)
def test_other_files_get_an_answer_that_fits(name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ExportError, match=FILES[name]):
        export(tmp_path / name, tmp_path / "b")


def test_weights_without_a_model(tmp_path: pathlib.Path) -> None:
    model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(3)])
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ExportError, match="weights without the model"):
        export(tmp_path / "m.weights.h5", tmp_path / "b")


@pytest.mark.parametrize("shape", [[], [3, 3]])
def test_a_batched_function_needs_an_input_with_a_batch_axis(shape: list[int], tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec(shape, tf.float32, name="t")
    with pytest.raises(ExportError, match=r"none of the inputs 't' of shape .* has a batch axis.*batched=False"):
        export(lambda t: t * 2, tmp_path / "b", inputs=[spec], batched=True)


def test_a_frozen_graph(tmp_path: pathlib.Path) -> None:
    """As the message about a .pb file says."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        tf.identity(tf.tanh(x) * 3.0, name="y")
    definition = graph.as_graph_def()
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    pruned = wrapped.prune(wrapped.graph.get_tensor_by_name("x:0"), wrapped.graph.get_tensor_by_name("y:0"))
    bundle = export(pruned, tmp_path / "b", "jacobian(y, x)", inputs=[SPEC], formats="onnx")
    np.testing.assert_allclose(bundle(X).y, 3 * np.tanh(X), rtol=1e-6)
