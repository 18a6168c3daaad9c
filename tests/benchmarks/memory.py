"""Peak memory of a process, on Linux: engines are pinned to processors, which is a thing of Linux too."""

from __future__ import annotations

import pathlib


def peak_megabytes() -> float:
    """Largest resident memory of this process; ``getrusage`` would count the process that started it too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
