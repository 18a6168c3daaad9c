"""What TensorFlow's executor is told when an evaluation must stop, for each thread by itself.

TensorFlow keeps the manager by which calls can be cancelled in a global variable of ``tensorflow.python.eager``, of
which all threads are part. The live model and the written files are evaluated in two threads: one that had reached its
limit made a call of the other fail, "Function was cancelled before it was started". Here the global one is the same
for all threads, and is in each call that of the thread which calls.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from tensorflow.python.eager import cancellation


class Cancellation:
    """The calls of one thread, which another one can cancel."""

    def __init__(self) -> None:
        self.manager = cancellation.CancellationManager()

    def cancel(self) -> None:
        """Stops what was called, and what is called from now on."""
        self.manager.start_cancel()

    @contextlib.contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Calls of this thread can be cancelled while this lasts."""
        before, _ACTIVE.manager = _ACTIVE.manager, self.manager
        try:
            with _EVERY_THREAD.installed():
                yield
        finally:
            _ACTIVE.manager = before


class _Active(threading.local):
    """The manager of this thread; one that nobody cancels where it has none."""

    def __init__(self) -> None:
        self.manager = cancellation.CancellationManager()


class _ManagerOfEveryThread:
    """What TensorFlow takes for a manager, of which it reads the handle at each call."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._context = cancellation.CancellationManagerContext(self)

    @property
    def _impl(self) -> Any:
        return _ACTIVE.manager._impl

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """TensorFlow asks it from the first thread that enters until the last one leaves."""
        with self._lock:
            self._users += 1
            self._context.__enter__()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._context.__exit__(None, None, None)


_ACTIVE = _Active()
_EVERY_THREAD = _ManagerOfEveryThread()
