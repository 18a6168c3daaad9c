"""``pullback plot``: draw what a bundle computes: curves, saliency, parity."""

from __future__ import annotations

import argparse
from pathlib import Path

from pullback.bundle import load

NAME = "plot"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help=".png, .svg or .pdf")
    parser.add_argument("--kind", choices=("curve", "saliency", "parity"), help="default: whichever suits the bundle")


def run(arguments: argparse.Namespace) -> int:
    """Write one picture."""
    from pullback.display.pictures import draw

    if arguments.output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise argparse.ArgumentTypeError(f"{arguments.output}: unknown kind of picture; known are .png, .svg, .pdf")
    if not arguments.output.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{arguments.output.parent}: there is no such folder")
    bundle = load(arguments.bundle, arguments.backend)
    kind = draw(bundle, arguments.output, arguments.kind)
    print(f"{arguments.output}: {kind} of {bundle.path.name}")
    return 0
