"""Rows for ``lowering/ctc.py``."""

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case

# Sample 0: "a b b", which needs a blank between equal labels; sample 1: "c"; sample 2: "a a".
INDICES = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [2, 1]])
LABELS = np.array([0, 1, 1, 2, 0, 0], np.int32)


def loss(x: Any, lengths: tuple[int, ...], ignore: bool = False) -> Any:
    result = tf.raw_ops.CTCLoss(
        inputs=x,
        labels_indices=INDICES,
        labels_values=LABELS,
        sequence_length=np.array(lengths, np.int32),
        ignore_longer_outputs_than_inputs=ignore,
    )
    return result.loss


# Too coarse for central differences, too.
FLOAT32_INSIDE: dict[str, Any] = {
    "smooth": False,
    "tolerance": {"float64": 1e-7},
    "reason": "TensorFlow's float64 kernel adds probabilities with expf and log1pf, in float32",
}
CASES = [
    Case(
        "ctc", "CTCLoss", partial(loss, lengths=(5, 5, 5)), (Arg((5, 3, 4), free=()),), free=(False,), **FLOAT32_INSIDE
    ),
    Case("ctc_loop", "CTCLoss", partial(loss, lengths=(9, 7, 4)), (Arg((9, 3, 4)),), **FLOAT32_INSIDE),
    Case("ctc_least_time", "CTCLoss", partial(loss, lengths=(4, 1, 3)), (Arg((6, 3, 4), free=()),), free=(False,)),
]
