"""Ctrl-C ends an export at once, whatever computes then, and leaves nothing at the path nor beside it."""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest

from tests.warm_start import started

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
    with started(PROGRAM, tmp_path, form, folder=tmp_path) as child:
        assert any(line.startswith(stage) for line in child.stdout)
        time.sleep(1.0 if stage == "comparing" else 0.0)
        start = time.monotonic()
        os.kill(child.process.pid or 0, signal.SIGINT)
        done = child.communicate()
    assert time.monotonic() - start < AT_ONCE
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stderr
    assert os.listdir(tmp_path) == []
