"""Puts another gradient function in the place of one that TensorFlow registers, for a while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

Gradient = Callable[..., Any]


class ReplacedGradient:
    """Within :meth:`active`, tapes (eager and in functions) differentiate ``op_type`` with ``replace(original)``.

    It may be entered again, from several threads; the last one to leave puts TensorFlow's own function back.
    """

    def __init__(self, op_type: str, replace: Callable[[Gradient], Gradient]) -> None:
        self.op_type, self._replace = op_type, replace
        self._lock = threading.RLock()
        self._depth = 0
        self._original: Gradient | None = None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        from tensorflow.python.framework import ops

        entry = ops._gradient_registry._registry[self.op_type]
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._original = entry["type"]
                entry["type"] = self._replace(entry["type"])
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    entry["type"] = self._original
