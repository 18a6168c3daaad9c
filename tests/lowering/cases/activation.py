"""Rows for ``lowering/activation.py``."""

import tensorflow as tf

from tests.lowering.case import Case, fixed

CASES = [
    Case("relu", ("Relu", "ReluGrad"), tf.nn.relu, ((3, 5),), order=2),
    Case("relu_kink", "ReluGrad", tf.nn.relu, (fixed([[0.0, -0.0, 1.0, -1.0]]),), smooth=False),
    Case("tanh", ("Tanh", "TanhGrad"), tf.tanh, ((3, 5),), order=2),
    Case("sigmoid", ("Sigmoid", "SigmoidGrad"), tf.sigmoid, ((3, 5),), order=2),
]
