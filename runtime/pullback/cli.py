"""``pullback COMMAND BUNDLE`` (info, eval, verify, plot, web, ...): arguments, exit codes, one line of error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pullback.backends.table import BACKENDS
from pullback.commands import bench, card, casadi, evaluate, info, pack, plot, serve, triton, verify, web
from pullback.errors import MissingDependencyError, NotExportedError, PullbackError

SUCCESS, FAILURE, USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a parity or data failure, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return _failed("interrupted", FAILURE)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone
        return SUCCESS
    except Exception as error:
        if arguments.debug:
            raise
        return _failed(_one_line(error), exit_code(error))


def exit_code(error: Exception) -> int:
    """2 for what a different command line would mend, else 1."""
    return (
        USAGE if isinstance(error, (NotExportedError, MissingDependencyError, argparse.ArgumentTypeError)) else FAILURE
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, (PullbackError, argparse.ArgumentTypeError)) else f"{type(error).__name__}: {text}"


def _failed(text: str, code: int) -> int:
    print(f"pullback: error: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pullback",
        description="Evaluate, verify and measure bundles of a model and its derivatives.",
        epilog="Exit code 0 is success, 1 a parity or data failure, 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"pullback {_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (info, evaluate, verify, bench, plot, pack, card, casadi, web, serve, triton):
        summary = (module.__doc__ or "").splitlines()[0].split(": ", 1)[1]
        command = commands.add_parser(module.NAME, help=summary, description=summary)
        command.add_argument(
            "bundle", metavar="BUNDLE", help="a bundle folder, a zip or .onnx file, a SavedModel, or a URL"
        )
        command.add_argument("--backend", choices=tuple(BACKENDS), help="what computes; a SavedModel can run code")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _version() -> str:
    import pullback

    return pullback.__version__


if __name__ == "__main__":
    sys.exit(main())
