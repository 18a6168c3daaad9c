"""The commands ``pullback-export`` and ``pullback-parity``.

Exit codes: 0 success, 1 a parity or data failure, 2 wrong usage or a model that cannot be exported.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from pullback import onednn
from pullback.errors import BundleError, PullbackError
from pullback.parity import ParityError

from pullback_export.arguments import (
    axes,
    batched,
    features,
    import_modules,
    inputs,
    named_model,
    outputs,
    samples,
    scaling,
    tolerances,
)

# One of each; ``tests/exporter/bundles/test_command_functions.py`` runs them.
EXAMPLES = """\
examples:
  a Keras file, .keras or .h5, of any backend
    pullback-export bowl.keras bowl.pullback -d "gradient(y, x)"
  from an inner layer on
    pullback-export bowl.keras bowl.pullback --input hidden -d "jacobian(y, hidden)"
  a SavedModel folder, one of its signatures or functions
    pullback-export folder bowl.pullback --signature energy -d "hessian(y, x)"
  a function, or an object of Keras or TensorFlow, of a module
    pullback-export my.module:energy energy.pullback --input "positions:float64[None,3]" --not-batched \\
        -d "gradient(y, positions)" --axes positions:0=atoms
  the same of a file
    pullback-export path/to/file.py:energy energy.pullback --input "x:float32[None,3]" --input "t:float32[None]"
"""
MODEL = "a .keras or .h5 file, a SavedModel folder, MODULE:NAME or FILE.py:NAME, a function or model in Python"


def main(arguments: Sequence[str] | None = None) -> int:
    """``pullback-export MODEL BUNDLE [-d "gradient(y, x)"]...``"""
    parser = argparse.ArgumentParser(
        "pullback-export",
        description="Exports a model of Keras or TensorFlow, or a function, together with its input derivatives.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help=MODEL)
    parser.add_argument("bundle", help="the folder to write, such as model.pullback")
    parser.add_argument(
        "-d",
        "--derivative",
        action="append",
        default=[],
        metavar="REQUEST",
        help='such as "gradient(y, x)"; repeatable',
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--not-batched",
        "--unbatched",
        dest="unbatched",
        action="store_true",
        help="derivatives of the whole tensor, not per sample",
    )
    rows.add_argument(
        "--batched",
        metavar="INPUT[,...]",
        help="the inputs with a batch axis, where others have one value for all rows; with --batch-axes 2, what their"
        " axes count: u=functions,x=points,z=both",
    )
    parser.add_argument(
        "--batch-axes",
        type=int,
        default=1,
        metavar="NUMBER",
        help="2: functions meet points, and derivatives are those of each function at each point (default: 1)",
    )
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
    parser.add_argument(
        "--scaling",
        action="append",
        default=[],
        metavar="NAME=OFFSET,SCALE",
        help="physical = offset + scale * model, numbers or lists: x=0.5,2 or x=[0,1],[2,4]; repeatable",
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
    parser.add_argument(
        "--external-data",
        action="store_true",
        default=None,
        help="weights from 1 MB on in files beside the ONNX graphs; without it where a graph cannot hold them",
    )
    _shared(parser)
    return _run(parser, arguments, _export)


def parity_main(arguments: Sequence[str] | None = None) -> int:
    """``pullback-parity MODEL BUNDLE``"""
    parser = argparse.ArgumentParser("pullback-parity", description="Compares an existing bundle with a live model.")
    parser.add_argument("model", help=MODEL)
    parser.add_argument("bundle", help="the bundle to compare with it")
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
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME:DTYPE[SIZES]",
        help="an input of a function, x:float32[None,3], or an inner layer of a Keras model to start at, hidden;"
        " repeatable, in order",
    )
    parser.add_argument(
        "--outputs",
        metavar="NAME[=NEW],...",
        help="names of those to keep, each with a new name where NAME=NEW, or new names for all",
    )
    parser.add_argument("--samples", help="npz file with real inputs by name, for parity")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module with the model's own layers, from here or installed; repeatable",
    )
    parser.add_argument(
        "--signature", help="which signature or function of a SavedModel; serving_default, or the only one"
    )
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
    if not options.debug:
        _quiet()
    onednn.switch_off()  # before modules of the user's import TensorFlow
    try:
        import_modules(options.modules)
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


def _quiet() -> None:
    """What TensorFlow logs and NumPy warns of while samples are tried is not what the command has to say.

    (What TensorFlow writes when it is imported, :mod:`pullback_commands` keeps away.)
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of child processes
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for kind in (RuntimeWarning, UserWarning, DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", kind)
    warnings.simplefilter("default", onednn.UnsafeTensorFlowWarning)


def _leave(code: int) -> NoReturn:
    """Ends the process of a command: taking TensorFlow apart first would take seconds, and no file is open any more."""
    atexit._run_exitfuncs()  # stops the gate's child process, where there is one
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _export(options: argparse.Namespace) -> None:
    from pullback_export.export import FORMATS, export

    export(
        named_model(options.model),
        options.bundle,
        options.derivative,
        inputs=inputs(options.input),
        outputs=outputs(options.outputs),
        samples=samples(options.samples),
        batched=False if options.unbatched else batched(options.batched),
        batch_axes=options.batch_axes,
        training=options.training,
        formats=tuple(options.format or FORMATS),
        unconnected=options.unconnected,
        opset=options.opset,
        precision=options.precision,
        tolerance=options.tolerance,
        axes=axes(options.axes),
        features=features(options.features),
        scaling=scaling(options.scaling),
        signature=options.signature,
        overwrite=options.overwrite,
        external_data=options.external_data,
        time_limit=options.time_limit,
        progress=_silent if options.quiet else print,
    )


def _compare(options: argparse.Namespace) -> None:
    from pullback_export.gate.existing_bundle import compare

    report = compare(
        named_model(options.model),
        options.bundle,
        samples(options.samples),
        inputs=inputs(options.input),
        outputs=outputs(options.outputs),
        tolerance=tolerances(options.tolerance),
        training=options.training,
        signature=options.signature,
        time_limit=options.time_limit,
    )
    if not options.quiet:
        print(report)
    report.require(options.bundle)


def _silent(line: str) -> None:
    """Discards the progress lines."""
