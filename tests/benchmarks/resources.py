"""What an engine takes besides the time of a call, as tables: cold start, memory, sizes, growth with the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import engines, work

AIM_SECONDS, AIM_MEGABYTES = 0.35, 90


def tables(
    starts: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    growth: Mapping[str, Sequence[Mapping[str, float]]],
) -> list[str]:
    """Lines of Markdown; nothing of what was not measured."""
    return _start_table(starts) + _size_table(facts) + _growth_tables(growth)


def duration(seconds: float) -> str:
    """Three digits, in the unit that suits."""
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError


def _start_table(starts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not starts:
        return []
    lines = [
        "## Cold start",
        "",
        "A new process up to its first derivative of the bowl, one thread: imports, loading, compiling where an engine"
        f" does. Peak resident memory. Aims for Pullback: {AIM_SECONDS} s, {AIM_MEGABYTES} MB. Installed: what"
        " `pip install` brings with all that it requires, here; torch is the wheel for Linux, CUDA included."
        " `torch.compile` finds its cache from an earlier process.",
        "",
        "| engine | seconds | memory, MB | installed, MB |",
        "| --- | --: | --: | --: |",
    ]
    for item in starts:
        title = engines.engine(item["engine"]).title
        if "skipped" in item:
            lines.append(f"| {title} | - | - | {item['skipped']} |")
        else:
            installed = f"{item['installed'] / 2**20:,.0f}" if "installed" in item else "-"
            lines.append(f"| {title} | {item['seconds']:.2f} | {item['megabytes']:,.0f} | {installed} |")
    return [*lines, ""]


def _size_table(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not facts:
        return []
    lines = [
        "## Size and export",
        "",
        "The ONNX file with the derivative, against the model alone; the other files that hold the model; export with"
        " all parity checks, by the clock, on a machine as busy as the load of the rows says.",
        "",
        "| | nodes | model alone | bytes | to model alone | SavedModel | `.keras` | export |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, item in sorted(facts.items(), key=lambda pair: _place(pair[0])):
        ratio = item["derivative_bytes"] / item["forward_bytes"]
        others = [f"{item[key]:,}" if key in item else "-" for key in ("saved_model_bytes", "keras_bytes")]
        lines.append(
            f"| {work.row(name).title} | {item['derivative_nodes']} | {item['forward_nodes']} |"
            f" {item['derivative_bytes']:,} | {ratio:.3f} | {' | '.join(others)} | {item['export_seconds']:.0f} s |"
        )
    return [*lines, ""]


def _place(name: str) -> int:
    return [row.name for row in work.ROWS].index(name)


def _growth_tables(growth: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    lines: list[str] = []
    for name, points in growth.items():
        lines += [
            f"## Growth with the batch: {work.row(name).title}",
            "",
            "One call, one thread; large batches run in chunks that stay in the cache. Working memory is the peak of"
            " the process without its inputs and results.",
            "",
            "| rows | time | per row | peak memory, MB | inputs and results, MB | working memory, MB |",
            "| --: | --: | --: | --: | --: | --: |",
        ]
        for p in points:
            per_row = f"{p['seconds'] / p['batch'] * 1e9:,.0f} ns"
            sizes = " | ".join(f"{size:,.1f}" for size in (p["megabytes"], p["arrays"], p["megabytes"] - p["arrays"]))
            lines.append(f"| {int(p['batch']):,} | {duration(p['seconds'])} | {per_row} | {sizes} |")
        lines.append("")
    return lines
