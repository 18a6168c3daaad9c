"""``pullback info``: show what a bundle computes, how it was made and how exact it is."""

from __future__ import annotations

import argparse
import json

from pullback import schema
from pullback.bundle import Bundle, load
from pullback.manifest import FunctionSpec, shape_text

NAME = "info"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the bundle's contents."""
    bundle = load(arguments.bundle, arguments.backend)
    if arguments.json:
        print(json.dumps(describe(bundle), indent=2, sort_keys=True))
    else:
        print("\n".join(lines(bundle)))
    return 0


def describe(bundle: Bundle) -> dict[str, object]:
    """Everything that ``info`` knows, as plain data."""
    found = bundle.manifest
    return {
        "path": str(bundle.path),
        "digest": bundle.digest,
        "backend": bundle.backend,
        "functions": schema.plain([function.spec for function in bundle.functions.values()]),
        "tolerance": schema.plain(bundle.tolerance),
        "manifest": None if found is None else schema.plain(found),
    }


def lines(bundle: Bundle) -> list[str]:
    """The text of ``info``."""
    found = bundle.manifest
    text = [f"{found.name if found else bundle.path.name}  ({bundle.path})"]
    if found:
        made = ", ".join(f"{name} {version}" for name, version in sorted(found.producer.items()))
        text.append(f"format {found.format_version}, written by {made or 'unknown'}")
    for function in bundle.functions.values():
        text += ["", *_function_lines(function.spec)]
    text += ["", f"tolerance: float32 {bundle.tolerance.float32:g}, float64 {bundle.tolerance.float64:g}"]
    if found:
        for name, (low, high) in sorted(found.ranges.items()):
            text.append(f"parity was measured for {name} in [{low:g}, {high:g}]")
        width = max(len(file.path) for file in found.files)
        text += ["files:", *(f"  {file.path.ljust(width)} {file.size:>14,} bytes" for file in found.files)]
    return text


def _function_lines(spec: FunctionSpec) -> list[str]:
    requests = {derivative.name: derivative.request for derivative in spec.derivatives}
    rows = [("in ", t.name, t.dtype, shape_text(t.shape), "") for t in spec.inputs]
    rows += [("out", t.name, t.dtype, shape_text(t.shape), requests.get(t.name, "")) for t in spec.outputs]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    head = f"{spec.name} ({'one derivative per sample' if spec.batched else 'whole arrays'})"
    return [head] + ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
