"""``pullback pack``: write a bundle as one zip file, which loads like the folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from pullback.bundle import load

NAME = "pack"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("target", metavar="FILE.zip", type=Path, help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Check every file and pack those that the manifest lists."""
    if arguments.target.exists() and not arguments.overwrite:
        raise argparse.ArgumentTypeError(f"{arguments.target}: exists; --overwrite replaces it")
    if not arguments.target.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{arguments.target.parent}: there is no such folder")
    bundle = load(arguments.bundle, arguments.backend)
    bundle.pack(arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes, digest {bundle.digest}")
    return 0
