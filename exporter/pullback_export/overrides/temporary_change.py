"""A change of another library that holds while anyone needs it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class TemporaryChange:
    """Within :meth:`active`, what ``change`` did holds; ``change()`` returns the function that takes it back.

    It may be entered again, from several threads; the last one to leave takes the change back.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = threading.RLock()
        self._depth = 0
        self._undo: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._undo = self._change()
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    self._undo()
