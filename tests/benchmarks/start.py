"""Cold start: seconds and resident memory of a new process up to its first derivative.

``python -m tests.benchmarks.start ENGINE WORK FOLDER`` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
ENGINES = ("pullback", "saved_model", "tf_function", "jax")
_DIRECT = """
import time, sys, resource, json
start = time.perf_counter()
import numpy as np, pullback
bundle = pullback.load({path!r}, threads=1)
bundle(np.zeros({shape!r}, np.float32))
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}}))
"""


def main(name: str, row: str, folder: str) -> int:
    began = time.perf_counter()
    import numpy as np

    from tests.benchmarks import engines, work

    chosen = work.row(row)
    try:
        call = engines.engine(name).open(chosen, pathlib.Path(folder), 1)
        call(np.zeros((1, *chosen.shape), np.float32))
    except Exception as problem:
        print(json.dumps({"skipped": f"{type(problem).__name__}: {str(problem)[:100]}"}))
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak}))
    return 0


def measure(name: str, row: str, folder: pathlib.Path, shape: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Medians over new processes: imports, loading, first derivative. The interpreter's own start is not counted."""
    from tests.benchmarks import engines

    if name == "pullback":
        text = _DIRECT.format(path=str(folder / "derivative.pullback"), shape=(1, *shape))
        command = [sys.executable, "-c", text]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.start", name, row, str(folder)]
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=engines.environment(engines.engine(name), 1),
            capture_output=True,
            text=True,
            check=False,
        )
        reply = (
            json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else {"skipped": "failed"}
        )
        if "skipped" in reply:
            return {"engine": name, **reply}
        found.append(reply)
    middle = sorted(found, key=lambda item: item["seconds"])[len(found) // 2]
    return {"engine": name, **middle}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
