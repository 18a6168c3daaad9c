"""Every engine in every row as a picture, and growth with the batch."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from tests.benchmarks import engines
from tests.benchmarks.rows import Row, spread


def draw(path: pathlib.Path, rows: Sequence[Row], growth: dict[str, list[dict[str, float]]]) -> None:
    """Every engine in every row, one thread; right of it time against rows, where that was measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row.threads == 1 and row.ratios("pullback", row.floor())][::-1]
    size = (12 if growth else 7.5, 1.2 + 0.3 * max(len(shown), 14 if growth else 6))
    layout = [["engines", "time"], ["engines", "memory"]] if growth else [["engines"]]
    widths = (3, 2) if growth else (1,)
    figure, axes = plt.subplot_mosaic(layout, figsize=size, width_ratios=widths, layout="constrained")
    _engines(axes["engines"], shown)
    if growth:
        _growth(axes["time"], growth)
        _memory(axes["memory"], growth)
    handles, titles = axes["engines"].get_legend_handles_labels()
    figure.legend(handles, titles, fontsize=7, ncols=6 if growth else 4, loc="outside lower center")
    figure.savefig(path, dpi=90)
    plt.close(figure)


_ALONE = (*engines.FLOORS, *engines.BOUNDS)
_MARKS = "^vsDPX*<>hpd8"  # so many that no other engine has the same one in the same colour
# None of them near the red of Pullback.
_OTHERS = ("#000000", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#8c6d31", "#cc79a7", "#7f7f7f", "#404040", "#6a3d9a")


def _engines(axes: Any, shown: Sequence[Row]) -> None:
    for place, item in enumerate(item for item in engines.ENGINES if item.name not in _ALONE):
        points = [
            (spread(ratios)[0], y) for y, row in enumerate(shown) if (ratios := row.ratios(item.name, row.floor()))
        ]
        if points:
            mine = item.name == "pullback"
            axes.plot(
                *zip(*points, strict=True),
                "o" if mine else _MARKS[place % len(_MARKS)],
                label=item.title,
                color="#c0392b" if mine else _OTHERS[place % len(_OTHERS)],
                ms=7 if mine else 4.5,
                zorder=3 if mine else 2,
                ls="none",
            )
    axes.axvline(1, color="0.3", lw=1)
    axes.axvline(2, color="0.6", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="time / fastest forward pass alone in ONNX Runtime")
    axes.set_yticks(range(len(shown)), [f"{row.work}, {row.batch:,}" for row in shown], fontsize=8)
    axes.set_title("Value and derivative, one thread", fontsize=10)
    axes.grid(axis="x", alpha=0.25)


def _growth(axes: Any, growth: dict[str, list[dict[str, float]]]) -> None:
    for index, (name, points) in enumerate(growth.items()):
        axes.plot(
            [p["batch"] for p in points], [p["seconds"] for p in points], "o-", ms=4, color=f"C{index}", label=name
        )
    ends = [points[-1] for points in growth.values()]
    slope = max(ends, key=lambda p: p["seconds"])
    batches = [10**k for k in range(2, 1 + round(math.log10(slope["batch"])))]
    axes.plot(batches, [slope["seconds"] * b / slope["batch"] for b in batches], ":", color="0.5", label="proportional")
    axes.set(xscale="log", yscale="log", xlabel="rows in one call", ylabel="seconds")
    axes.set_title("Pullback: growth with the batch", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


def _memory(axes: Any, growth: dict[str, list[dict[str, float]]]) -> None:
    """What the process takes besides the inputs and results, which are the caller's."""
    for index, (name, points) in enumerate(growth.items()):
        working = [p["megabytes"] - p["arrays"] for p in points]
        axes.plot([p["batch"] for p in points], working, "o-", ms=4, color=f"C{index}", label=name)
    axes.set(xscale="log", xlabel="rows in one call", ylabel="MB, without inputs and results")
    axes.set_ylim(bottom=0)
    axes.set_title("Pullback: peak memory", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
