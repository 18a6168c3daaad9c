"""``make demo``, second half: the bundle in a process of its own, with NumPy and ONNX Runtime alone.

Prints the table, the agreement, the time per call, and draws the picture. The live model's answers come from the
file that the first half, :mod:`models.bowl_demo`, wrote.
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pullback

FORBIDDEN = ("tensorflow", "keras", "onnx", "tf2onnx")
TOLERANCE = 1e-5
SHOWN = (0.0, 0.5, 1.0, 2.5, 4.0, 5.0, 6.0, 7.5, 9.0, 9.5, 10.0)

Arrays = Mapping[str, np.ndarray[Any, Any]]


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    bowl = pullback.load(folder / "bowl.pullback")
    live = dict(np.load(folder / "live.npz"))
    y, dy_dx = bowl(live["x"])
    print_table(bowl, live)
    agreed = print_agreement(dy_dx, live)
    print_speed(bowl, live)
    present = [name for name in FORBIDDEN if name in sys.modules]
    if present:
        print(f"FAILED: {', '.join(present)} was imported", file=sys.stderr)
        return 1
    print("\nNeither TensorFlow nor Keras was imported here.")
    picture = draw(folder / "bowl.png", live | {"y": y, "dy_dx": dy_dx})
    print(f"Picture: {picture}")
    return 0 if agreed else 1


def print_table(bowl: pullback.Bundle, live: Arrays) -> None:
    rows = np.searchsorted(live["x"][:, 0], np.float32(SHOWN))
    y, dy_dx = bowl(live["x"][rows])
    print("\n      x         y   dy/dx ONNX Runtime   dy/dx live Keras   dy/dx of the curve")
    for row, value, slope in zip(rows, y[:, 0], dy_dx[:, 0], strict=True):
        print(
            f"{live['x'][row, 0]:7.2f} {value:9.5f} {slope:20.7f} {live['live_dy_dx'][row, 0]:18.7f}"
            f" {live['exact_dy_dx'][row, 0]:20.7f}"
        )


def print_agreement(dy_dx: np.ndarray[Any, Any], live: Arrays) -> bool:
    """Whether the bundle's derivative is the live model's, relative to the largest slope."""
    error = np.abs(dy_dx - live["live_dy_dx"]).max() / np.abs(live["live_dy_dx"]).max()
    verdict = "within" if error <= TOLERANCE else "FAILED: beyond"
    print(f"\nLargest difference from live Keras: {error:.1e} of the largest slope, {verdict} {TOLERANCE:.0e}")
    return bool(error <= TOLERANCE)


def print_speed(bowl: pullback.Bundle, live: Arrays) -> None:
    print("\nTime of one call that gives y and dy/dx (NumPy in, NumPy out)")
    for name in sorted((name for name in live if name.startswith("live_seconds_")), key=len):
        batch, taken = int(name.removeprefix("live_seconds_")), float(live[name])
        rows = np.resize(live["x"], (batch, 1))
        ours = median_seconds(bowl, rows)
        print(
            f"  batch {batch:5d}: live GradientTape {taken * 1e6:8.0f} us, bundle {ours * 1e6:7.1f} us,"
            f" {taken / ours:5.0f} times faster"
        )


def median_seconds(bowl: pullback.Bundle, rows: np.ndarray[Any, Any], calls: int = 500) -> float:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        bowl(rows)
        times.append(time.perf_counter() - start)
    return statistics.median(times[calls // 10 :])


def draw(path: pathlib.Path, values: Arrays) -> pathlib.Path:
    """The curve above, its derivative below; matplotlib is imported here because nothing else needs it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "mathtext.fontset": "dejavusans"}
    )
    grey, blue, red = "#9a9a9a", "#1f5fa8", "#c8442e"
    x = values["x"][:, 0]
    sparse = slice(50, None, 100)
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(5.2, 5.2), sharex=True, layout="constrained")
    for axes, name, label in ((above, "y", "$y$"), (below, "dy_dx", r"$\mathrm{d}y/\mathrm{d}x$")):
        axes.plot(
            x, values[f"exact_{name}"][:, 0], color=grey, linewidth=4, alpha=0.45, solid_capstyle="round", label="exact"
        )
        axes.plot(x, values[name][:, 0], color=blue, linewidth=1.3, label="bundle, ONNX Runtime")
        axes.plot(
            x[sparse],
            values[f"live_{name}"][sparse, 0],
            "o",
            markersize=4.5,
            markerfacecolor="none",
            markeredgecolor=red,
            markeredgewidth=1,
            label="live Keras",
        )
        axes.set_ylabel(label)
    above.legend(frameon=False, loc="upper center")
    below.axhline(0, color="black", linewidth=0.5)
    below.set_xlabel("$x$")
    below.set_xlim(x[0], x[-1])
    figure.savefig(path, dpi=200)
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    sys.exit(main())
