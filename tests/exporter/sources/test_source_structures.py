"""Inputs and outputs in dictionaries, tuples and several arguments; SavedModels with several signatures."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, export

RNG = np.random.default_rng(13)
POS, VEL = (RNG.normal(size=(3, 2)).astype("float32") for _ in range(2))
SPECS = [tf.TensorSpec([None, 2], tf.float32, name=name) for name in ("pos", "vel")]


def answers(pos: Any, vel: Any) -> tuple[Any, Any]:
    return tf.reduce_sum(pos**2 * vel, -1), pos - tf.sin(vel)


class OfDictionary(keras.Model):
    """Takes a dictionary and returns one."""

    def call(self, state: Any) -> dict[str, Any]:
        energy, flow = answers(state["pos"], state["vel"])
        return {"flow": flow, "energy": energy}


class OfArguments(keras.Model):
    """Takes two arguments."""

    def call(self, u: Any, t: Any) -> dict[str, Any]:
        energy, flow = answers(u, t)
        return {"flow": flow, "energy": energy}


class OfOptionalArgument(keras.Model):
    """Takes a second argument where there is one."""

    def call(self, pos: Any, vel: Any = None) -> dict[str, Any]:
        energy, flow = answers(pos, vel)
        return {"flow": flow, "energy": energy}


class OfList(keras.Model):
    """Takes a list."""

    def call(self, state: Any) -> dict[str, Any]:
        energy, flow = answers(*state)
        return {"flow": flow, "energy": energy}


def built_on_dictionary() -> keras.Model:
    model = OfDictionary()
    model({"pos": POS, "vel": VEL})
    return model


def of_dictionary(state: Any) -> dict[str, Any]:
    return OfDictionary().call(state)


STRUCTURES: dict[str, tuple[Any, Any]] = {
    "a dictionary": (OfDictionary, dict(zip(("pos", "vel"), SPECS, strict=True))),
    "a dictionary of nameless specs": (
        OfDictionary,
        {name: tf.TensorSpec([None, 2], tf.float32) for name in ("vel", "pos")},
    ),
    "a list, by the dictionary that it was built with": (built_on_dictionary, SPECS),
    "two arguments": (OfArguments, SPECS),
    "an optional argument by its name": (OfOptionalArgument, SPECS),
    "a list": (OfList, SPECS),
    "a function of a dictionary": (lambda: of_dictionary, dict(zip(("pos", "vel"), SPECS, strict=True))),
    "a signature with a dictionary": (
        lambda: tf.function(
            of_dictionary, input_signature=[{name: tf.TensorSpec([None, 2], tf.float32) for name in ("pos", "vel")}]
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure(name: str, tmp_path: pathlib.Path) -> None:
    make, inputs = STRUCTURES[name]
    requests = ["gradient(energy, pos)", "jacobian(flow, vel)"]
    bundle = export(make(), tmp_path / "b", requests, inputs=inputs, formats="onnx")
    result = bundle(pos=POS, vel=VEL)
    np.testing.assert_allclose(result.denergy_dpos, 2 * POS * VEL, atol=1e-6)
    np.testing.assert_allclose(result.dflow_dvel[:, 0, 0], -np.cos(VEL[:, 0]), atol=1e-6)
    np.testing.assert_allclose(result.energy, (POS**2 * VEL).sum(-1), atol=1e-6)


def test_a_layer_of_several_arguments(tmp_path: pathlib.Path) -> None:
    specs = [tf.TensorSpec([None, size, 4], tf.float32, name=name) for name, size in (("query", 3), ("value", 5))]
    layer = keras.layers.MultiHeadAttention(2, 3)
    bundle = export(layer, tmp_path / "b", "gradient(sum(a), value)", inputs=specs, outputs=["a"], formats="onnx")
    query, value = (RNG.normal(size=(2, size, 4)).astype("float32") for size in (3, 5))
    np.testing.assert_allclose(bundle(query, value).a, layer(query, value), atol=1e-5)


def test_inputs_that_are_not_known_are_guessed_in_the_message(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=r"TensorSpec\(\[None, 2\], tf.float32, name='pos'\), tf.TensorSpec"):
        export(built_on_dictionary(), tmp_path / "b")


class Served(tf.Module):
    """Two functions to be signatures; one with more outputs than digits."""

    @tf.function(input_signature=SPECS)
    def both(self, pos: Any, vel: Any) -> Any:
        return tuple(tf.reduce_sum(pos + vel, -1) * number for number in range(12))

    @tf.function(input_signature=SPECS[:1])
    def square(self, pos: Any) -> Any:
        return {"e": tf.reduce_sum(pos**2, -1)}


def test_outputs_of_a_saved_model_are_in_the_order_of_their_numbers(tmp_path: pathlib.Path) -> None:
    """TensorFlow reads them back in another order in every process."""
    module = Served()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.both)
    bundle = export(tmp_path / "m", tmp_path / "b", formats="onnx")
    for number, array in enumerate(bundle(pos=POS, vel=VEL)):
        np.testing.assert_allclose(array, (POS + VEL).sum(-1) * number, atol=1e-5)


def test_signatures_of_a_saved_model(tmp_path: pathlib.Path) -> None:
    module = Served()
    path = tmp_path / "m"
    tf.saved_model.save(module, str(path), signatures={"both": module.both, "square": module.square})
    bundle = export(path, tmp_path / "b", "gradient(e, pos)", signature="square", formats="onnx")
    np.testing.assert_allclose(bundle(POS).de_dpos, 2 * POS, atol=1e-6)
    with pytest.raises(ExportError, match="the signatures both, square"):
        export(path, tmp_path / "c")
    with pytest.raises(ExportError, match="no signature 'cube'; it has both, square"):
        export(path, tmp_path / "c", signature="cube")
    with pytest.raises(ExportError, match="only a SavedModel"):
        export(of_dictionary, tmp_path / "c", inputs={"pos": SPECS[0], "vel": SPECS[1]}, signature="square")
