"""Names of free axes from ``axes=`` to the runtime, and seeds that have the axes of what they belong to."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, export
from pullback_export.artifacts.onnx_model import _label
from pullback_export.cli import main
from pullback_export.graph.dims import Dim

POSITIONS = tf.TensorSpec([None, 3], tf.float64, name="positions")
SPECIES = tf.TensorSpec([None], tf.int32, name="species")
SERIES = tf.TensorSpec([None, None, 2], tf.float64, name="x")
ATOMS = {"positions": {0: "atoms"}, "species": {0: "atoms"}}


def energy(positions: Any, species: Any) -> Any:
    charges = tf.gather(tf.constant([1.0, -2.0, 0.5], tf.float64), species)
    return {"e": tf.reduce_sum(charges[:, None] * tf.sin(positions)) + tf.reduce_sum(tf.cos(positions) ** 2)}


def differences(x: Any) -> Any:
    return {"y": x[:, 2:] * x[:, :-2]}


def shapes(function: Any) -> dict[str, tuple[int | str, ...]]:
    return {tensor.name: tensor.shape for tensor in function.spec.inputs}


@pytest.fixture(scope="module")
def atoms(tmp_path_factory: pytest.TempPathFactory) -> pullback.Bundle:
    path = tmp_path_factory.mktemp("axes") / "atoms.pullback"
    samples = {"positions": np.random.default_rng(0).normal(size=(4, 3)), "species": np.array([0, 1, 2, 1])}
    requests = ["gradient(e, positions)", "hvp(e, positions)", "jvp(e, positions)"]
    return export(
        energy, path, requests, inputs=[POSITIONS, SPECIES], samples=samples, batched=False, axes=ATOMS,
        formats=("onnx",),
    )  # fmt: skip


def test_the_manifest_keeps_the_names(atoms: pullback.Bundle) -> None:
    assert shapes(atoms) == {"positions": ("atoms", 3), "species": ("atoms",)}
    for name in ("hvp", "jvp"):
        assert shapes(atoms.functions[name])["fwd_positions"] == ("atoms", 3)
    assert atoms.spec.outputs[1].shape == ("atoms", 3)


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_inputs_that_disagree_are_refused(atoms: pullback.Bundle, count: int) -> None:
    with pytest.raises(pullback.InputError, match=f"atoms is {count} here and 4 in input 'positions'"):
        atoms(np.zeros((4, 3)), np.zeros(count, np.int32))
    with pytest.raises(pullback.InputError, match=f"atoms is {count} here and 4 in input 'positions'"):
        atoms.hvp(np.zeros((4, 3)), np.zeros(4, np.int32), np.ones((count, 3)))


@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_size_that_agrees_is_right(atoms: pullback.Bundle, count: int) -> None:
    positions = np.random.default_rng(1).normal(size=(count, 3))
    charges = np.array([1.0, -2.0, 0.5])[np.arange(count) % 3]
    slope = charges[:, None] * np.cos(positions) - np.sin(2 * positions)
    result = atoms(positions, np.arange(count) % 3)
    np.testing.assert_allclose(result.de_dpositions, slope, atol=1e-12)


def test_a_cotangent_has_the_axes_of_its_output(tmp_path: pathlib.Path) -> None:
    """Also where these follow from those of an input, and one row would be broadcast without a word."""
    bundle = export(differences, tmp_path / "it.pullback", ["vjp(y, x)", "jvp(y, x)"], inputs=[SERIES])
    assert shapes(bundle.functions["vjp"])["adj_y"] == ("B", "max_x_1_minus_2_and_0", 2)
    assert shapes(bundle.functions["jvp"])["fwd_x"] == ("B", "x_1", 2)
    x = np.random.default_rng(0).normal(size=(3, 7, 2))
    for count in (0, 1, 4, 7):
        with pytest.raises(pullback.InputError, match=r"axis 1 must have size 5, as .*x_1 is 7 in input 'x'"):
            bundle.vjp(x=x, adj_y=np.ones((3, count, 2)))
    w, t = np.random.default_rng(1).normal(size=(3, 5, 2)), np.random.default_rng(2).normal(size=x.shape)
    pulled, pushed = bundle.vjp(x=x, adj_y=w).adj_x, bundle.jvp(x=x, fwd_x=t).fwd_y
    np.testing.assert_allclose(np.sum(w * pushed), np.sum(pulled * t), rtol=1e-12)


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ({"nobody": {0: "n"}}, "there is no input 'nobody'; inputs: positions, species"),
        ({"positions": {1: "n"}}, "axis 1 of positions is not free, its size is 3"),
        ({"positions": {2: "n"}}, "has no axis 2"),
        ({"positions": {"0": "n"}}, "has no axis '0'"),
        ({"positions": {0: "two words"}}, "cannot name an axis"),
        ({"positions": {0: 5}}, "cannot name an axis"),
        ({"positions": {0: "B"}}, "name of the batch axis"),
        ({"positions": ["n"]}, "give names by input and axis"),
        (["positions"], "give names by input and axis"),
    ],
)
def test_wrong_axes_are_refused(axes: Any, problem: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=problem):
        export(energy, tmp_path / "it.pullback", inputs=[POSITIONS, SPECIES], batched=False, axes=axes)


def test_the_batch_axis_keeps_its_name(tmp_path: pathlib.Path) -> None:
    names = {"x": {0: "batch", -2: "time"}}
    bundle = export(differences, tmp_path / "it.pullback", inputs=[SERIES], axes=names, formats=("onnx",))
    assert shapes(bundle) == {"x": ("B", "time", 2)}


def test_names_on_the_command_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tf.Module()
    module.call = tf.function(energy, input_signature=[POSITIONS, SPECIES], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.call)
    target = tmp_path / "it.pullback"
    usual = [str(tmp_path / "saved"), str(target), "--unbatched", "--format", "onnx", "-q"]
    assert main([*usual, "--axes", "positions:0=atoms,species:0=atoms"]) == 0
    assert shapes(pullback.load(target)) == {"positions": ("atoms", 3), "species": ("atoms",)}
    assert main([*usual, "--overwrite", "--axes", "positions=atoms"]) == 2
    assert "write INPUT:AXIS=NAME" in capsys.readouterr().err


def test_sizes_that_differ_have_names_that_differ() -> None:
    t, b = Dim.atom("T"), Dim.atom("B")
    sizes = [t, t + 1, t - 1, t * 2, t * -1, t * 2 - 1, t * b, t * b + 1, t // 2, t % 2, (t - 1) // 2, t // 2 - 1]
    labels = [_label(size) for size in sizes if isinstance(size, Dim)]
    assert len(set(labels)) == len(sizes)
    assert labels[:4] == ["T", "T_plus_1", "T_minus_1", "T_times_2"]
    assert labels[-2:] == ["floor_T_minus_1_and_2", "floor_T_and_2_end_minus_1"]
