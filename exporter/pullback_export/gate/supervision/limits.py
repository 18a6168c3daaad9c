"""How long one evaluation may take, and how much memory: the watch over live models and written files.

TensorFlow computes in the thread that asks, where nothing of Python's runs meanwhile. A second thread watches: it
cancels what TensorFlow's executor runs (loops of graphs look for that between their steps), asks ONNX Runtime to stop
(it looks between nodes, in the bodies of loops too), and raises in the thread that computes, which ends loops of
Python. A single kernel that does not return is out of reach, as for anything within a process.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import dataclasses
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from pullback_export.errors import ExportError
from pullback_export.gate.supervision.cancellation import Cancellation
from pullback_export.gate.supervision.interrupts import on_interrupt

SECONDS = 60.0
# A sample that was drawn has this, and this many times the longest evaluation that ended: one that needs more is not
# like the others, and waiting for many of them would take long.
DRAWN_SECONDS, DRAWN_TIMES = 5.0, 20.0
# Of the memory that is free when an evaluation begins, how much it may take.
SHARE_OF_MEMORY = 0.5
_PAUSE = 0.1
# Seconds in which TensorFlow and ONNX Runtime come back by themselves once they are told to.
_GRACE = 0.5
# How often, and for how long, an evaluation that has ended waits for the exception that was on its way.
_TURNS, _TURN = 100, 0.001


class OverLimit(Exception):
    """An evaluation was stopped; the message says at which limit."""


class _Stop(BaseException):
    """Raised in the thread that computes; nothing that catches ``Exception`` keeps it."""


@dataclasses.dataclass
class Limits:
    """The limits of one export, and the longest evaluation of each kind so far."""

    seconds: float = SECONDS
    longest: dict[str, float] = dataclasses.field(default_factory=dict)
    _running: list[_Watch] = dataclasses.field(default_factory=list)
    _abandoned: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not self.seconds > 0:
            raise ExportError(f"time_limit={self.seconds!r}: give a positive number of seconds for one evaluation")

    def abandon(self) -> None:
        """Stops whatever is evaluated, in all threads, and everything that would be after this."""
        self._abandoned = True
        for watch in tuple(self._running):
            watch.abandon()

    def for_drawn(self, kind: str) -> float:
        """Seconds that a drawn sample has; all of them until an evaluation of the ``kind`` has ended."""
        if kind not in self.longest:
            return self.seconds
        return min(self.seconds, DRAWN_SECONDS + DRAWN_TIMES * self.longest[kind])

    @contextlib.contextmanager
    def watch(self, kind: str = "", whole: bool = False, stop: Callable[[], None] | None = None) -> Iterator[None]:
        """Raises :class:`OverLimit` where what is within takes too long or too much memory.

        ``kind`` names evaluations that take about as long; ``whole`` gives all of the seconds, as for a sample of the
        caller's; ``stop()`` ends a computation that neither TensorFlow nor Python runs.
        """
        start = time.monotonic()
        watch = _Watch(self.seconds if whole or not kind else self.for_drawn(kind), stop)
        self._running.append(watch)
        if self._abandoned:
            watch.abandon()
        watch.start()
        try:
            try:
                with watch.cancellation.of_this_thread():
                    yield
            finally:
                watch.end()
                self._running.remove(watch)
        except (_Stop, Exception) as problem:
            if not watch.exceeded:
                raise
            raise OverLimit(watch.exceeded) from problem
        self.longest[kind] = max(self.longest.get(kind, 0.0), time.monotonic() - start)


_ACTIVE: contextvars.ContextVar[Limits | None] = contextvars.ContextVar("limits", default=None)


def _active() -> Limits:
    """Those of the export around; outside of one, limits of its own, which no failure before has stopped."""
    return _ACTIVE.get() or Limits()


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within it, and in threads that copy its context, :func:`watched` evaluations have ``seconds`` each."""
    limits = Limits(seconds)
    token = _ACTIVE.set(limits)
    try:
        with on_interrupt(limits.abandon):
            yield
    finally:
        _ACTIVE.reset(token)


def abandon() -> None:
    """:meth:`Limits.abandon` of the export that this is part of: it fails already."""
    _active().abandon()


def watched(
    kind: str = "", whole: bool = False, stop: Callable[[], None] | None = None
) -> contextlib.AbstractContextManager[None]:
    """:meth:`Limits.watch` of the export that this is part of."""
    return _active().watch(kind, whole, stop)


class _Watch:
    """The thread that watches one evaluation of another thread."""

    def __init__(self, seconds: float, stop: Callable[[], None] | None) -> None:
        self.exceeded = ""
        self.cancellation = Cancellation()
        self._seconds, self._stop, self._computes = seconds, stop, threading.get_ident()
        self._memory = int(SHARE_OF_MEMORY * _available())
        self._done, self._abandoned, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._raises = False
        self._thread = threading.Thread(target=self._run, name="pullback-limits", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """No exception is raised in the thread from here on: one that is still to come is waited for."""
        with self._lock:
            self._done.set()
        if self._raises and not _is_under_way(sys.exc_info()[1]):
            with contextlib.suppress(_Stop):
                for _ in range(_TURNS):
                    time.sleep(_TURN)

    def abandon(self) -> None:
        """Stops the evaluation as soon as it can be."""
        self._abandoned.set()

    def _run(self) -> None:
        start, before = time.monotonic(), _resident()
        while not self._done.wait(min(_PAUSE, max(self._seconds, 1e-3))):
            if self._abandoned.is_set():
                return self._exceed("was interrupted", self._computes != threading.main_thread().ident)
            if time.monotonic() - start > self._seconds:
                return self._exceed(f"takes longer than {self._seconds:.3g} seconds (time_limit=)")
            if self._memory and _resident() - before > self._memory:
                return self._exceed(f"takes more than {self._memory / 2**30:.1f} GiB of memory, half of what was free")
        return None

    def _exceed(self, said: str, raises: bool = True) -> None:
        with self._lock:
            if self._done.is_set():
                return
            self.exceeded = said
        self.cancellation.cancel()
        if self._stop is not None:
            self._stop()
        if self._done.wait(_GRACE) or not raises:  # Python itself interrupts the main thread
            return
        with self._lock:
            if not self._done.is_set():
                self._raises = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._computes), ctypes.py_object(_Stop))


def _is_under_way(problem: BaseException | None) -> bool:
    """Whether :class:`_Stop` was raised already: it is ``problem`` or what that came from.

    It is not taken back with ``PyThreadState_SetAsyncExc(thread, None)``, after which Python 3.11 looks for exceptions
    at every instruction for ever, and hangs as soon as something profiles or traces.
    """
    seen = 0
    while problem is not None and seen < _TURNS:
        if isinstance(problem, _Stop):
            return True
        problem, seen = problem.__cause__ or problem.__context__, seen + 1
    return False


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        pages = pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _available() -> int:
    """Bytes that the system could give to this process; 0 where it does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
