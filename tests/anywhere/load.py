"""``pullback serve`` under load: ``python -m tests.anywhere.load --seconds 600``; Linux, with the extra ``serve``.

Clients with good requests of mixed sizes, as JSON and as bytes; clients with bad bodies; clients that
send slowly; and a worker that is killed every so often. Every answer is compared with the bundle's own. Who loses the
connection (a killed worker's clients do) asks again. The run fails when an answer is wrong, has another status than it
must have, or does not come, and when memory grows.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pullback

from tests.anywhere.test_serve import BAD, FIELD, binary_body, request, serving, workers_of

SIZES = (1, 1, 1, 1, 2, 5, 16, 64, 300)  # rows of a request; --batch is 256
PATH = "/v2/models/field_evaluate/infer"
LARGEST_GROWTH = 1.25  # resident memory at the end against that of the first tenth


class Question:
    """A request with what its answer must be."""

    def __init__(self, rng: np.random.Generator, bundle: pullback.Bundle, rows: int, binary: bool) -> None:
        x = rng.normal(size=(rows, 3))
        self.rows = rows
        self.want = bundle(x, fetch=("energy", "dflow_dx"))._asdict()
        outputs = [{"name": name, "parameters": {"binary_data": binary}} for name in self.want]
        if binary:
            self.body, self.headers = binary_body(x, outputs=outputs)
        else:
            self.body, self.headers = json.dumps(request(x, outputs=outputs)).encode(), {}

    def is_answered(self, content: bytes, length: str | None) -> bool:
        """Right to the last bits, which computing rows together may change."""
        end = len(content) if length is None else int(length)
        tail = content[end:]
        for output in json.loads(content[:end])["outputs"]:
            if length is None:
                data = np.array(output["data"])
            else:
                size = output["parameters"]["binary_data_size"]
                data, tail = np.frombuffer(tail[:size]), tail[size:]
            want = self.want[output["name"]]
            if output["shape"] != list(want.shape) or np.abs(data - want.ravel()).max(initial=0) > 1e-13:
                return False
        return True


class Run:
    """What the clients of one run share: when it ends, and what they saw."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port, self.end = port, time.monotonic() + seconds
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.counts: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.end

    def saw(self, kind: str, seconds: float, problem: str | None) -> None:
        with self._lock:
            self.seconds[kind].append(seconds)
            self.counts[kind] += 1
            if problem:
                self.problems.append(f"{kind}: {problem}")

    def lost(self) -> None:
        with self._lock:
            self.counts["connections lost"] += 1

    def ask(self, connection: http.client.HTTPConnection, path: str, body: Any, headers: dict[str, str]) -> Any:
        """Status, content and length of the head; asks again, ten times, where the connection is lost."""
        for _ in range(10):
            try:
                connection.request("POST", path, body() if callable(body) else body, headers)
                response = connection.getresponse()
                return response.status, response.read(), response.headers.get("inference-header-content-length")
            except (OSError, http.client.HTTPException):
                connection.close()
                self.lost()
                time.sleep(0.05)
        return 0, b"", None


def good(run: Run, questions: list[Question], seed: int) -> None:
    """Asks one question after the other."""
    rng, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
    while not run.is_over:
        question = rng.choice(questions)
        start = time.perf_counter()
        status, content, length = run.ask(connection, PATH, question.body, question.headers)
        seconds = time.perf_counter() - start
        right = status == 200 and question.is_answered(content, length)
        kind = "1 to 16 rows" if question.rows <= 16 else "64 and 300 rows"
        run.saw(kind, seconds, None if right else f"{question.rows} rows: {status} {content[:200]!r}")


def bad(run: Run, seed: int) -> None:
    """Sends what is wrong; wants to be told so."""
    rng, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
    bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in BAD.values()]
    while not run.is_over:
        start = time.perf_counter()
        status, content, _ = run.ask(connection, PATH, rng.choice(bodies), {})
        run.saw("bad bodies", time.perf_counter() - start, None if status == 400 else f"{status} {content[:200]!r}")
        time.sleep(0.02)


def slow(run: Run, question: Question) -> None:
    """Sends a good body in twenty pieces, over a second."""
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
    step = len(question.body) // 20 + 1

    def pieces() -> Iterable[bytes]:
        for start in range(0, len(question.body), step):
            time.sleep(0.05)
            yield question.body[start : start + step]

    headers = {**question.headers, "Content-Length": str(len(question.body))}
    while not run.is_over:
        start = time.perf_counter()
        status, content, length = run.ask(connection, PATH, pieces, headers)
        right = status == 200 and question.is_answered(content, length)
        run.saw("slow clients", time.perf_counter() - start, None if right else f"{status} {content[:200]!r}")


