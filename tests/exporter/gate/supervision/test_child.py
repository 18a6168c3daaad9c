"""SavedModels in a process of their own: the same answers, its death is an error, and when there is one."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from pullback import onednn
from pullback_export import ExportError, export
from pullback_export.gate.supervision.child import Child

# TensorFlow has computed, with oneDNN on, before the exporter is imported.
PROGRAM = """
import sys, tempfile
import keras, tensorflow as tf
tf.nn.conv2d(tf.ones([1, 4, 4, 1]), tf.ones([3, 3, 1, 1]), 1, "SAME")
from pullback import onednn
from pullback_export import export
from pullback_export.gate.supervision import child
asked = []
original = child.Child.__call__
child.Child.__call__ = lambda self, *more: asked.append(more) or original(self, *more)
keras.utils.set_random_seed(0)
x = keras.Input((5, 8), name="x")
model = keras.Model(x, keras.layers.MultiHeadAttention(2, 4)(x, x))
export(model, sys.argv[1], ["jacobian(y, x)"], outputs=["y"])
print("safe" if onednn.make_safe() else "unsafe", len(asked))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("child") / "a.pullback"
    export(lambda x, file: {"y": x * file}, path, inputs=[tf.TensorSpec([2], name=name) for name in ("x", "file")])
    return path / "saved_model"


def test_answers_and_death(saved: pathlib.Path) -> None:
    child = Child()
    given = {"x": np.array([1, 2], np.float32), "file": np.array([3, 4], np.float32)}
    np.testing.assert_array_equal(child(saved, "evaluate", given, True)["y"], [3, 8])
    with pytest.raises(ExportError, match="the traced graph fails"):
        child(saved, "evaluate", {"x": given["x"]}, True)
    np.testing.assert_array_equal(child(saved, "evaluate", given, True)["y"], [3, 8])
    child.stop()
    with pytest.raises(ExportError, match="died with exit code -9"):
        child(saved, "evaluate", given, True)
    np.testing.assert_array_equal(child(saved, "evaluate", given, True)["y"], [3, 8])
    child.stop()


@pytest.mark.slow
def test_where_tensorflow_has_computed_with_onednn(tmp_path: pathlib.Path) -> None:
    environment = {key: item for key, item in os.environ.items() if key not in (onednn.SWITCH, *onednn.LIMITS)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.pullback")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    state, asked = done.stdout.split()[-2:]
    assert (state == "unsafe") == onednn.has_avx512()
    assert (int(asked) > 0) == (state == "unsafe")
