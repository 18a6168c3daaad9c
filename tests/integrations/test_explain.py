"""``pullback.explain`` against closed forms, completeness, and TensorFlow."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import scipy.optimize
import tensorflow as tf
from pullback import explain
from pullback_export import export

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7], [0.0, 0.4, 0.2]])


def numbers(x: Any, t: Any) -> Any:
    """A vector with a linear, a cubic and a kinked component, and a second input."""
    return {
        "y": tf.stack(
            [x @ tf.constant([[2.0], [-1.0], [0.5]], tf.float64)[:, 0:1] * t, tf.reduce_sum(x**3, 1)[:, None]], 1
        )[:, :, 0],
        "kinked": tf.reduce_sum(tf.nn.relu(x - 0.123) * tf.constant([1.0, -2.0, 3.0], tf.float64), 1),
        "jump": tf.reduce_sum(x + tf.sign(x - 0.1), 1),
    }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> pullback.Bundle:
    inputs = [tf.TensorSpec([None, 3], tf.float64, "x"), tf.TensorSpec([None, 1], tf.float64, "t")]
    wanted = ["jacobian(y, x)", "gradient(kinked, x)", "vjp(jump, x)"]
    return export(numbers, tmp_path_factory.mktemp("explain") / "numbers.pullback", wanted, inputs=inputs)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> tuple[pullback.Bundle, Any]:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2), name="image")
    layer = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(layer))
    model = keras.Model(image, logits)
    model.conv = layer
    wanted = ["jacobian(logits, image)", "jacobian(logits, conv)"]
    return export(model, tmp_path_factory.mktemp("explain") / "picture.pullback", wanted), model


def test_saliency_of_each_row_and_component(bundle: pullback.Bundle) -> None:
    given = {"t": [[2.0], [3.0], [4.0]]}
    first = explain.saliency(bundle, X, "y[0]", "x", given)
    np.testing.assert_allclose(first, np.array([[2], [3], [4]]) * [[2, 1, 0.5]])
    signed = explain.saliency(bundle, X, ["y[0]", "y[1]", "sum(y)"], "x", given, signed=True)
    w = np.array([2, -1, 0.5])
    np.testing.assert_allclose(signed, [2 * w, 3 * X[1] ** 2, 4 * w + 3 * X[2] ** 2], atol=1e-12)


def test_one_sample_is_a_batch_of_one(bundle: pullback.Bundle) -> None:
    for method in (explain.saliency, explain.smoothgrad, explain.integrated_gradients, explain.occlusion):
        one = method(bundle, X[0], "y[1]", "x", {"t": [1.0]})
        np.testing.assert_array_equal(one, method(bundle, X[:1], "y[1]", "x", {"t": [[1.0]]})[0])
        assert one.dtype == np.float64 and one.shape == (3,)
        assert method(bundle, X[:0], "y[1]", "x", {"t": [[1.0]]}).shape == (0, 3)


def test_a_vjp_serves_where_nothing_else_was_exported(bundle: pullback.Bundle) -> None:
    np.testing.assert_allclose(explain.saliency(bundle, X, "jump", "x", {"t": [1.0]}), np.ones((3, 3)))


def test_smoothgrad_of_a_cubic(bundle: pullback.Bundle) -> None:
    """``E 3 (x + s e)**2 = 3 (x**2 + s**2)``; of a linear output the gradient, exactly."""
    s = 0.15 * np.ptp(X, axis=1, keepdims=True)
    found = explain.smoothgrad(bundle, X, "y[1]", "x", {"t": [1.0]}, samples=4000)
    np.testing.assert_allclose(found, 3 * (X**2 + s**2), atol=0.02)
    linear = explain.smoothgrad(bundle, X, "y[0]", "x", {"t": [1.0]}, samples=3)
    np.testing.assert_allclose(linear, np.tile([2, -1, 0.5], (3, 1)))
    assert np.any(found != explain.smoothgrad(bundle, X, "y[1]", "x", {"t": [1.0]}, samples=4000, seed=1))


def test_integrated_gradients_in_closed_form(bundle: pullback.Bundle) -> None:
    baseline = np.array([0.1, 0.2, -0.3])
    found = explain.integrated_gradients(bundle, X, "y[1]", "x", {"t": [1.0]}, baseline=baseline)
    np.testing.assert_allclose(found, X**3 - baseline**3, atol=1e-12)
    kinked = explain.integrated_gradients(bundle, X, "kinked", "x", {"t": [1.0]}, tolerance=1e-6)
    want = np.maximum(X - 0.123, 0) * [1, -2, 3]
    np.testing.assert_allclose(kinked, want, atol=1e-5)


def test_completeness_of_curved_and_of_kinked_networks(valley: pullback.Bundle, picture: Any) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (5, 3))
    total = explain.integrated_gradients(valley, points, "y").sum(1)
    difference = np.array([scipy.optimize.rosen(p) for p in points]) - 2
    np.testing.assert_allclose(total, difference, rtol=1.1e-3)
    net, _ = picture
    images = rng.uniform(-1, 1, (4, 6, 6, 2)).astype(np.float32)
    total = explain.integrated_gradients(net, images, "logits[1]").sum((1, 2, 3))
    difference = net(images).logits[:, 1] - net(images * 0).logits[:, 1]
    np.testing.assert_allclose(total, difference, rtol=1.1e-3, atol=1e-4)


def test_a_jump_cannot_be_complete(bundle: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="jumps"):
        explain.integrated_gradients(bundle, X, "jump", "x", {"t": [1.0]})


def test_occlusion(bundle: pullback.Bundle, picture: Any) -> None:
    """Of a linear output ``x * gradient``; with a window as large as the sample the whole difference."""
    found = explain.occlusion(bundle, X, "y[0]", "x", {"t": [1.0]})
    np.testing.assert_allclose(found, X * [2, -1, 0.5], atol=1e-14)
    found = explain.occlusion(bundle, X, "y[1]", "x", {"t": [1.0]}, window=3)
    np.testing.assert_allclose(found, np.tile((X**3).sum(1, keepdims=True), (1, 3)))
    found = explain.occlusion(bundle, X, "y[0]", "x", {"t": [1.0]}, window=2, stride=1)
    parts = X * [2, -1, 0.5]
    pairs = [parts[:, :2].sum(1), (parts[:, :2].sum(1) + parts[:, 1:].sum(1)) / 2, parts[:, 1:].sum(1)]
    np.testing.assert_allclose(found, np.stack(pairs, 1), atol=1e-14)
    net, _ = picture
    images = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype(np.float32)
    found = explain.occlusion(net, images, "logits[2]", window=4)
    assert found.shape == images.shape and np.ptp(found[..., 0] - found[..., 1]) == 0


def test_grad_cam_is_that_of_tensorflow(picture: tuple[pullback.Bundle, Any]) -> None:
    net, model = picture
    images = np.random.default_rng(2).normal(size=(3, 6, 6, 2)).astype(np.float32)
    both = keras.Model(model.inputs, [model.conv, model.outputs[0]])
    with tf.GradientTape() as tape:
        activation, logits = both(tf.constant(images))
        score = logits[:, 1]
    weights = tf.reduce_mean(tape.gradient(score, activation), (1, 2))
    want = tf.nn.relu(tf.einsum("bhwc,bc->bhw", activation, weights)).numpy()
    found = explain.grad_cam(net, images, "logits[1]", "conv")
    np.testing.assert_allclose(found, want, atol=1e-5 * want.max())
    assert want.max() > 0 and explain.grad_cam(net, images[0], "logits[1]", "conv").shape == (4, 4)


@pytest.mark.parametrize(
    ("of", "wrt", "given", "error", "words"),
    [
        ("y", "x", {"t": [1.0]}, pullback.InputError, "sum\\(y\\)"),
        ("y[7]", "x", {"t": [1.0]}, pullback.InputError, "not in the shape"),
        ("z", "x", {"t": [1.0]}, pullback.NotExportedError, "no output 'z'"),
        ("y[0]", None, {"t": [1.0]}, pullback.InputError, "which input"),
        ("y[0]", "x", None, pullback.InputError, "given"),
        ("y[0]", "x", {"t": [[1.0], [2.0]]}, pullback.InputError, "1 row or 3"),
        ("y[0]", "t", {"x": X}, pullback.NotExportedError, r"gradient\(y\[0\], t\)"),
        (["y[0]"], "x", {"t": [1.0]}, pullback.InputError, "1 targets for 3 rows"),
        ("1 +", "x", {"t": [1.0]}, pullback.InputError, "must name"),
    ],
)
def test_mistakes(bundle: pullback.Bundle, of: Any, wrt: Any, given: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        explain.saliency(bundle, np.ones((3, 1)) if wrt == "t" else X, of, wrt, given)


def test_mistakes_of_methods(bundle: pullback.Bundle, picture: Any) -> None:
    given = {"t": [1.0]}
    with pytest.raises(pullback.NotExportedError, match="no layer"):
        explain.grad_cam(bundle, X, "y[0]", "conv", "x", given)
    with pytest.raises(pullback.InputError, match="baseline"):
        explain.integrated_gradients(bundle, X, "y[0]", "x", given, baseline=[1.0, 2.0])
    with pytest.raises(pullback.InputError, match="window"):
        explain.occlusion(bundle, X, "y[0]", "x", given, window=0)
    with pytest.raises(pullback.InputError, match="samples"):
        explain.smoothgrad(bundle, X, "y[0]", "x", given, samples=0)
    with pytest.raises(pullback.InputError, match="one sample of it"):
        explain.saliency(picture[0], np.zeros((6, 6), np.float32), "logits[0]")


def test_plots(bundle: pullback.Bundle, picture: Any, tmp_path: pathlib.Path) -> None:
    bars = explain.plot(explain.saliency(bundle, X[0], "y[0]", "x", {"t": [1.0]}), names=["a", "b", "c"])
    assert [text.get_text() for text in bars.axes[0].get_yticklabels()] == ["a", "b", "c"]
    assert [bar.get_width() for bar in bars.axes[0].patches] == [2, 1, 0.5]
    images = np.random.default_rng(2).normal(size=(3, 6, 6, 2)).astype(np.float32)
    cam = explain.grad_cam(picture[0], images, "logits[1]", "conv")
    maps = explain.plot(cam, images, batch=True, title="evidence")
    assert len(maps.axes) == 3 and all(len(axes.images) == 2 for axes in maps.axes)
    assert maps.axes[0].images[1].get_extent() == [0, 6, 6, 0]
    maps.savefig(tmp_path / "maps.png")
    assert len(explain.plot(explain.saliency(picture[0], images[0], "logits[0]")).axes) == 1
    for shapes in [((2, 2, 2, 2), None, False), ((0,), None, False), ((2, 4, 4), (3, 4, 4), True)]:
        array, x, batch = shapes
        with pytest.raises(pullback.InputError):
            explain.plot(np.zeros(array), None if x is None else np.zeros(x), batch=batch)


def test_a_model_without_a_batch_axis(atoms_bundle: pullback.Bundle) -> None:
    """Atoms: one sample, whose energy falls to zero as they part; ``forces`` are minus the gradient."""
    positions = np.array([[0.0, 0, 0], [3.9, 0, 0], [0.5, 4.1, 0]])
    given = {"strain": np.zeros((3, 3))}
    result = atoms_bundle(positions=positions, **given)
    gradient = explain.saliency(atoms_bundle, positions, "energy", "positions", given, signed=True)
    np.testing.assert_allclose(gradient, -result.forces, rtol=1e-12)
    far = 10 * positions
    parts = explain.integrated_gradients(atoms_bundle, positions, "energy", "positions", given, baseline=far)
    difference = result.energy - atoms_bundle(positions=far, **given).energy
    np.testing.assert_allclose(parts.sum(), difference, rtol=1.1e-3)
    assert explain.occlusion(atoms_bundle, positions, "energy", "positions", given, fill=50.0).shape == (3, 3)
