"""The child process, whose Keras runs on TensorFlow."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from pullback_export.errors import ExportError
from pullback_export.gate.other_backends.calls import Call
from pullback_export.gate.other_backends.program import GRACE

_PROGRAM = """
import pickle, sys
with open(sys.argv[1], "rb") as asked:
    sys.path[:] = pickle.load(asked)
    from pullback_export.gate.other_backends.program import main
    main(asked, int(sys.argv[2]))
"""
_LAST_LINES = 5
# What TensorFlow writes when it is imported, whatever its level of logging is.
_CHATTER = re.compile(r"WARNING: All log messages before absl|[IW]\d{4} \d\d:\d\d:\d\d\.|[IW]\d{4} 00:00:\d+")


class InChild(Exception):
    """The traceback of the child process, as the cause of what is raised in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def run(call: Call, folder: pathlib.Path, progress: Callable[[str], None] | None, warn: Callable[[str], None]) -> Any:
    """What the call returns in a process of its own. ``folder`` takes the file of its arguments, which is removed.

    Failures are raised as the same exceptions; Ctrl-C ends both processes.

    Raises :class:`ExportError` where an argument cannot be handed over, or the process dies.
    """
    asked = folder / "call.pickle"
    try:
        asked.write_bytes(b"".join(map(pickle.dumps, (sys.path, call, progress is not None))))
    except (pickle.PicklingError, TypeError, AttributeError) as problem:
        raise ExportError(
            "the export runs on TensorFlow in a process of its own, which cannot be handed an argument:"
            f" {_unpicklable(call)}: {problem}; give plain values, NumPy arrays and objects of modules"
        ) from problem
    try:
        with tempfile.TemporaryFile() as errors, _started(asked, errors) as (process, channel):
            while True:
                try:
                    kind, value, *more = channel.recv()
                except (EOFError, OSError):
                    raise ExportError(_exit_message(process.wait(), errors)) from None
                if kind == "progress" and progress is not None:
                    progress(value)
                elif kind == "warning":
                    warn(value)
                elif kind == "done":
                    return value
                elif kind == "failed":
                    raise value from InChild(*more)
    finally:
        asked.unlink(missing_ok=True)


@contextlib.contextmanager
def _started(asked: pathlib.Path, errors: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """The process and the connection to it; it is ended where it is not yet at the end."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"}
    ours, theirs = multiprocessing.Pipe()
    try:
        # In a session of its own: Ctrl-C is for this process, which ends the other one. -P keeps the current folder
        # from hiding modules of Python's before the path is that of this process.
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(asked), str(theirs.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    try:
        yield process, ours
    finally:
        try:
            ours.close()  # by which it knows that nobody waits
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        _pass_on(errors)


def _pass_on(errors: IO[bytes]) -> None:
    """What the child wrote to its standard error, on that of this process (which may be a notebook's)."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines(keepends=True)
    text = "".join(line for line in lines if not _CHATTER.match(line))
    if text and sys.stderr is not None:
        sys.stderr.write(text)


def _exit_message(code: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    last = " | ".join([line for line in lines if line and not _CHATTER.match(line)][-_LAST_LINES:])
    how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return (
        f"the process in which Keras runs on TensorFlow died {how}{f': {last}' if last else ''}; nothing was written."
        " Write the model to a .keras file and export that with KERAS_BACKEND=tensorflow (pullback-export does)"
    )


def _unpicklable(call: Call) -> str:
    for name, value in call.arguments.items():
        try:
            pickle.dumps(value)
        except Exception:
            return f"{name}="
    return "the model"
