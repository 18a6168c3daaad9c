"""Rows for ``lowering/fractional_pooling.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Case, fixed, normal


def pool(kind: str, overlapping: bool = False) -> Any:
    """The values only: the windows' starts have no derivative."""
    return lambda x: getattr(tf.raw_ops, f"Fractional{kind}Pool")(
        value=x, pooling_ratio=[1.0, 1.4, 1.7, 1.0], overlapping=overlapping, deterministic=True, seed=5, seed2=6
    )


CASES = [
    *[
        Case(
            f"fractional_{kind.lower()}{'_overlap' if overlapping else ''}",
            (f"Fractional{kind}Pool", f"Fractional{kind}PoolGrad"),
            pool(kind, overlapping),
            (normal(2, 9, 11, 3),),
            free=(False,) if kind == "Avg" else (True, False),  # TensorFlow wants the shape for FractionalAvgPoolGrad
        )
        for kind in ("Avg", "Max")
        for overlapping in (False, True)
    ],
    Case(
        "fractional_max_ties",
        "FractionalMaxPoolGrad",
        pool("Max", True),
        (fixed(np.zeros((1, 7, 6, 2))),),
        smooth=False,
    ),
]
