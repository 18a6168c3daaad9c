"""One engine in one process: ``python -m tests.benchmarks.worker ENGINE WORK FOLDER THREADS``.

Reads requests ``{"batch": rows, "calls": n}`` from standard input, one in a line, and answers each with the seconds of
``n`` calls one after the other and the peak memory, or ``{"error": ...}``. With ``"save": path`` the results of the
last call are written there: ``value`` and ``derivative``, what the engine has of them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import sys
import time
import traceback
from typing import Any

import numpy as np

from tests.benchmarks import engines, work
from tests.benchmarks.failures import Refused, told
from tests.benchmarks.memory import peak_megabytes


def main(name: str, row: str, folder: str, threads: str) -> int:
    cores = sorted(os.sched_getaffinity(0))[: int(threads)]
    os.sched_setaffinity(0, cores)
    answer, sys.stdout = sys.stdout, sys.stderr  # what libraries print is not an answer
    item = engines.engine(name)

    def say(**message: Any) -> None:
        print(json.dumps(message), file=answer, flush=True)

    missing = [package for package in item.packages if importlib.util.find_spec(package) is None]
    if missing:
        say(skipped=f"{', '.join(missing)} is not installed")
        return 0
    chosen = work.row(row)
    try:
        call = item.open(chosen, pathlib.Path(folder), int(threads))
    except Exception as problem:
        if not isinstance(problem, Refused):
            traceback.print_exc()
        say(skipped=told(problem))
        return 0
    say(ready=True)
    inputs: dict[tuple[int, int], list[Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        size = request["batch"], request.get("moved", 0)
        if size not in inputs:
            inputs.clear()
            inputs[size] = draw(chosen, *size)
        try:
            reply, result = measure(call, inputs[size], request["calls"])
            if "save" in request:
                np.savez(request["save"], **named(name, result))
            del result  # not beside the next ones
            say(**reply)
        except Exception as problem:
            traceback.print_exc()
            say(error=told(problem))
    return 0


def draw(chosen: work.Work, batch: int, moved: int = 0) -> list[Any]:
    """``x`` and, for products, a tangent: the same in every process; ``moved``: each number by at most one unit."""
    rng = np.random.default_rng(7)
    count = 2 if chosen.kind == "hvp" else 1
    arrays = [rng.standard_normal((batch, *chosen.shape), np.float32) for _ in range(count)]
    if moved:
        steps = np.random.default_rng(moved).integers(-1, 2, arrays[0].shape).astype(np.float32)
        arrays[0] += steps * np.spacing(np.abs(arrays[0]))
    return arrays


def measure(call: Any, arrays: list[Any], calls: int) -> tuple[dict[str, float], list[Any]]:
    """Seconds for ``calls`` calls, peak memory, and bytes of the arrays that went in and out; the last results."""
    start = time.perf_counter()
    for _ in range(calls):
        result = call(*arrays)
    seconds = time.perf_counter() - start
    results = list(result)
    passed = sum(array.nbytes for array in (*arrays, *results)) / 2**20
    return {"seconds": seconds, "megabytes": peak_megabytes(), "arrays": passed}, results


def named(engine: str, results: list[Any]) -> dict[str, Any]:
    """Results by name: the floor has no derivative, products come without the value."""
    if engine == engines.FLOOR:
        return {"value": results[0]}
    return {"derivative": results[-1]} | ({"value": results[0]} if len(results) > 1 else {})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
