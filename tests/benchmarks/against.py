"""What became slower or faster since a commit: ``python -m tests.benchmarks.against COMMIT [ROW ...]``.

The exporter of the commit writes the networks of today's rows, its runtime runs what it wrote; today's do the same, and
they take turns, one process each. Each number is the median of ratios within a round, with quartiles. Where a process
has its memory makes a difference of some percent, so they are opened anew several times; and a second process of then
takes turns with them, which says how far the same sources are from themselves. Rows that either one does not export are
named. ``--publish`` puts the table into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping

from tests.benchmarks import engines, machine, regions, rounds, work
from tests.benchmarks.resources import duration
from tests.benchmarks.rows import REFERENCE, spread

ROOT = rounds.ROOT
ALLOWED = 1.03
"""So many times the time of the commit a row may take."""
HEAD = [
    "|  | batch | threads | then | now / then | then / then | load |",
    "| --- | --: | --: | --: | --: | --: | --: |",
]
SIDES = {"then": "then", "now": "now", "again": "then"}
"""The processes that take turns, and whose sources and files each has."""


def main() -> int:
    options = _options()
    commit, when = _named(options.commit)
    then = options.folder / commit
    _check_out(commit, then / "sources")
    sources = {"then": then / "sources", "now": ROOT}
    lines, slower = list(HEAD), list[str]()
    for item in options.work:
        folders = {"then": then / item.name, "now": options.folder / "now" / item.name}
        missing = [name for name, folder in folders.items() if not _export(item.name, folder, sources[name])]
        if missing:
            print(f"{item.name}: not exported {' and '.join(missing)}; see prepare.log beside the files", flush=True)
            continue
        batches = [batch for batch in item.batches if not options.batches or batch in options.batches]
        for threads in options.threads:
            for batch, load, seconds in _measured(item, folders, sources, batches, threads, options):
                lines.append(line(item, batch, threads, seconds, load))
                slower += [f"{item.name} {batch} ({threads})"] * (_ratio(seconds, "now")[0] > ALLOWED)
                print(lines[-1], flush=True)
    verdict = f"Slower by more than {ALLOWED - 1:.0%}: {', '.join(slower) or 'none'}."
    print(verdict)
    if options.publish:
        about = f"On {machine.name()}, {time.strftime('%Y-%m-%d')}, against {commit} of {when}."
        text = "\n".join(["## Against an earlier commit", "", f"{about} {ABOUT}", "", *lines, "", verdict])
        regions.replace(ROOT / "docs" / "benchmarks.md", "against", "python -m tests.benchmarks.against", text)
    return 0


ABOUT = (
    "Value and derivative of the same networks, exported and run by the sources of then and by those of now, which take"
    " turns; medians of ratios within a round, and quartiles. *then / then* is another process with the sources of"
    " then: what is no further from 1 than that is noise. Times are processor time with one thread, of the clock with"
    " more."
)


def line(item: work.Work, batch: int, threads: int, seconds: Mapping[str, list[float]], load: float) -> str:
    """One row of the table, of the ``seconds`` of a call in each round by :data:`SIDES`."""
    cells = [item.title, f"{batch:,}", f"{threads}", duration(statistics.median(seconds["then"]))]
    for side in ("now", "again"):
        middle, low, high = _ratio(seconds, side)
        text = f"{middle:.3f}" if side == "again" else f"**{middle:.3f}**"
        cells.append(f"{text} ({low:.3f} to {high:.3f})")
    return "| " + " | ".join([*cells, f"{load:.1f}"]) + " |"


def _ratio(seconds: Mapping[str, list[float]], side: str) -> tuple[float, float, float]:
    """Median and quartiles of the time of ``side`` over that of then."""
    return spread([own / before for own, before in zip(seconds[side], seconds["then"], strict=True)])


def _named(commit: str) -> tuple[str, str]:
    """The short hash of a commit, and its day."""
    command = ["git", "log", "-1", "--format=%h %cs", commit]
    short, day = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return short, day


def _check_out(commit: str, folder: pathlib.Path) -> None:
    """The packages of the commit."""
    command = ["git", "archive", commit, "runtime", "exporter"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def _export(name: str, folder: pathlib.Path, sources: pathlib.Path) -> bool:
    """Whether the row is exported; files of an earlier run are used where they are of the same sources."""
    if sources != ROOT and (folder / "facts.json").exists():
        return True
    folder.mkdir(parents=True, exist_ok=True)
    print(f"exporting {name} by {sources}", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.prepare", name, str(folder)]
    environment = {**os.environ, **_path(sources), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with (folder / "prepare.log").open("w") as log:
        return not subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False).returncode


def _path(sources: pathlib.Path) -> dict[str, str]:
    """The packages of ``sources`` come before those that are installed."""
    return {"PYTHONPATH": os.pathsep.join(str(sources / name) for name in ("runtime", "exporter"))}


def _measured(
    item: work.Work,
    folders: Mapping[str, pathlib.Path],
    sources: Mapping[str, pathlib.Path],
    batches: list[int],
    threads: int,
    options: argparse.Namespace,
) -> Iterator[tuple[int, float, dict[str, list[float]]]]:
    """Batch size, load of the machine, and seconds of a call in each round, by :data:`SIDES`."""
    load = os.getloadavg()[0]
    found: dict[int, dict[str, list[float]]] = {batch: {side: [] for side in SIDES} for batch in batches}
    for _ in range(options.openings):
        with _opened(item, folders, sources, threads) as processes:
            for batch in batches:
                for side, seconds in _rounds(processes, batch, max(1, options.rounds // options.openings)).items():
                    found[batch][side] += seconds
    for batch, seconds_by_side in found.items():
        yield batch, load, seconds_by_side


@contextlib.contextmanager
def _opened(
    item: work.Work, folders: Mapping[str, pathlib.Path], sources: Mapping[str, pathlib.Path], threads: int
) -> Iterator[dict[str, rounds.Process]]:
    """A process for each of :data:`SIDES`."""
    engine = engines.engine(REFERENCE)
    processes = {
        side: rounds.Process(engine, item, folders[whose], threads, _path(sources[whose]))
        for side, whose in SIDES.items()
    }
    try:
        for side, process in processes.items():
            if "ready" not in (reply := process.answer(rounds.OPENING_SECONDS)):
                raise RuntimeError(f"{item.name} {side}: {reply['skipped']}")
        yield processes
    finally:
        for process in processes.values():
            process.close()


def _rounds(processes: Mapping[str, rounds.Process], batch: int, times: int) -> dict[str, list[float]]:
    """Seconds of a call; who begins changes from round to round. About 0.1 s of calls are a turn."""
    once = [process.measure(batch, 2)["seconds"] / 2 for process in processes.values() for _ in range(2)]
    calls = max(1, min(5000, round(0.1 / max(min(once), 1e-7))))
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(times):
        first = number % len(processes)
        names = [*processes][first:] + [*processes][:first]
        for name in names[:: 1 if number % 2 else -1]:
            seconds[name].append(processes[name].measure(batch, calls)["seconds"] / calls)
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.against", description=__doc__)
    rows = [item.name for item in work.ROWS]
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("work", nargs="*", metavar="ROW", help=f"rows to measure (default: all): {', '.join(rows)}")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="default: 1 2")
    parser.add_argument("--batches", nargs="+", type=int, help="of the rows' batch sizes only these (default: all)")
    parser.add_argument("--rounds", type=int, default=25, help="how often each has its turn (default: 25)")
    parser.add_argument(
        "--openings", type=int, default=5, help="in so many processes, one after the other (default: 5)"
    )
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "benchmarks" / "against")
    parser.add_argument("--publish", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args()
    if unknown := [name for name in options.work if name not in rows]:
        parser.error(f"there is no row {', '.join(unknown)}; rows are {', '.join(rows)}")
    options.work = [item for item in work.ROWS if item.name in (options.work or rows)]
    options.folder = options.folder.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
