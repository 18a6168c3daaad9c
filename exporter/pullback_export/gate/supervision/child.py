"""The written SavedModel in a process of its own, where TensorFlow of this one gives wrong products or crashes.

That is so where TensorFlow was imported, and has computed, with oneDNN on on a processor with AVX-512
(:mod:`pullback.onednn`). The child limits oneDNN to AVX2 instructions. Requests and answers are npz files; a line on
its standard input names them, a line on its standard output says how it went.
"""

from __future__ import annotations

import atexit
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from pullback import onednn

from pullback_export.errors import ExportError
from pullback_export.gate.supervision.limits import watched

Arrays = dict[str, np.ndarray[Any, Any]]

_PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
answer, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
known = {}
for line in sys.stdin:
    folder, signature, asked, answered = line.rstrip("\\n").split("\\t")
    try:
        if folder not in known:
            known.clear()
            known[folder] = tf.saved_model.load(folder)
        with np.load(asked) as given:
            tensors = {name[1:]: tf.constant(given[name]) for name in given.files}
        results = known[folder].signatures[signature](**tensors)
        np.savez(answered, **{"_" + name: result.numpy() for name, result in results.items()})
        told = "done"
    except Exception as problem:
        told = " ".join(str(problem).split()) or type(problem).__name__
    print(told, file=answer, flush=True)
"""


class Child:
    """One process for all functions and samples; started at the first question, and again where one was stopped."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def __call__(self, folder: pathlib.Path, signature: str, inputs: Mapping[str, Any], whole: bool) -> Arrays:
        """What the signature gives; raises :class:`ExportError` where it fails, or the process dies."""
        with tempfile.TemporaryDirectory() as place:
            asked, answered = (os.path.join(place, name) for name in ("asked.npz", "answered.npz"))
            # The first letter keeps the names of arrays apart from those of NumPy's arguments.
            arrays: dict[str, Any] = {f"_{name}": np.asarray(array) for name, array in inputs.items()}
            np.savez(asked, **arrays)
            with watched(f"child {signature}", whole, self.stop):
                told = self._ask(f"{folder}\t{signature}\t{asked}\t{answered}\n")
            if told != "done":
                raise ExportError(
                    f"the traced graph fails on a sample that the live model accepts: {told}; give samples={{...}}"
                )
            with np.load(answered) as found:
                return {name[1:]: found[name] for name in found.files}

    def _ask(self, line: str) -> str:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            told = process.stdout.readline()
        except BrokenPipeError:
            told = ""
        if not told:
            code = process.wait()
            self._process = None
            raise ExportError(
                f"the process that replays the SavedModel died with exit code {code}; export with"
                " formats=('onnx',), or with TF_ENABLE_ONEDNN_OPTS=0 in the environment"
            )
        return told.rstrip("\n")

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            # Limited and not off: it rounds as the live model does, which its error is measured against.
            environment = {**os.environ, **dict.fromkeys(onednn.LIMITS, "AVX2"), "TF_CPP_MIN_LOG_LEVEL": "3"}
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            command = [sys.executable, "-c", _PROGRAM]
            # In a session of its own: Ctrl-C is for the export, which stops it.
            self._process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
        return self._process

    def stop(self) -> None:
        """Ends the process; there may be none."""
        process = self._process
        if process is not None:
            process.kill()


@functools.cache
def child() -> Child:
    """The process of all exports of this one."""
    return Child()
