"""``pullback info``: show what a bundle computes, how it was made and how accurate it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

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
    for name, columns in sorted(bundle.features.items()):
        text.append(f"features of {name}: {', '.join(columns)}")
    if found:
        for name, (low, high) in sorted(found.ranges.items()):
            text.append(f"parity was measured for {name} in [{low:g}, {high:g}]")
        text += worst_lines(found.parity)
        width = max(len(file.path) for file in found.files)
        text += ["files:", *(f"  {file.path.ljust(width)} {file.size:>14,} bytes" for file in found.files)]
    return text


def worst_lines(parity: Mapping[str, object]) -> list[str]:
    """One line on the comparison that is nearest to its bound, where the manifest has such numbers.

    They are no part of what is checked when a bundle is read.
    """
    rows = parity.get("rows")
    found = [row for row in rows if _is_comparison(row)] if isinstance(rows, list) else []
    if not found:
        return []
    worst = max(found, key=lambda row: _relative(row, "max_error") / row["bound"])
    line = f"worst in parity: {worst.get('output')} ({str(worst.get('stage')).split(':')[0]})"
    line += f" is off by {_relative(worst, 'max_error'):.1e} of a scale of {worst['scale']:.3g}"
    if worst.get("reference"):
        line += f" from {worst['reference']}"
    if isinstance(worst.get("live_error"), int | float):
        line += f", the live model by {_relative(worst, 'live_error'):.1e}"
    return [f"{line}; allowed are {worst['bound']:.1e}"]


def _is_comparison(row: object) -> bool:
    """Whether numbers of a written file were compared, and not derivatives with each other or with differences."""
    if not isinstance(row, dict) or str(row.get("stage")).startswith(("law ", "central differences")):
        return False
    if str(row.get("stage")).endswith(": live model"):
        return False
    numbers = [row.get(key) for key in ("max_error", "scale", "bound")]
    known = all(isinstance(number, int | float) for number in numbers)
    return known and bool(row["bound"]) and bool(row["scale"])


def _relative(row: Mapping[str, Any], key: str) -> float:
    return float(row[key] / row["scale"])


def _function_lines(spec: FunctionSpec) -> list[str]:
    requests = {derivative.name: derivative.request for derivative in spec.derivatives}
    rows = [("in ", t.name, t.dtype, shape_text(t.shape), "") for t in spec.inputs]
    rows += [("out", t.name, t.dtype, shape_text(t.shape), requests.get(t.name, "")) for t in spec.outputs]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    head = f"{spec.name} ({f'one derivative {spec.granularity}' if spec.batched else 'whole arrays'})"
    return [head] + ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
