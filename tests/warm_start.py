"""Programs in processes of their own, where TensorFlow, Keras and the exporter are imported already.

Each is forked from a process that has done so, and has computed nothing; imports alone take seven seconds. A test of
what happens at the start of a process, of environment variables or of imports, starts one with :mod:`subprocess`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tensorflow", "keras", "onnxruntime", "pullback_export.cli"])


class Started:
    """A program that runs; ``stdout`` and ``stderr`` are what it prints."""

    def __init__(self, command: list[str], folder: pathlib.Path) -> None:
        pipes = [_SERVER.Pipe(duplex=False) for _ in range(2)]
        self.process = _SERVER.Process(target=_program, args=(command, folder, *(writer for _, writer in pipes)))
        self.process.start()
        for _, writer in pipes:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno()), encoding="utf-8") for reader, _ in pipes)

    def communicate(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end: what is left of what it prints, and its exit code."""
        with ThreadPoolExecutor(2) as pool:
            printed, told = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        self.process.join()
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess("", self.process.exitcode, printed, told)


@contextlib.contextmanager
def started(program: str | pathlib.Path, *arguments: object, folder: pathlib.Path) -> Iterator[Started]:
    """``python program arguments`` in ``folder``, of a file, or of code as ``python -c`` takes it.

    It is killed in the end where it still runs.
    """
    it = Started([str(item) for item in (program, *arguments)], folder)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.join()


def run(program: str | pathlib.Path, *arguments: object, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """What the program printed, and its exit code; see :func:`started`."""
    with started(program, *arguments, folder=folder) as it:
        return it.communicate()


def _program(command: list[str], folder: pathlib.Path, stdout: Connection, stderr: Connection) -> None:
    """In the new process: the program as ``__main__``, with its output where it is asked for."""
    for pipe, number in ((stdout, 1), (stderr, 2)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.chdir(folder)
    if "\n" in command[0]:
        sys.argv, main = ["-c", *command[1:]], types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(command[0], vars(main))
    else:
        sys.argv = command
        sys.path.insert(0, str(pathlib.Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")
