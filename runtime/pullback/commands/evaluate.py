"""``pullback eval``: evaluate a file of inputs, larger than memory if need be, into a file of results."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pullback import sinks
from pullback.backends import Array
from pullback.bundle import Bundle, load
from pullback.errors import InputError, NotExportedError
from pullback.function import Function
from pullback.sources import Source, open_source, pyarrow_parquet

NAME = "eval"

_BLOCK_BYTES = 8 * 2**20
_MOST_ROWS = 65536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("input", metavar="INPUT", type=Path, help=".npy, .npz, .csv or .parquet")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help=".npz, .npy, .csv or .parquet")
    parser.add_argument("--function", default="evaluate", help="evaluate (the default), vjp, jvp or hvp")
    parser.add_argument("--fetch", metavar="NAME,...", help="only these results")
    parser.add_argument("--rows", type=_positive, help="rows to hold in memory at a time")
    parser.add_argument("--threads", type=int, help="threads of one evaluation")
    parser.add_argument("--check-finite", action="store_true", help="a row with NaN or infinity is a bad row")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad rows out; FILE.bad.csv lists them")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE, and forget an interrupted run")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all rows; 1 at the first bad one unless ``--skip-bad``."""
    target: Path = arguments.output
    _check_target(target, arguments)
    bundle = load(arguments.bundle, arguments.backend, threads=arguments.threads)
    if arguments.function not in bundle.functions:
        raise NotExportedError(f"{bundle.path}: holds no function {arguments.function!r}")
    function = bundle.functions[arguments.function]
    names = function.fetch_names(tuple(arguments.fetch.split(",")) if arguments.fetch else None)
    if target.suffix.lower() == ".npy" and len(names) != 1:
        raise argparse.ArgumentTypeError(
            f"{target}: an npy file holds one result; choose with --fetch: {', '.join(names)}"
        )
    if not function.rowwise:
        return _evaluate_whole(function, names, arguments)
    source = open_source(arguments.input, function.spec.inputs)
    store = sinks.Store(target, _job(bundle, names, arguments), arguments.resume)
    try:
        _evaluate_rows(function, names, source, store, arguments)
        store.finish()
    except BaseException:
        store.close()
        raise
    if not arguments.quiet:
        bad = f", {store.bad_rows} bad rows listed in {sinks.bad_rows_path(target)}" if store.bad_rows else ""
        print(f"{target}: {store.rows_written} rows of {', '.join(names)}{bad}")
    return 0


def _evaluate_rows(
    function: Function, names: tuple[str, ...], source: Source, store: sinks.Store, arguments: argparse.Namespace
) -> None:
    size = arguments.rows or _block_rows(function)
    evaluate: Any = functools.partial(function, fetch=names)
    with _progress(source.rows, store.rows_read, arguments.quiet) as progress:
        for inputs, bad in source.blocks(store.rows_read, size):
            first, good = store.rows_read, len(next(iter(inputs.values())))
            count = good + len(bad)
            results = evaluate(**inputs)._asdict() if good or not store.rows_read else {}
            if arguments.check_finite:
                results, more = _finite(inputs, results, first, bad)
                bad = sorted(bad + more)
            if bad and not arguments.skip_bad:
                row, reason = bad[0]
                raise InputError(f"{arguments.input}: row {row}: {reason}. --skip-bad leaves such rows out")
            if count or not store.rows_written:
                store.append(results, count, bad)
            progress.update(count)


