"""What the child process runs: one :class:`Call`, of which it tells the other process over a connection."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import IO, Any

from pullback.errors import PullbackError
from pullback.parity import Report

from pullback_export.errors import ExportError, ParityWarning
from pullback_export.gate.other_backends.calls import Call

# Seconds that the call has to clean up after itself once nobody waits for it.
GRACE = 10.0


def main(asked: IO[bytes], descriptor: int) -> None:
    """Runs the pickled call in ``asked``. Messages are pairs: progress, a warning, and at last the result or a failure.

    Ends the process.
    """
    channel: Any = Connection(descriptor)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(channel, ended), name="pullback-parent", daemon=True).start()
    try:
        told = _run(asked, channel)
    except BaseException as problem:
        told = ("failed", _sendable(problem), traceback.format_exc())
    ended.set()
    with contextlib.suppress(OSError):  # nobody waits any more
        channel.send(told)
    atexit._run_exitfuncs()  # stops the gate's child process, where there is one
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking TensorFlow apart would take seconds


def _run(asked: IO[bytes], channel: Any) -> tuple[Any, ...]:
    try:
        call = pickle.load(asked)
        says_progress = pickle.load(asked)
    except Exception as problem:
        raise ExportError(
            "the export runs on TensorFlow in a process of its own, which cannot read its arguments:"
            f" {type(problem).__name__}: {problem}; give plain values, NumPy arrays and objects of modules"
        ) from problem
    assert isinstance(call, Call)
    others = {"progress": lambda line: channel.send(("progress", line))} if says_progress else {}
    with warnings.catch_warnings(record=True, action="always", category=ParityWarning) as caught:
        try:
            result = call.run(**others)
        finally:
            for item in caught:
                if issubclass(item.category, ParityWarning):
                    channel.send(("warning", str(item.message)))
                else:
                    print(
                        warnings.formatwarning(item.message, item.category, item.filename, item.lineno), file=sys.stderr
                    )
    return "done", result if isinstance(result, Report) else None


def _sendable(problem: BaseException) -> BaseException:
    """The failure itself where it can be sent, else what it says."""
    try:
        again = pickle.loads(pickle.dumps(problem))
        if type(again) is type(problem) and str(again) == str(problem):
            return problem
    except Exception:
        pass
    said = f"{type(problem).__name__}: {problem}"
    return ExportError(str(problem) if isinstance(problem, PullbackError) else said)


def _watch(channel: Any, ended: threading.Event) -> None:
    """Interrupts the call when the other process is no longer there, or wants no answer; nothing is ever sent here."""
    with contextlib.suppress(EOFError, OSError):
        channel.recv_bytes()
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(GRACE)
        os._exit(1)
