"""How the bundles of ``tests/golden/v2`` were made, once, by the exporter of the day (2026-11-29).

Version 2 is that of functions with two batch axes. They are never made again, as those of version 1;
``python -m tests.golden.make_v2 FOLDER`` shows what today's exporter writes.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np
import tensorflow as tf
from pullback_export import export

RNG = np.random.default_rng(0)
# Whole numbers of eighths, so that a test can write them down again.
BRANCH = np.array([[4, -2, 1], [-3, 5, 2]]) / 8
TRUNK = np.array([[8, -4, 6], [2, 7, -5]]) / 8
KINDS = ("gradient(y, x)", "hessian(y, x)", "laplacian(y, x)", "gradient(y, u)", "hessian(y, x, u)")


def own_points(folder: pathlib.Path) -> None:
    """Each function at points of its own, every kind, in both forms."""

    def net(u: Any, x: Any) -> dict[str, Any]:
        return {"y": tf.einsum("bp,bnp->bn", tf.tanh(u @ BRANCH), tf.sin(tf.tensordot(x, TRUNK, 1)))}

    export(
        net,
        folder / "own_points.pullback",
        [*KINDS, "vjp(y, x)", "vjp(y, u)", "jvp(y, x)", "hvp(y, x)"],
        inputs=[tf.TensorSpec([None, 2], tf.float64, "u"), tf.TensorSpec([None, None, 2], tf.float64, "x")],
        samples={"u": RNG.normal(size=(3, 2)), "x": RNG.uniform(size=(3, 4, 2))},
        batch_axes=2,
    )


def grid(folder: pathlib.Path) -> None:
    """All functions at the same points, in float32."""

    def net(u: Any, x: Any) -> dict[str, Any]:
        return {"y": tf.tanh(u @ BRANCH.astype("f")) @ tf.transpose(tf.sin(x @ TRUNK.astype("f")))}

    export(
        net,
        folder / "grid.pullback",
        [*KINDS, "vjp(y, x)", "jvp(y, x)"],
        inputs=[tf.TensorSpec([None, 2], tf.float32, "u"), tf.TensorSpec([None, 2], tf.float32, "x")],
        samples={"u": RNG.normal(size=(3, 2)), "x": RNG.uniform(size=(4, 2))},
        formats="onnx",
        batched={"u": "functions", "x": "points"},
        batch_axes=2,
    )


def main(folder: pathlib.Path) -> None:
    """Writes both bundles into ``folder``, which must not hold them yet."""
    folder.mkdir(parents=True, exist_ok=True)
    own_points(folder)
    grid(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