def kill(run: Run, process: subprocess.Popen[str], every: float) -> None:
    """Kills one worker every so often."""
    while not run.is_over:
        time.sleep(min(every, max(0.0, run.end - time.monotonic())))
        if not run.is_over and len(workers := workers_of(process)) > 1:
            os.kill(random.choice(workers), signal.SIGKILL)
            run.counts["workers killed"] += 1


def resident(process: subprocess.Popen[str]) -> float:
    """MB of the supervisor and its workers."""
    total = 0
    for number in (process.pid, *workers_of(process)):
        try:
            total += int(Path(f"/proc/{number}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # it has just died
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def percentiles(seconds: list[float]) -> list[str]:
    return [f"{1000 * value:.3g}" for value in np.percentile(seconds, (50, 90, 99, 99.9))]


def direct(bundle: pullback.Bundle, rows: int, calls: int = 2000) -> list[float]:
    """Seconds of calls of the bundle itself."""
    x, found = np.random.default_rng(0).normal(size=(rows, 3)), []
    for _ in range(calls):
        start = time.perf_counter()
        bundle(x, fetch=("energy", "dflow_dx"))
        found.append(time.perf_counter() - start)
    return found


def run_load(seconds: float, clients: int, workers: int) -> list[str]:
    """The table of a run, and its problems after an empty line."""
    bundle, rng = pullback.load(FIELD, threads=1), np.random.default_rng(1)
    questions = [Question(rng, bundle, rows, binary) for rows in SIZES for binary in (False, True)]
    alone = {f"the bundle itself, {rows} rows": direct(bundle, rows) for rows in (1, 300)}
    with serving(FIELD, "--workers", str(workers)) as (port, process):
        run = Run(port, seconds)
        few = max(1, clients // 16)
        jobs: list[Callable[[], None]] = [lambda n=n: good(run, questions, n) for n in range(clients - 2 * few)]
        jobs += [lambda n=n: bad(run, n) for n in range(few)] + [lambda: slow(run, questions[4])] * few
        jobs.append(lambda: kill(run, process, max(5.0, seconds / 10)))
        threads = [threading.Thread(target=job) for job in jobs]
        for thread in threads:
            thread.start()
        memory = []
        while not run.is_over:
            time.sleep(min(1.0, seconds / 20))
            memory.append(resident(process))
        for thread in threads:
            thread.join(120)
        if any(thread.is_alive() for thread in threads):
            run.problems.append("a client got no answer within two minutes")
    tenth = max(1, len(memory) // 10)
    first, last = max(memory[: 2 * tenth]), float(np.median(memory[-tenth:]))
    if last > LARGEST_GROWTH * first:
        run.problems.append(f"memory grew from {first:.0f} to {last:.0f} MB")
    return [*table(run, alone, seconds, memory, first, last), "", *run.problems]


def table(
    run: Run, alone: dict[str, list[float]], seconds: float, memory: list[float], first: float, last: float
) -> list[str]:
    """Markdown: latencies by kind, then what else was counted."""
    lines = ["| | requests | 50 % | 90 % | 99 % | 99.9 % (ms) |", "|---|--:|--:|--:|--:|--:|"]
    for kind, found in (*sorted(run.seconds.items()), *alone.items()):
        lines.append(f"| {kind} | {len(found):,} | {' | '.join(percentiles(found))} |")
    answered = sum(map(len, run.seconds.values()))
    lines += [
        "",
        f"{answered:,} requests in {seconds:g} seconds, {answered / seconds:,.0f} a second; wrong or missing answers:"
        f" {len(run.problems)}; workers killed: {run.counts['workers killed']}, connections lost with them, and asked"
        f" again: {run.counts['connections lost']}; resident memory of all processes: {first:.0f} MB at the start,"
        f" {last:.0f} MB at the end, {max(memory):.0f} MB at most.",
    ]
    return lines


def main() -> int:
    """Run, print the table, and fail where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    lines = run_load(arguments.seconds, arguments.clients, arguments.workers)
    print("\n".join(lines[:40]))
    return int(lines[-1] != "")


if __name__ == "__main__":
    sys.exit(main())
