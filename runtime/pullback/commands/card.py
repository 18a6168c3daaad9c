"""``pullback card``: write a model card with the metadata of the Hugging Face Hub."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pullback.bundle import Bundle, load
from pullback.commands.info import worst_lines
from pullback.errors import NotExportedError
from pullback.manifest import FunctionSpec, Manifest, TensorSpec, shape_text

NAME = "card"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument(
        "-o", "--output", metavar="README.md", type=Path, help="the file to write (default: standard output)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the card."""
    target: Path | None = arguments.output
    if target is not None and target.exists() and not arguments.overwrite:
        raise argparse.ArgumentTypeError(f"{target}: exists; --overwrite replaces it")
    if target is not None and not target.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{target.parent}: there is no such folder")
    text = card(load(arguments.bundle, arguments.backend))
    if target is None:
        print(text, end="")
    else:
        target.write_text(text, encoding="utf-8", newline="\n")
    return 0


def card(bundle: Bundle) -> str:
    """The card of a bundle: the same text for the same manifest, wherever the bundle lies.

    Raises:
        NotExportedError: a single ``.onnx`` file or a SavedModel, which has no manifest.
    """
    found = bundle.manifest
    if found is None:
        raise NotExportedError(f"{bundle.path}: a card needs a manifest; give the bundle folder or its zip file")
    name = " ".join(found.name.split())
    lines = [*_metadata(), f"# {_cell(name)}", "", "A model exported with its input derivatives by Pullback."]
    for graph in found.functions:
        lines += ["", *_function(graph.function)]
    lines += ["", *_parity(found), "", *_versions(found), "", *_loading(found)]
    return "\n".join(lines) + "\n"


def _metadata() -> list[str]:
    """The block that the Hub reads; the licence is the author's to add."""
    return ["---", "library_name: pullback", "tags:", "- pullback", "- onnx", "- derivatives", "---", ""]


def _function(spec: FunctionSpec) -> list[str]:
    derivatives = {item.name: item.request for item in spec.derivatives}
    rows = [_row("input", tensor, "seed" if tensor.name in spec.seeds else "") for tensor in spec.inputs]
    for tensor in spec.outputs:
        request = derivatives.get(tensor.name)
        rows.append(_row("derivative" if request else "output", tensor, request or ""))
    return [f"## Function `{spec.name}`", "", "| | name | dtype | shape | computes |", "|---|---|---|---|---|", *rows]


def _row(role: str, tensor: TensorSpec, computes: str) -> str:
    cells = (role, tensor.name, tensor.dtype, shape_text(tensor.shape), computes)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, within a table too."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in text)


def _parity(found: Manifest) -> list[str]:
    allowed = f"float32 {found.tolerance.float32:g}, float64 {found.tolerance.float64:g}"
    lines = ["## Parity", "", f"* tolerance: {allowed}"]
    lines += [f"* {_cell(line)}" for line in worst_lines(found.parity)]
    for name, (low, high) in sorted(found.ranges.items()):
        lines.append(f"* measured for {_cell(name)} in {_cell(f'[{low:g}, {high:g}]')}")
    return lines


def _versions(found: Manifest) -> list[str]:
    made = [f"* {_cell(name)} {_cell(version)}" for name, version in sorted(found.producer.items())]
    return ["## Versions", "", f"* bundle format {found.format_version}", *made]


def _loading(found: Manifest) -> list[str]:
    first = found.functions[0].function
    given = ", ".join(f"{json.dumps(tensor.name)}: ..." for tensor in first.inputs)
    return [
        "## Loading",
        "",
        "```python",
        "import pullback",
        "",
        'bundle = pullback.load(".")  # the folder of this file',
        f"function = bundle.functions[{json.dumps(first.name)}]",
        f"results = function(**{{{given}}})  # NumPy arrays",
        "```",
    ]
