"""Ctrl-C ends the whole process of a command at once."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import keras

PROGRAM = "import sys; from pullback_export.cli import main; sys.exit(main())"
# Taking TensorFlow apart took about three seconds.
SECONDS = 1.5


def test_an_interrupted_command_ends_at_once(tmp_path: pathlib.Path) -> None:
    x = keras.Input((20, 8), name="x")
    hidden = keras.layers.Bidirectional(keras.layers.GRU(8))(x)
    keras.Model(x, keras.layers.Dense(1)(hidden)).save(tmp_path / "model.keras")
    command = [sys.executable, "-c", PROGRAM, "model.keras", "out.pullback", "-d", "hessian(y, x)"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("tracing")
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        taken = time.monotonic() - start
    assert process.returncode == 130, said
    assert "interrupted; nothing was written" in said
    assert taken < SECONDS
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
