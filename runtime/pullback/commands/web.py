"""``pullback web``: write a static page that runs the bundle in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from pullback.bundle import load

NAME = "web"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("target", metavar="DIR", type=Path, help="the folder to write")
    parser.add_argument(
        "--runtime",
        metavar="FOLDER",
        type=Path,
        help="the npm package onnxruntime-web, if it is not in node_modules",
    )
    parser.add_argument("--title", help="the page's title (default: the bundle's name)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it holds such a page")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say how to look at it."""
    from pullback.web import ort_web, page

    target: Path = arguments.target
    if target.exists() and not arguments.overwrite:
        raise argparse.ArgumentTypeError(f"{target}: exists; --overwrite replaces it")
    if target.exists() and not _is_page(target):
        raise argparse.ArgumentTypeError(f"{target}: exists and is no page of ours; name another folder")
    if not target.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{target.parent}: there is no such folder")
    sizes = page.write(load(arguments.bundle), target, ort_web.find(arguments.runtime), arguments.title)
    print(f"{target}: {len(sizes)} files, {sum(sizes.values()):,} bytes; open {target / 'index.html'}")
    print(f"or serve the folder: python -m http.server --directory {target}")
    return 0


def _is_page(target: Path) -> bool:
    """Whether a folder holds a page and nothing else, or nothing at all."""
    from pullback.web.page import NAMES

    return target.is_dir() and {item.name for item in target.iterdir()} <= set(NAMES)
