"""Ctrl-C while TensorFlow or ONNX Runtime computes: Python hears of it only when they come back.

Python's signal handlers run between two instructions of the main thread. What the system itself calls at a signal
writes a byte to a descriptor, at once, and a thread that waits for it can tell the computation to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from pullback_export.failures import RememberingHandler


@contextlib.contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Calls ``stop()`` in a thread of its own at SIGINT, besides the ``KeyboardInterrupt`` that Python raises.

    Does nothing outside of the main thread, and where somebody else handles the signal (an event loop, a notebook).
    """
    if not _is_ours():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=_listen, args=(read, stop), name="pullback-interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)  # which ends the thread
        thread.join()


def _is_ours() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler and not isinstance(handler, RememberingHandler):
        return False
    other = signal.set_wakeup_fd(-1)
    if other != -1:
        signal.set_wakeup_fd(other)
    return other == -1


def _listen(read: int, stop: Callable[[], None]) -> None:
    try:
        while numbers := os.read(read, 64):
            if signal.SIGINT in numbers:
                stop()
    finally:
        os.close(read)
