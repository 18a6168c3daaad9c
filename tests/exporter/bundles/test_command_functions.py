"""``pullback-export`` on whatever it takes: the examples of its help, flags for all of ``export``, and no noise."""

from __future__ import annotations

import inspect
import os
import pathlib
import shlex
import subprocess
import sys

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import cli, export
from pullback_export.arguments import inputs, outputs, scaling
from pullback_export.errors import ExportError

PULLBACK_EXPORT = "import sys; from pullback_commands import export; sys.exit(export())"


class Holder(tf.Module):
    """A signature and its name."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def energy(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_sum(x**3, -1)}


@pytest.fixture
def work(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with all that the examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("my", "my.module", "file", "beside"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    hidden, last = keras.layers.Dense(2, "tanh", name="hidden"), keras.layers.Dense(1, name="y")
    keras.Sequential([keras.Input((2,), name="x"), hidden, last]).save("bowl.keras")
    holder = Holder()
    tf.saved_model.save(holder, "folder", signatures={"energy": holder.energy, "other": holder.energy})
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "module.py").write_text(
        "import tensorflow as tf\ndef energy(positions):\n    return tf.reduce_sum(positions ** 4)\n"
    )
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "beside.py").write_text("POWER = 3\n")
    (tmp_path / "path" / "to" / "file.py").write_text(
        "import tensorflow as tf\nfrom beside import POWER\n"
        "def energy(x, t):\n    return tf.reduce_sum(x ** POWER, -1) * t\n"
    )
    return tmp_path


def examples() -> list[str]:
    lines = cli.EXAMPLES.replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("pullback-export ") for line in lines if line.strip().startswith("pullback-")]


@pytest.mark.parametrize("example", examples())
def test_examples(example: str, work: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(example)
    assert cli.main([*words, "--format", "onnx", "-q"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == ""
    bundle = pullback.load(words[1])
    given = {
        spec.name: np.ones([size if isinstance(size, int) else 3 for size in spec.shape], spec.dtype)
        for spec in bundle.spec.inputs
    }
    assert all(np.isfinite(result).all() for result in bundle(**given))


def test_what_a_file_defines(work: pathlib.Path) -> None:
    arguments = ["path/to/file.py:energy", "b", "--input", "x:float64[None,3]", "--input", "t:float64[None]", "-q"]
    assert cli.main([*arguments, "-d", "gradient(y, x)", "--format", "onnx", "--scaling", "x=[0,1,2],2"]) == 0
    found = pullback.load("b")(x=np.array([[2.0, 3.0, 2.0]]), t=np.array([5.0]))
    np.testing.assert_allclose(found.y, [10.0])
    np.testing.assert_allclose(found.dy_dx, [[7.5, 7.5, 0.0]])
    assert cli.parity_main(["path/to/file.py:energy", "b", "-q"]) == 1  # x in physical units is another function


def test_an_input_that_all_rows_share(work: pathlib.Path) -> None:
    arguments = ["path/to/file.py:energy", "b", "--input", "x:float64[None,3]", "--input", "t:float64[]", "-q"]
    assert cli.main([*arguments, "-d", "gradient(y, t)", "--format", "onnx", "--batched", "x"]) == 0
    bundle = pullback.load("b")
    assert bundle.spec.shared_inputs == {"t"}
    assert bundle(x=np.ones((4, 3)), t=0.5).dy_dt.shape == (4,)
    assert cli.main([*arguments, "--batched", "x", "--not-batched"]) == 2


def test_outputs_that_are_kept_and_renamed(work: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands take the same words; without them the other output would be meant."""
    (work / "two.py").write_text(
        "import tensorflow as tf\n"
        "def both(x):\n    return {'a': tf.sin(x), 'b': tf.cos(x), 'text': tf.strings.as_string(x)}\n"
    )
    common = ["two.py:both", "b", "--input", "x:float32[None]", "-q"]
    kept = ["--outputs", "b=cosine"]
    assert cli.main([*common, *kept, "-d", "gradient(cosine, x)", "--format", "onnx"]) == 0, capsys.readouterr().err
    found = pullback.load("b")(x=np.array([0.5], np.float32))
    np.testing.assert_allclose(found.cosine, np.cos([0.5]), rtol=1e-6)
    np.testing.assert_allclose(found.dcosine_dx, -np.sin([0.5]), rtol=1e-6)
    assert cli.parity_main([*common, *kept]) == 0, capsys.readouterr().err
    assert cli.parity_main([*common, "--outputs", "a=cosine"]) == 1
    assert cli.parity_main([*common, "--outputs", "c=cosine"]) == 2
    assert "the model has 3 output(s), a, b, text" in capsys.readouterr().err


def test_outputs_in_words() -> None:
    assert outputs(None) is None
    assert outputs("a, b") == ["a", "b"]
    assert outputs("a = e, b") == {"a": "e", "b": "b"}
    for text in ("", "a,", "a=", "=e", "a=b=c"):
        with pytest.raises(ExportError, match="write NAME,NAME, or NAME=NEW"):
            outputs(text)
    with pytest.raises(ExportError, match="a is given twice"):
        outputs("a=b,a=c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path/to/none.py:energy", "path/to/none.py: there is no such file"),
        ("path/to/file.py:force", "it has energy"),
        ("my.module:force", "it has energy"),
        ("my.nothing:force", "No module named"),
        ("none.keras", "no such file or folder"),
    ],
)
def test_names_that_are_not_there(
    text: str, message: str, work: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([text, "b", "--input", "x:float32[None]"]) == 2
    assert message in capsys.readouterr().err


def test_inputs_in_words() -> None:
    assert inputs(["x:float64[None, 3]", "t:int32[]", "n:float32[?,2]", "conv#1", "hidden"]) == [
        tf.TensorSpec([None, 3], tf.float64, "x"),
        tf.TensorSpec([], tf.int32, "t"),
        tf.TensorSpec([None, 2], tf.float32, "n"),
        "conv#1",
        "hidden",
    ]
    assert inputs([]) is None
    for text in ("x:float32", "x:float32[None 3]", "x:float31[3]", "x:float32[a]", "3:[2]"):
        with pytest.raises(ExportError, match="--input"):
            inputs([text])


def test_scaling_in_words() -> None:
    assert scaling(["x=0.5,2", "y=[0,1],[2,4]"]) == {"x": (0.5, 2), "y": ([0, 1], [2, 4])}
    for text in ("x", "x=1", "=1,2", "x=a,b", "x=1,2,3"):
        with pytest.raises(ExportError, match="--scaling"):
            scaling([text])


def test_every_keyword_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    spelled = {"inputs": "input", "formats": "format", "progress": "quiet"}
    for name in inspect.signature(export).parameters:
        if name not in ("model", "path", "derivatives"):
            assert f"--{spelled.get(name, name).replace('_', '-')}" in said, name


def test_no_noise(work: pathlib.Path) -> None:
    """A process of its own, as a user sees it; samples of zeros make NumPy and TensorFlow warn."""
    (work / "file.py").write_text(
        "import numpy as np, tensorflow as tf\nnp.float64(1) / np.float64(0)\n"
        "def energy(x):\n    return tf.reduce_sum(x / tf.abs(x), -1) + tf.reduce_sum(tf.math.log(x ** 2), -1)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    words = ["file.py:energy", "b", "--input", "x:float32[None,3]", "-d", "gradient(y, x)", "--format", "onnx"]
    done = subprocess.run(
        [sys.executable, "-c", PULLBACK_EXPORT, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("tracing") and done.stdout.splitlines()[-1] == "wrote b"
