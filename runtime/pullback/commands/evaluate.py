"""``pullback eval``: evaluate a file of inputs, possibly larger than memory, into a file of results."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle, load
from pullback.errors import InputError
from pullback.function import Function
from pullback.streams import sinks
from pullback.streams.parquet import pyarrow_parquet
from pullback.streams.sources import Source, open_source
from pullback.streams.tables import Block
from pullback.texts import numpy_dtype

NAME = "eval"

# Blocks of inputs in, the same blocks with their results by name out; none for a block without a row.
Evaluate = Callable[[Iterable[Block]], Iterator[tuple[Block, dict[str, Array]]]]

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
    parser.add_argument(
        "--cache", metavar="DIR", help="keep optimised graphs there, for a faster start of the next run"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="evaluate on the Dask cluster of this scheduler")
    parser.add_argument("--check-finite", action="store_true", help="a row with NaN or infinity is a bad row")
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows; FILE.bad.csv lists them")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE and discard an interrupted run")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all rows; 1 at the first bad one unless ``--skip-bad``."""
    target: Path = arguments.output
    _check_target(target, arguments)
    bundle = load(arguments.bundle, arguments.backend, threads=arguments.threads, cache=arguments.cache)
    function = bundle.function(arguments.function)
    names = function.fetch_names(tuple(arguments.fetch.split(",")) if arguments.fetch else None)
    if target.suffix.lower() == ".npy" and len(names) != 1:
        raise argparse.ArgumentTypeError(
            f"{target}: an npy file holds one result; choose with --fetch: {', '.join(names)}"
        )
    shared = function.spec.shared_inputs
    if not function.spec.divisible or (shared and arguments.input.suffix.lower() != ".npz"):
        return _evaluate_whole(function, names, arguments)
    source = open_source(arguments.input, [tensor for tensor in function.spec.inputs if tensor.name not in shared])
    call = functools.partial(function, fetch=names, **_shared_values(arguments, function))
    with _evaluator(call, bundle, arguments) as evaluate:
        store = sinks.Store(target, _job(bundle, names, arguments), arguments.resume)
        try:
            _evaluate_rows(call, evaluate, source, store, arguments, arguments.rows or _block_rows(function))
            store.finish()
        except BaseException:
            store.close()
            raise
    if not arguments.quiet:
        bad = f", {store.bad_rows} bad rows listed in {sinks.bad_rows_path(target)}" if store.bad_rows else ""
        print(f"{target}: {store.rows_written} rows of {', '.join(names)}{bad}")
    return 0


def _evaluator(call: Any, bundle: Bundle, arguments: argparse.Namespace) -> contextlib.AbstractContextManager[Evaluate]:
    """What computes the blocks: this process, or a cluster."""
    if not arguments.dask:
        return contextlib.nullcontext(functools.partial(_here, call))
    from pullback.integrations.dask_cluster import Cluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are ours to tell, in one line
    return Cluster(arguments.dask, bundle, arguments.function, call.keywords["fetch"])


def _here(call: Any, blocks: Iterable[Block]) -> Iterator[tuple[Block, dict[str, Array]]]:
    for block in blocks:
        yield block, call(**block[0])._asdict() if len(next(iter(block[0].values()))) else {}


def _evaluate_rows(
    call: Any, evaluate: Evaluate, source: Source, store: sinks.Store, arguments: argparse.Namespace, size: int
) -> None:
    with _progress(source.rows, store.rows_read, arguments.quiet) as progress:
        for (inputs, bad), results in evaluate(source.blocks(store.rows_read, size)):
            count = len(next(iter(inputs.values()))) + len(bad)
            if arguments.check_finite and results:
                results, more = _finite(inputs, results, store.rows_read, bad)
                bad = sorted(bad + more)
            if bad and not arguments.skip_bad:
                row, reason = bad[0]
                raise InputError(f"{arguments.input}: row {row}: {reason}. --skip-bad skips such rows")
            if count:
                store.append(results, count, bad)
            progress.update(count)
        if not store.dtypes():  # not one good row: a call without rows tells dtypes and shapes
            store.append(call(**{name: array[:0] for name, array in inputs.items()})._asdict(), 0, [])


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
            if array.dtype.kind in "OUS":
                continue
            finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
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
    if arguments.dask:
        raise argparse.ArgumentTypeError(
            f"{function.spec.name} takes whole arrays: there is nothing to spread with --dask"
        )
    held = _whole_inputs(arguments.input, function)
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


def _shared_values(arguments: argparse.Namespace, function: Function) -> dict[str, Any]:
    """What all rows share, from an npz file, by the names of the inputs."""
    names = sorted(function.spec.shared_inputs)
    if names and arguments.dask:
        raise argparse.ArgumentTypeError(f"--dask: all rows share {', '.join(names)}; evaluate here, without it")
    if not names:
        return {}
    held = _whole_inputs(arguments.input, function, names)
    for name in names:
        if name not in held:
            raise InputError(f"{arguments.input}: there is no array {name!r}, which all rows share; add it")
    return {name: function.convert(name, held[name]) for name in names}


def _whole_inputs(path: Path, function: Function, names: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays of an npz file by name, those of ``names`` alone; that of an npy file is the first input."""
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return {function.spec.inputs[0].name: found}
        with found:
            return {name: found[name] for name in found.files if names is None or name in names}
    except Exception as error:  # damage makes NumPy and zipfile raise all sorts
        raise InputError(f"{path}: cannot be read ({error})") from error


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
            f"{part}: left by an interrupted run; --resume continues it, --overwrite starts over"
        )


def _job(bundle: Bundle, names: tuple[str, ...], arguments: argparse.Namespace) -> dict[str, object]:
    """What must be the same for a run to be continued; where it is computed may change."""
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
        math.prod(dim for dim in t.sample if isinstance(dim, int)) * numpy_dtype(t.dtype).itemsize
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
