"""Each reference model, exported with the requests that suit it, against closed forms and nested GradientTapes."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import HVP, Derivative, Gradient, Hessian, Jacobian, export, forces

from models import bowl, burgers, digits, houses, lennard_jones, reviews, wing

EXACT = 1e-10


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def assert_close(actual: Any, expected: Any, tolerance: float = EXACT) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def assert_fields_close(result: Any, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert_close(getattr(result, name), value)


def tape_jacobian(function: Callable[[Any], Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The reference: one sample and one output at a time, so that nothing is assumed about the batch."""
    rows = []
    for row in tf.unstack(tf.constant(x)):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(row)
            result = function(row[None])[0]
        rows.append(tape.jacobian(result, row, experimental_use_pfor=False))
    return np.stack(rows)


@pytest.mark.parametrize("name", ["bowl", "burgers", "digits", "houses", "lennard_jones", "reviews", "wing"])
def test_interface(name: str, rng: np.random.Generator) -> None:
    module = importlib.import_module(f"models.{name}")
    first, second = module.build(dtype="float64"), module.build(dtype="float64")
    inputs = module.samples(rng)
    assert all(isinstance(value, np.ndarray) and len(value) for value in inputs.values())
    assert "uests that suit" in (module.__doc__ or "")
    if name != "bowl":  # its seed is that of train()
        for one, other in zip(first.variables, second.variables, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_bowl_is_the_network_of_the_question(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = bowl.build("float64")
    kinds = [(type(layer).__name__, getattr(layer, "units", None), layer.activation.__name__) for layer in model.layers]
    assert kinds == [
        ("Dense", 64, "relu"),
        ("Activation", None, "linear"),
        ("Dense", 32, "relu"),
        ("Activation", None, "linear"),
        ("Dense", 32, "relu"),
        ("Dense", 1, "linear"),
    ]
    x = bowl.samples(rng)["x"].astype(np.float64)
    result = export(model, tmp_path / "bowl.pullback", [Gradient("y", "x")], formats="onnx")(x)
    assert_close(result.dy_dx, tape_jacobian(model, x)[:, 0])


def test_bowl_training_depends_on_the_seed_alone() -> None:
    first, second, other = (bowl.train(seed, points=100, epochs=1, progress=False).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_lennard_jones(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = lennard_jones.build()
    requests = [forces("energy", "positions"), Hessian("energy", "positions"), HVP("energy", "positions")]
    given = lennard_jones.samples(rng)
    bundle = export(
        model, tmp_path / "atoms.pullback", requests, inputs=lennard_jones.inputs(), samples=given, batched=False
    )
    for atoms in (2, 6, 11):
        positions = lennard_jones.samples(rng, atoms)["positions"]
        expected = lennard_jones.exact(model, positions)
        result = bundle(positions)
        assert_fields_close(result, expected)
        assert_close(result.d2energy_dpositions2, result.d2energy_dpositions2.transpose(2, 3, 0, 1))
        assert np.abs(result.forces.sum(0)).max() <= EXACT * np.abs(result.forces).max()
        direction = rng.normal(size=positions.shape)
        (product,) = bundle.hvp(positions=positions, fwd_positions=direction)
        assert_close(product, np.tensordot(expected["d2energy_dpositions2"], direction, 2))


def test_burgers(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    requests = [Derivative("u", "t"), Derivative("u", "x"), Derivative("u", "x", "x")]
    points = burgers.samples(rng)
    result = export(burgers.build(), tmp_path / "burgers.pullback", requests, samples=points)(**points)
    assert_fields_close(result, burgers.exact(**points))
    residual = burgers.residual(result.u, result.du_dt, result.du_dx, result.d2u_dx2)
    assert np.abs(residual).max() <= EXACT * np.abs(result.d2u_dx2).max()


def test_wing(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = wing.build()
    requests = [
        Jacobian("coefficients", "state"),
        Gradient("coefficients[1]", "state"),
        Hessian("coefficients", "state"),
    ]
    given = wing.samples(rng)
    bundle = export(model, tmp_path / "wing.pullback", requests, samples=given)
    result = bundle(**given)
    expected = wing.exact(model, given["state"])
    assert_fields_close(result, expected)
    assert_close(result.dcoefficients_1_dstate, expected["dcoefficients_dstate"][:, 1])
    hessian = result.d2coefficients_dstate2
    assert hessian.shape == (32, 4, 3, 3)
    step = 1e-5 * (wing.HIGH - wing.LOW)[0]
    up, down = (
        wing.exact(model, given["state"] + sign * step * np.eye(3)[0])["dcoefficients_dstate"] for sign in (1, -1)
    )
    assert_close(hessian[..., 0], (up - down) / (2 * step), 1e-7)
    assert_close(hessian, np.swapaxes(hessian, 2, 3))


def test_digits(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = digits.build("float64")
    images = digits.samples(rng, 3)["image"].astype(np.float64)
    requests = [Jacobian("logits", "image"), Jacobian("logits", "last_convolution")]
    result = export(model, tmp_path / "digits.pullback", requests, samples={"image": images}, formats="onnx")(images)
    assert_close(result.dlogits_dimage, tape_jacobian(model, images))
    activation = keras.Model(model.inputs, model.get_layer("last_convolution").output)(images)
    assert_close(result.last_convolution, activation)
    kernel = model.get_layer("logits").get_weights()[0]
    spread = np.broadcast_to(kernel.T[None, :, None, None] / 64, result.dlogits_dlast_convolution.shape)
    assert_close(result.dlogits_dlast_convolution, spread)


def test_reviews(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = reviews.build("float64")
    tokens = reviews.samples(rng, 5)["tokens"]
    whole = export(
        model, tmp_path / "whole.pullback", [Gradient("score", "embedding")], samples={"tokens": tokens}, formats="onnx"
    )
    result = whole(tokens)
    embeddings = model.get_layer("embedding")(tokens).numpy()
    assert_close(result.embedding, embeddings)
    behind = reviews.head(model, "float64")
    assert_close(result.dscore_dembedding, tape_jacobian(behind, embeddings)[:, 0])


def test_integrated_gradients_are_complete(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = reviews.build("float64")
    tokens = reviews.samples(rng, 5)["tokens"]
    embed = model.get_layer("embedding")
    embeddings, baseline = embed(tokens).numpy(), embed(np.zeros_like(tokens)).numpy()
    head: pullback.Bundle = export(
        reviews.head(model, "float64"), tmp_path / "head.pullback", [Gradient("score", "embeddings")], formats="onnx"
    )
    shares = reviews.integrated_gradients(lambda point: head(point).dscore_dembeddings, embeddings, baseline)
    assert shares.shape == tokens.shape
    assert_close(shares.sum(1), (head(embeddings).score - head(baseline).score)[:, 0])


def test_houses(rng: np.random.Generator, tmp_path: pathlib.Path) -> None:
    model = houses.build("float64")
    given = houses.samples(rng, 3)
    requests = [Gradient("price", "image"), Gradient("price", "table")]
    result = export(model, tmp_path / "houses.pullback", requests, samples=given, formats="onnx")(**given)
    image, table = (tf.constant(given[name]) for name in ("image", "table"))
    with tf.GradientTape() as tape:
        tape.watch((image, table))
        price = model([image, table])
    for mine, live in zip(
        (result.price, result.dprice_dimage, result.dprice_dtable),
        (price, *tape.gradient(price, (image, table))),
        strict=True,
    ):
        assert_close(mine, live)
