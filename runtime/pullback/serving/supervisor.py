"""Workers end with their supervisor, also one that is killed (SIGKILL, out of memory) and cannot tell them to."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from pathlib import Path


def follow() -> None:
    """From now on this worker ends when its supervisor does: as by SIGTERM, after what is under way is answered.

    ``join`` of a parent waits for a pipe whose other end closes with that process, however it ends, on every system.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="pullback-supervisor", daemon=True).start()


def inherit() -> None:
    """Removes what a supervisor that is gone has left: the metrics of this worker, with the last ones the folder."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.is_alive() or "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    for file in folder.glob("*.db"):
        process = int(file.stem.rpartition("_")[2])
        if process == os.getpid() or not is_alive(process):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others have files in it, or were faster
        folder.rmdir()


def is_alive(process: int) -> bool:
    """Whether there is such a process; yes where asking would do harm: on Windows signal 0 is Ctrl-C."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
