"""The commands ``pullback-export`` and ``pullback-parity``.

Exit codes: 0 success, 1 a parity or data failure, 2 wrong usage or a model that cannot be exported.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import operator
import os
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from pullback import onednn
from pullback.errors import BundleError, PullbackError
from pullback.parity import ParityError


def main(arguments: Sequence[str] | None = None) -> int:
    """``pullback-export MODEL BUNDLE [-d "gradient(y, x)"]...``"""
    parser = argparse.ArgumentParser(
        "pullback-export", description="Exports a Keras model or a SavedModel together with its input derivatives."
    )
    parser.add_argument("model", help="a .keras file or a SavedModel folder")
    parser.add_argument("bundle", help="the folder to write, such as model.pullback")
    parser.add_argument(
        "-d",
        "--derivative",
        action="append",
        default=[],
        metavar="REQUEST",
        help='such as "gradient(y, x)"; repeatable',
    )
    parser.add_argument("--outputs", help="comma-separated names of those to keep, or new ones for all")
    parser.add_argument("--unbatched", action="store_true", help="derivatives of the whole tensor, not per sample")
    parser.add_argument(
        "--axes",
        action="append",
        default=[],
        metavar="INPUT:AXIS=NAME[,...]",
        help="names of free axes, those of one name have one size: positions:0=atoms,species:0=atoms; repeatable",
    )
    parser.add_argument(
        "--features",
        action="append",
        default=[],
        metavar="NAME=COLUMN[,...]",
        help="names of the components of an input or output, the columns of tables: x=age,income; repeatable",
    )
    parser.add_argument("--unconnected", choices=("error", "zero"), default="error")
    parser.add_argument(
        "--format", action="append", choices=("onnx", "saved_model"), help="repeatable; both by default"
    )
    parser.add_argument("--opset", type=int, default=18)
    parser.add_argument("--tolerance", type=float, help="largest error relative to the largest reference value")
    parser.add_argument(
        "--precision",
        choices=("float32", "float64"),
        help="float64: a float32 model as a float64 bundle; float32: one that computes in half precision",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    _shared(parser)
    return _run(parser, arguments, _export)


def parity_main(arguments: Sequence[str] | None = None) -> int:
    """``pullback-parity MODEL BUNDLE``"""
    parser = argparse.ArgumentParser("pullback-parity", description="Compares an existing bundle with a live model.")
    parser.add_argument(
        "model", help="a .keras file, a SavedModel folder, or MODULE:NAME, a function or model in Python"
    )
    parser.add_argument("bundle", help="the bundle to compare with it")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME:DTYPE[SIZES]",
        help="an input of a function, where the bundle does not say it: x:float32[?,3]; repeatable, in order",
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[RESULT=]NUMBER",
        help="largest error relative to the largest value, of all results or of one; the bundle's own by default",
    )
    _shared(parser)
    return _run(parser, arguments, _compare)


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", help="npz file with real inputs by name, for parity")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module with the model's own layers, from here or installed; repeatable",
    )
    parser.add_argument("--signature", help="which signature of a SavedModel; serving_default, or the only one")
    parser.add_argument("--training", action="store_true", help="the training-mode function")
    parser.add_argument(
        "--time-limit", type=float, default=60.0, metavar="SECONDS", help="for one evaluation of a sample (default: 60)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _run(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, action: Callable[[argparse.Namespace], None]
) -> int:
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    onednn.switch_off()  # before modules of the user's import TensorFlow
    try:
        _import(options.modules)
        action(options)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        if arguments is None:
            _leave(130)
        return 130
    except Exception as problem:
        if options.debug:
            raise
        first_line = " ".join(str(problem).split())
        known = isinstance(problem, PullbackError)
        print(f"{parser.prog}: {'' if known else type(problem).__name__ + ': '}{first_line}", file=sys.stderr)
        return 1 if isinstance(problem, ParityError | BundleError | OSError) or not known else 2
    return 0


def _leave(code: int) -> NoReturn:
    """Ends the process of a command: taking TensorFlow apart first would take seconds, and no file is open any more."""
    atexit._run_exitfuncs()  # stops the gate's child process, where there is one
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _import(modules: Sequence[str]) -> None:
    """Registers layers that Keras then finds by their names."""
    from pullback_export.errors import ExportError

    sys.path[:0] = [os.getcwd()] if modules else []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as problem:
            raise ExportError(f"--import {module}: {problem}") from problem


def _export(options: argparse.Namespace) -> None:
    from pullback_export.export import FORMATS, export

    export(
        options.model,
        options.bundle,
        options.derivative,
        outputs=options.outputs.split(",") if options.outputs else None,
        samples=_samples(options.samples),
        batched=False if options.unbatched else None,
        training=options.training,
        formats=tuple(options.format or FORMATS),
        unconnected=options.unconnected,
        opset=options.opset,
        precision=options.precision,
        tolerance=options.tolerance,
        axes=_axes(options.axes),
        features=_features(options.features),
        signature=options.signature,
        overwrite=options.overwrite,
        time_limit=options.time_limit,
        progress=_silent if options.quiet else print,
    )


def _compare(options: argparse.Namespace) -> None:
    from pullback_export.gate.existing_bundle import compare

    report = compare(
        _named_model(options.model),
        options.bundle,
        _samples(options.samples),
        inputs=[_input(text) for text in options.input] or None,
        tolerance=_tolerances(options.tolerance),
        training=options.training,
        signature=options.signature,
        time_limit=options.time_limit,
    )
    if not options.quiet:
        print(report)
    report.require(options.bundle)


def _features(texts: Sequence[str]) -> dict[str, list[str]] | None:
    """``x=age,income`` as :func:`export` takes it."""
    from pullback_export.errors import ExportError

    found = {}
    for text in texts:
        name, equals, columns = text.partition("=")
        if not (name.strip() and equals and columns.strip()):
            raise ExportError(f"--features {text!r}: write NAME=COLUMN,COLUMN, such as x=age,income")
        found[name.strip()] = [column.strip() for column in columns.split(",")]
    return found or None


def _axes(texts: Sequence[str]) -> dict[str, dict[int, str]] | None:
    from pullback_export.errors import ExportError

    found: dict[str, dict[int, str]] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        match = re.fullmatch(r"(\w+):(-?\d+)=(\w+)", item)
        if match is None:
            raise ExportError(f"--axes {item!r}: write INPUT:AXIS=NAME, such as positions:0=atoms,species:0=atoms")
        found.setdefault(match[1], {})[int(match[2])] = match[3]
    return found or None


def _named_model(text: str) -> Any:
    """``MODULE:NAME`` as what it names; anything else is a path."""
    from pullback_export.errors import ExportError

    if os.path.exists(text) or not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        return text
    module, _, name = text.partition(":")
    _import([module])
    try:
        return operator.attrgetter(name)(sys.modules[module])
    except AttributeError as problem:
        raise ExportError(f"{text}: {problem}") from problem


def _input(text: str) -> Any:
    """``x:float32[?,3]`` as a ``tf.TensorSpec``."""
    import tensorflow as tf

    from pullback_export.errors import ExportError

    found = re.fullmatch(r"(\w+):(\w+)\[([\d?, ]*)\]", text)
    if found is None:
        raise ExportError(f"--input {text}: write NAME:DTYPE[SIZES], such as x:float32[?,3]")
    sizes = [item.strip() for item in found[3].split(",") if item.strip()]
    try:
        dtype = tf.as_dtype(found[2])
    except TypeError as problem:
        raise ExportError(f"--input {text}: unknown dtype {found[2]!r}") from problem
    return tf.TensorSpec([None if size == "?" else int(size) for size in sizes], dtype, found[1])


def _tolerances(texts: Sequence[str]) -> float | dict[str, float] | None:
    """One number for all, or numbers by result."""
    from pullback_export.errors import ExportError

    named: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError as problem:
            raise ExportError(f"--tolerance {text}: {number!r} is not a number") from problem
        if not name and len(texts) == 1:
            return value
        if not name:
            raise ExportError(
                f"--tolerance {text}: one number for all results must be the only value; write RESULT=NUMBER for each"
            )
        named[name] = value
    return named or None


def _samples(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from pullback_export.errors import ExportError

    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ExportError(f"{path}: one array without a name; write an npz file, np.savez(path, x=array)")
        with archive:
            return dict(archive)
    except FileNotFoundError as problem:
        raise ExportError(f"{path}: there is no such file; check the path") from problem
    except (OSError, ValueError, zipfile.BadZipFile) as problem:
        raise ExportError(
            f"{path}: not an npz file of arrays: {problem}; write one with np.savez(path, x=array)"
        ) from problem


def _silent(line: str) -> None:
    """Progress that nobody wants to see."""
