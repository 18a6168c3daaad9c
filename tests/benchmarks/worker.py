"""One engine in one process: ``python -m tests.benchmarks.worker ENGINE WORK FOLDER THREADS``.

Reads requests ``{"batch": rows, "calls": n}`` from standard input, one in a line, and answers each with the seconds of
``n`` calls one after the other and the peak memory, or ``{"error": ...}``. With one thread, seconds are those of the
processor, whatever others do with it in between; with more, those of the clock. With ``"save": path`` the results of
the last call are written there: ``value`` and ``derivative``, what the engine has of them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks import engines, work
from tests.benchmarks.failures import Refused, told
from tests.benchmarks.inputs import draw
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
    clock = time.process_time if threads == "1" else time.perf_counter
    inputs: dict[tuple[int, int], list[Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        size = request["batch"], request.get("moved", 0)
        if size not in inputs:
            inputs.clear()
            inputs[size] = draw(chosen, *size)
        try:
            reply, result = measure(call, inputs[size], request["calls"], clock)
            if "save" in request:
                np.savez(request["save"], **named(name, result))
            del result  # not beside the next ones
            say(**reply)
        except Exception as problem:
            traceback.print_exc()
            say(error=told(problem))
    return 0


def measure(call: Any, arrays: list[Any], calls: int, clock: Callable[[], float]) -> tuple[dict[str, float], list[Any]]:
    """Seconds for ``calls`` calls, peak memory, and bytes of the arrays that went in and out; the last results."""
    start = clock()
    for _ in range(calls):
        result = call(*arrays)
    seconds = clock() - start
    results = list(result)
    passed = sum(array.nbytes for array in (*arrays, *results)) / 2**20
    return {"seconds": seconds, "megabytes": peak_megabytes(), "arrays": passed}, results


def named(engine: str, results: list[Any]) -> dict[str, Any]:
    """Results by name: a floor has no derivative, products come without the value."""
    if engine in engines.BOUNDS:
        return {}
    if engine in engines.FLOORS:
        return {"value": results[0]}
    return {"derivative": results[-1]} | ({"value": results[0]} if len(results) > 1 else {})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
