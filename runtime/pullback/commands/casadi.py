"""``pullback casadi``: write ONNX files that CasADi opens directly, with derivatives under CasADi's names."""

from __future__ import annotations

import argparse
from pathlib import Path

from pullback.bundle import load
from pullback.integrations.whole_derivatives import inputs_of, values_of

NAME = "casadi"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("target", metavar="DIR", type=Path, help="the folder to write the files into")
    parser.add_argument("--name", default="f", help="name of the function (default: f)")
    parser.add_argument("--of", help="comma-separated outputs; all by default")
    parser.add_argument("--wrt", help="comma-separated inputs; all float inputs by default")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(arguments: argparse.Namespace) -> int:
    """Values, Jacobian, second order and products as far as the bundle holds them, and the function saved by CasADi."""
    from pullback.integrations.casadi import native  # raises MissingDependencyError: other commands do without CasADi
    from pullback.integrations.casadi.files import Files

    bundle = load(arguments.bundle, arguments.backend)
    floats = [tensor.name for tensor in inputs_of(bundle) if tensor.dtype.startswith("float")]
    of = arguments.of.split(",") if arguments.of else [tensor.name for tensor in values_of(bundle)]
    wrt = arguments.wrt.split(",") if arguments.wrt else floats
    files = Files(bundle, of, wrt, arguments.name)
    products = [files.products("vjp"), files.products("jvp")]
    written = [files.value(), *files.first(), *(files.second() or []), *(item for item in products if item is not None)]
    saved = arguments.target / f"{arguments.name}.casadi"
    paths = [arguments.target / file.name for file in written]
    taken = [path for path in (*paths, saved) if path.exists()]
    if taken and not arguments.overwrite:
        raise argparse.ArgumentTypeError(f"{taken[0]}: exists; --overwrite replaces it")
    arguments.target.mkdir(parents=True, exist_ok=True)
    for path, file in zip(paths, written, strict=True):
        path.write_bytes(file.content)
        print(f"{path}: ({', '.join(file.inputs)}) -> ({', '.join(file.outputs)})")
    others = {tensor.name for tensor in inputs_of(bundle)} - set(wrt)
    if others:
        print(f"{saved} was not written: {', '.join(sorted(others))} would have to be fixed")
        return 0
    native.function(bundle, arguments.name, of, wrt, {}, told=False).save(str(saved))
    print(f"{saved}: the function with its derivatives, for casadi.Function.load")
    return 0
