"""``python -m tests.benchmarks``: exports the networks, measures every engine, writes the page and the picture."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from tests.benchmarks import causes, engines, footprint, machine, picture, regions, report, results, rounds, start, work
from tests.benchmarks.rows import REFERENCE, Row

ROOT = rounds.ROOT
RUN = "results.json"
START = "bowl"
GROWTH = ("bowl", "surrogate")
GROWTH_BATCHES = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)


def main() -> int:
    options = _options()
    if options.agree:
        return _agree(options)
    found = results.load(options.folder / RUN) if options.keep or options.report else results.Results()
    if not options.report:
        _measure(options, found)
    _write(found, options.folder)
    if options.publish:
        published = results.load(results.PUBLISHED)
        published.merge(found)
        published.save(results.PUBLISHED)
        _write(published, ROOT / "docs")
        report.into_readme(ROOT / "README.md", published.of_latest())
    print("\n".join(report.table(found.rows)))
    return 0


def _write(found: results.Results, folder: pathlib.Path) -> None:
    """The page and its picture; sections that other commands made stay."""
    path = folder / "benchmarks.md"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    text = report.page(found)
    path.write_text(regions.keep(text, old), encoding="utf-8")
    picture.draw(folder / report.PICTURE, found.of_latest(), found.growth)


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    saved_model = footprint.folder_bytes(folder / "derivative.pullback" / "saved_model")
    sizes = {"saved_model_bytes": saved_model, "keras_bytes": (folder / "model.keras").stat().st_size}
    facts: dict[str, Any] = {**json.loads((folder / "facts.json").read_text()), **sizes}
    return facts


def _measure(options: argparse.Namespace, found: results.Results) -> None:
    found.machines = {machine.name(): machine.versions()}
    for item in options.work:
        folder = options.folder / item.name
        if not _prepare(item.name, folder, options.keep):
            continue
        found.facts[item.name] = _facts(folder)
        for threads in options.threads:
            batches = _batches(options, item)
            for row in rounds.run(item, folder, batches, threads, options.engines, options.rounds, options.slice):
                found.add(row)
                print("\n".join(report.table([row])[2:]), f"[{threads}]", flush=True)
                found.save(options.folder / RUN)
    _profile_those_behind(options.folder, found)
    if options.resources:
        _measure_resources(options, found)


def _batches(options: argparse.Namespace, item: work.Work) -> tuple[int, ...]:
    of_row = item.quick if options.quick else item.batches
    return tuple(batch for batch in of_row if not options.batches or batch in options.batches)


def _measure_resources(options: argparse.Namespace, found: results.Results) -> None:
    if not all(_prepare(name, options.folder / name, True) for name in (START, *GROWTH)):
        return
    values = (*engines.FLOORS, *engines.BOUNDS)
    started = [item.name for item in options.engines if item.name not in values]
    found.starts = [start.measure(name, START, options.folder / START, 5) for name in started]
    found.growth = {name: _growth(name, options.folder / name) for name in GROWTH}
    found.save(options.folder / RUN)


def _agree(options: argparse.Namespace) -> int:
    """Prints whether every engine agrees; 1 where one is wrong, or Pullback has no answer."""
    wrong = False
    for item in options.work:
        folder = options.folder / item.name
        if not _prepare(item.name, folder, options.keep):
            wrong = True
            continue
        answering = tuple(engine for engine in options.engines if engine.name not in engines.BOUNDS)
        for engine_is_wrong, line in rounds.agree(item, folder, options.threads[0], answering):
            wrong |= engine_is_wrong
            print(line, flush=True)
    return int(wrong)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    rows, all_engines = [item.name for item in work.ROWS], [item.name for item in engines.ENGINES]
    parser.add_argument("work", nargs="*", metavar="ROW", help=f"rows to measure (default: all): {', '.join(rows)}")
    parser.add_argument("--quick", action="store_true", help="small networks, few batch sizes")
    parser.add_argument(
        "--engines",
        nargs="+",
        metavar="ENGINE",
        choices=all_engines,
        default=all_engines,
        help=f"of {', '.join(all_engines)}; {' and '.join(engines.ALWAYS)} are always measured",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", nargs="+", type=int, default=list(range(1, 1 + min(cores, 2))), help="default: 1 2"
    )
    parser.add_argument("--batches", nargs="+", type=int, help="of the rows' batch sizes only these (default: all)")
    parser.add_argument("--rounds", type=int, default=11, help="how often each engine has its turn (default: 11)")
    parser.add_argument("--slice", type=float, default=0.1, help="seconds of a turn (default: 0.1; one call at least)")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument("--keep", action="store_true", help="add to the last run: use its exported files")
    parser.add_argument(
        "--resources", action="store_true", help="cold start, memory and growth too, where not all rows are requested"
    )
    parser.add_argument("--agree", action="store_true", help="time nothing; say whether the engines agree")
    parser.add_argument("--report", action="store_true", help="measure nothing; report the last run")
    parser.add_argument(
        "--publish", action="store_true", help="write docs/benchmarks.md, its picture, and the README's table"
    )
    options = parser.parse_args()
    if wrong := _wrong_option(options, rows, cores):
        parser.error(wrong)
    options.resources |= not (options.quick or options.work)
    chosen = [item for item in work.ROWS if item.name in (options.work or rows)]
    options.work = [item for item in chosen if item.quick or not options.quick]
    wanted = {*options.engines, *engines.ALWAYS}
    options.engines = tuple(item for item in engines.ENGINES if item.name in wanted)
    options.folder = options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _wrong_option(options: argparse.Namespace, rows: list[str], cores: int) -> str:
    """What cannot be measured as requested; empty where all can."""
    if unknown := [name for name in options.work if name not in rows]:
        return f"there is no row {', '.join(unknown)}; rows are {', '.join(rows)}"
    if options.quick and (large := [name for name in options.work if not work.row(name).quick]):
        return f"--quick excludes {', '.join(large)}: measure it without"
    if not all(1 <= threads <= cores for threads in options.threads):
        return f"--threads must be from 1 to {cores}, the processors that this process may use"
    sizes = {batch for item in work.ROWS if item.name in (options.work or rows) for batch in item.batches}
    if unknown_sizes := [f"{batch:,}" for batch in options.batches or () if batch not in sizes]:
        return f"{', '.join(options.work) or 'any row'} has no batch of {', '.join(unknown_sizes)}"
    if options.report and not (options.folder / RUN).exists():
        return f"--report: {options.folder} holds no results; measure first, or name the --folder of a run"
    return ""


def _prepare(name: str, folder: pathlib.Path, keep: bool) -> bool:
    if keep and (folder / "facts.json").exists():
        return True
    print(f"exporting {name}", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.prepare", name, str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: not exported: {done.stderr.strip().splitlines()[-1]}", flush=True)
    return done.returncode == 0


def _profile_those_behind(folder: pathlib.Path, found: results.Results) -> None:
    for row in found.rows:
        bundle = folder / row.work / "derivative.pullback"
        if causes.missed(row) and causes.key(row) not in found.profiles and bundle.exists():
            found.profiles[causes.key(row)] = profiled(bundle, row)
            found.save(folder / RUN)


def profiled(bundle: pathlib.Path, row: Row) -> list[dict[str, Any]]:
    """The operators of ``pullback bench --profile`` at this row's batch and threads; the slowest first."""
    function = "hvp" if work.row(row.work).kind == "hvp" else "evaluate"
    size = ["--batch", str(row.batch), "--threads", str(row.threads), "--function", function, "--seconds", "0.2"]
    command = [sys.executable, "-m", "pullback.cli", "bench", str(bundle), *size, "--profile", "--json"]
    environment = engines.environment(engines.engine(REFERENCE), row.threads)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    operators: list[dict[str, Any]] = json.loads(done.stdout)["operators"]
    return operators


def _growth(name: str, folder: pathlib.Path) -> list[dict[str, float]]:
    """Best of five calls at each batch size, one thread, each batch in a process of its own for its peak memory."""
    points = []
    for batch in GROWTH_BATCHES:
        process = rounds.Process(engines.engine(REFERENCE), work.row(name), folder, 1)
        try:
            process.answer(rounds.OPENING_SECONDS)
            replies = [process.measure(batch, 1) for _ in range(6)]
        finally:
            process.close()
        best = min(replies[1:], key=lambda reply: reply["seconds"])
        points.append({"batch": batch, **{key: best[key] for key in ("seconds", "megabytes", "arrays")}})
    return points


if __name__ == "__main__":
    sys.exit(main())
