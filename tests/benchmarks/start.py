"""Cold start: seconds and resident memory of a new process up to its first derivative.

What it imports counts, so that nothing of the benchmarks is imported at the top.
``python -m tests.benchmarks.start ENGINE WORK FOLDER`` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 600
# Pullback as its user has it: nothing of the benchmarks is imported.
_DIRECT = """
import time
start = time.perf_counter()
import numpy as np, pullback
bundle = pullback.load({path!r}, threads=1)
bundle(np.zeros({shape!r}, np.float32))
seconds = time.perf_counter() - start
import json, sys
sys.path.insert(0, {root!r})
from tests.benchmarks.memory import peak_megabytes
print(json.dumps({{"seconds": seconds, "megabytes": peak_megabytes()}}))
"""


def main(name: str, row: str, folder: str) -> int:
    began = time.perf_counter()
    import numpy as np

    from tests.benchmarks import engines, failures, work
    from tests.benchmarks.memory import peak_megabytes

    chosen = work.row(row)
    try:
        call = engines.engine(name).open(chosen, pathlib.Path(folder), 1)
        call(np.zeros((1, *chosen.shape), np.float32))
    except Exception as problem:
        print(json.dumps({"skipped": failures.told(problem)}))
        return 0
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))
    return 0


def measure(name: str, row: str, folder: pathlib.Path, repeats: int) -> dict[str, Any]:
    """Of the process with the median time: imports, loading, first derivative, its peak memory; and installed bytes.

    The interpreter's own start is not counted; one process before the others fills caches of files and compilers.
    """
    from tests.benchmarks import engines, footprint, work

    chosen = engines.engine(name)
    command = [sys.executable, "-m", "tests.benchmarks.start", name, row, str(folder)]
    if name == "pullback":
        bundle = str(folder / "derivative.pullback")
        command = [sys.executable, "-c", _DIRECT.format(path=bundle, shape=(1, *work.row(row).shape), root=str(ROOT))]
    found = []
    for _ in range(1 + repeats):
        reply = _reply(command, engines.environment(chosen, 1))
        if "skipped" in reply:
            return {"engine": name, **reply}
        found.append(reply)
    middle = sorted(found[1:], key=lambda item: item["seconds"])[repeats // 2]
    return {"engine": name, **middle, "installed": footprint.installed_bytes(chosen.installs)}


def _reply(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"skipped": f"no answer in {SECONDS} s"}
    if done.returncode or not done.stdout:
        return {"skipped": (done.stderr.strip().splitlines() or ["failed"])[-1][:100]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