def _finite(
    inputs: dict[str, Array], results: dict[str, Array], first: int, bad: list[tuple[int, str]]
) -> tuple[dict[str, Array], list[tuple[int, str]]]:
    """The results of rows that are finite everywhere, and the others with their reason."""
    good = len(next(iter(inputs.values())))
    taken = {row - first for row, _ in bad}
    numbers = [row for row in range(good + len(bad)) if row not in taken]
    reasons: dict[int, str] = {}
    for what, arrays in (("input", inputs), ("result", results)):
        for name, array in arrays.items():
            finite = np.isfinite(array.reshape(good, -1)).all(axis=1) if good else np.ones(0, bool)
            for row in np.flatnonzero(~finite):
                reasons.setdefault(int(row), f"{what} {name!r} is not finite")
    keep = [row for row in range(good) if row not in reasons]
    return {k: array[keep] for k, array in results.items()}, [(first + numbers[row], reasons[row]) for row in reasons]


def _evaluate_whole(function: Function, names: tuple[str, ...], arguments: argparse.Namespace) -> int:
    """A function of whole arrays: one call."""
    if arguments.input.suffix.lower() not in (".npz", ".npy") or arguments.output.suffix.lower() not in (
        ".npz",
        ".npy",
    ):
        raise argparse.ArgumentTypeError(
            f"{function.spec.name} takes whole arrays: use npz or npy for input and output"
        )
    try:
        with np.load(arguments.input, allow_pickle=False) as found:
            held = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else {function.spec.inputs[0].name: found}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{arguments.input}: cannot be read ({error})") from error
    wanted = {tensor.name for tensor in function.spec.inputs}
    evaluate: Any = functools.partial(function, fetch=names)
    results = evaluate(**{name: held[name] for name in held if name in wanted})._asdict()
    made = arguments.output.with_name(arguments.output.name + ".new")
    with open(made, "wb") as stream:
        if arguments.output.suffix.lower() == ".npz":
            np.savez(stream, **results)
        else:
            np.save(stream, results[names[0]])
    made.replace(arguments.output)
    if not arguments.quiet:
        print(f"{arguments.output}: {', '.join(names)}")
    return 0


def _check_target(target: Path, arguments: argparse.Namespace) -> None:
    if target.suffix.lower() not in sinks.WRITERS:
        raise argparse.ArgumentTypeError(f"{target}: unknown kind of output; known are {', '.join(sinks.WRITERS)}")
    if not target.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{target.parent}: there is no such folder")
    if target.suffix.lower() == ".parquet":
        pyarrow_parquet()
    part = target.with_name(target.name + ".part")
    if target.exists() and not arguments.overwrite and not (arguments.resume and part.exists()):
        raise argparse.ArgumentTypeError(f"{target}: exists; --overwrite replaces it")
    if part.exists() and not arguments.overwrite and not arguments.resume:
        raise argparse.ArgumentTypeError(
            f"{part}: left by an interrupted run; --resume continues it, --overwrite starts again"
        )


def _job(bundle: Bundle, names: tuple[str, ...], arguments: argparse.Namespace) -> dict[str, object]:
    """What must be the same for a run to be continued."""
    status = arguments.input.stat()
    return {
        "bundle": bundle.digest,
        "backend": bundle.backend,
        "function": arguments.function,
        "results": list(names),
        "input": str(arguments.input.resolve()),
        "input size": status.st_size,
        "input time": status.st_mtime_ns,
        "--skip-bad": arguments.skip_bad,
        "--check-finite": arguments.check_finite,
        "--rows": arguments.rows,
    }


def _block_rows(function: Function) -> int:
    """Rows whose inputs and results take about ``_BLOCK_BYTES``."""
    spec = function.spec
    row = sum(
        math.prod(dim for dim in t.shape[1:] if isinstance(dim, int)) * np.dtype(t.dtype).itemsize
        for t in (*spec.inputs, *spec.outputs)
    )
    return max(1, min(_MOST_ROWS, _BLOCK_BYTES // max(row, 1)))


class _Silent:
    """A progress bar that shows nothing."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, rows: int) -> None:
        """Nothing to show."""


def _progress(rows: int | None, done: int, quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return _Silent()
    try:
        from tqdm import tqdm
    except ImportError:
        return _Silent()
    return tqdm(total=rows, initial=done, unit="rows", unit_scale=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
