"""Peak memory of a process."""

from __future__ import annotations

import pathlib
import resource


def peak_megabytes() -> float:
    """Largest resident memory of this process; ``getrusage`` would count the process that started it too."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
