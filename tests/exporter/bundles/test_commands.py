"""``pullback-export`` and ``pullback-parity``: exit codes, and one line of error for whatever is wrong."""

from __future__ import annotations

import pathlib
import sys

import keras
import numpy as np
import pytest
from pullback_export import cli

FAILS: list[tuple[str, int, str]] = [
    ("net.keras", 2, "required: bundle"),
    ("none.keras b", 2, "no such file or folder"),
    ("folder b", 2, "no saved_model.pb"),
    ("junk.npz b", 2, "Keras cannot read it"),
    ("own.keras b", 2, "--import MODULE"),
    ("own.keras b --import no_such_module", 2, "No module named 'no_such_module'"),
    ("net.keras b -d grad(y,x)", 2, "write one of derivative, gradient"),
    ("net.keras b -d gradient(y)", 2, "name an output and an input"),
    ("net.keras b -d gradient(y,z)", 2, "there is no 'z'"),
    ("net.keras b -d gradient(y,x", 2, "cannot read"),
    ("net.keras b --opset 12", 2, "choose one of 18 to 23"),
    ("net.keras b --opset twelve", 2, "invalid int"),
    ("net.keras b --tolerance -1", 2, "positive number"),
    ("net.keras b --samples none.npz", 2, "none.npz: there is no such file"),
    ("net.keras b --samples junk.npz", 2, "not an npz file"),
    ("net.keras b --samples one.npy", 2, "one array without a name"),
    ("net.keras b --samples other.npz", 2, "no input 'z'; inputs: x"),
    ("net.keras b --outputs a,b", 2, "1 output(s)"),
    ("net.keras b --outputs x", 2, "more than one"),
    ("net.keras b --signature serve", 2, "only a SavedModel has signatures"),
    ("net.keras none/b", 2, "none is not a folder"),
    ("net.keras folder", 2, "pass overwrite=True (--overwrite)"),
]


@pytest.fixture
def work(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with models and samples, good and bad."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_layers", raising=False)
    keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1, name="y")]).save("net.keras")
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('own')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x): return 2 * x\n"
    )
    own = type("Twice", (keras.layers.Layer,), {"call": lambda self, x: 2 * x})
    own.__module__ = "own_layers"
    registered = keras.saving.register_keras_serializable("own")(own)
    keras.Sequential([keras.Input((2,), name="x"), registered(), keras.layers.Dense(1, name="y")]).save("own.keras")
    keras.saving.get_custom_objects().pop("own>Twice")  # as in a new process
    (tmp_path / "folder").mkdir()
    (tmp_path / "junk.npz").write_text("junk")
    np.save("one.npy", np.zeros((3, 2), np.float32))
    np.savez("other.npz", z=np.zeros((3, 2), np.float32))
    return tmp_path


def test_fails(work: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in work.iterdir())
    for arguments, code, text in FAILS:
        assert cli.main(arguments.split()) == code, arguments
        said = capsys.readouterr().err.rstrip("\n")
        assert text in said, f"{arguments}: {said}"
        assert said.startswith("usage:") or "\n" not in said, said
    assert sorted(path.name for path in work.iterdir()) == before


def test_layers_from_a_module(work: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported = ["own.keras", "own.pullback", "-d", "gradient(y, x)", "--import", "own_layers", "-q"]
    assert cli.main([*exported, "--format", "saved_model"]) == 0, capsys.readouterr().err
    assert cli.parity_main(["own.keras", "own.pullback", "--import", "own_layers", "-q"]) == 0, capsys.readouterr().err
    assert cli.parity_main(["net.keras", "own.pullback", "-q"]) == 1
