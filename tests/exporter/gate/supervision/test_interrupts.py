"""Ctrl-C ends an export at once, whatever computes then, and leaves nothing at the path nor beside it."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import pathlib, sys
import numpy as np
import tensorflow as tf
from pullback_export import export

def f(x):
    return {"y": tf.while_loop(lambda i, z: i < 10**8, lambda i, z: (i + 1, tf.tanh(z)), [0, x])[1]}

f = tf.function(f) if sys.argv[2] == "graph" else f
specs = [tf.TensorSpec([None, 4], name="x")]
export(f, pathlib.Path(sys.argv[1]) / "a.pullback", inputs=specs, batched=True, samples={"x": np.ones((2, 4), "f")},
       progress=lambda line: print(line, flush=True))
"""
# Seconds from the signal to the end, on a machine that others use too; 2 on an idle one.
AT_ONCE = 10.0


@pytest.mark.parametrize("stage", ["lowering", "comparing"])
@pytest.mark.parametrize("form", ["graph", "eager"])
def test_an_interrupt_ends_it(tmp_path: pathlib.Path, form: str, stage: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert any(line.startswith(stage) for line in child.stdout)
        time.sleep(1.0 if stage == "comparing" else 0.0)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        try:
            _, told = child.communicate(timeout=60)
        finally:
            child.kill()
    assert time.monotonic() - start < AT_ONCE
    assert child.returncode != 0 and "KeyboardInterrupt" in told
    assert os.listdir(tmp_path) == []
