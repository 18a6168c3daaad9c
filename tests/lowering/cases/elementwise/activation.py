"""Rows for ``lowering/activation.py`` and ``lowering/cross_entropy.py``."""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorflow as tf

from tests.lowering.case import Case, fixed, integers, normal, uniform

KINKS = fixed([[0.0, -0.0, 1.0, -1.0, 6.0, 7.0, -30.0]])
WIDE = uniform(-30, 30, 4, 9)


CASES = [
    Case("relu", ("Relu", "ReluGrad"), tf.nn.relu, ((3, 5),), order=2),
    Case("relu_kink", "ReluGrad", tf.nn.relu, (KINKS,), smooth=False),
    Case("relu_int", "Relu", tf.nn.relu, (integers(-3, 4, 7),), order=0),
    Case("relu_empty", "ReluGrad", tf.nn.relu, ((0, 3),), order=2),
    Case("relu6", ("Relu6", "Relu6Grad"), tf.nn.relu6, (uniform(-3, 9, 4, 6),), order=2),
    Case("relu6_kink", "Relu6Grad", tf.nn.relu6, (KINKS,), smooth=False),
    Case("leaky_relu", ("LeakyRelu", "LeakyReluGrad"), tf.nn.leaky_relu, ((3, 5),), order=2),
    Case("leaky_relu_kink", "LeakyReluGrad", tf.nn.leaky_relu, (KINKS,), smooth=False),
    Case("leaky_relu_steep", "LeakyReluGrad", partial(tf.nn.leaky_relu, alpha=2.5), ((3, 5),), order=2),
    Case("leaky_relu_reflecting", "LeakyReluGrad", partial(tf.nn.leaky_relu, alpha=-0.5), ((3, 5),), order=2),
    Case("elu", ("Elu", "EluGrad"), tf.nn.elu, ((3, 5),), order=2),
    Case("elu_kink", "EluGrad", tf.nn.elu, (KINKS,), order=2, smooth=False),
    Case("selu", ("Selu", "SeluGrad"), tf.nn.selu, ((3, 5),), order=2),
    Case("selu_kink", "SeluGrad", tf.nn.selu, (KINKS,), order=2, smooth=False),
    Case("softplus", "Softplus", tf.nn.softplus, ((3, 5),), order=2),
    Case("softplus_wide", "Softplus", tf.nn.softplus, (WIDE,), order=2),
    Case("softplus_small", "Softplus", lambda x: tf.math.log(tf.nn.softplus(x)), (uniform(-80, -2, 3, 5),)),
    Case(
        "softplus_grad",
        "SoftplusGrad",
        lambda x, dy: tf.raw_ops.SoftplusGrad(gradients=dy, features=x),
        ((3, 5), (3, 5)),
        order=2,
    ),
    Case("softsign", ("Softsign", "SoftsignGrad"), tf.nn.softsign, ((3, 5),)),
    Case("softsign_kink", "SoftsignGrad", tf.nn.softsign, (KINKS,), smooth=False),
    Case("tanh", ("Tanh", "TanhGrad"), tf.tanh, ((3, 5),), order=2),
    Case("tanh_wide", "TanhGrad", tf.tanh, (WIDE,), order=2),
    Case("sigmoid", ("Sigmoid", "SigmoidGrad"), tf.sigmoid, ((3, 5),), order=2),
    Case("sigmoid_wide", "SigmoidGrad", tf.sigmoid, (WIDE,), order=2),
    Case("softmax", "Softmax", tf.nn.softmax, ((3, 5),), order=2),
    Case("softmax_wide", "Softmax", tf.nn.softmax, (uniform(-200, 200, 3, 5),), order=2),
    Case("softmax_vector", "Softmax", tf.nn.softmax, ((5,),), order=2),
    Case("softmax_3d", "Softmax", partial(tf.nn.softmax, axis=1), ((2, 3, 4),), order=2),
    Case("softmax_empty_batch", "Softmax", tf.nn.softmax, ((0, 3),), order=2),
    Case("softmax_one", "Softmax", tf.nn.softmax, ((3, 1),), order=2),
    Case("log_softmax", "LogSoftmax", tf.nn.log_softmax, ((3, 5),), order=2),
    Case("log_softmax_wide", "LogSoftmax", tf.nn.log_softmax, (uniform(-200, 200, 3, 5),), order=2),
    Case("log_softmax_3d", "LogSoftmax", partial(tf.nn.log_softmax, axis=0), ((2, 3, 4),), order=2),
    Case("l2_loss", "L2Loss", tf.nn.l2_loss, ((3, 5),), order=2),
    Case("l2_loss_empty", "L2Loss", tf.nn.l2_loss, ((0, 5),), order=2),
    Case("gelu", "Erfc", tf.nn.gelu, ((3, 5),), order=2),
    Case("gelu_wide", "Erfc", tf.nn.gelu, (uniform(-8, 8, 9, 9),), order=2),
    Case("gelu_tanh", "Tanh", partial(tf.nn.gelu, approximate=True), ((3, 5),), order=2),
    Case("silu", "Sigmoid", tf.nn.silu, ((3, 5),), order=2),
    Case("mish", ("Softplus", "Tanh"), lambda x: x * tf.tanh(tf.nn.softplus(x)), ((3, 5),), order=2),
    Case("crelu", "ReluGrad", tf.nn.crelu, ((3, 5),), order=2),
    Case(
        "cross_entropy",
        "SoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(y), x),
        ((4, 5), (4, 5)),
        order=2,
    ),
    Case(
        "cross_entropy_broadcast",
        "SoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.raw_ops.SoftmaxCrossEntropyWithLogits(features=x, labels=y),
        ((4, 5), (1, 5)),
        order=0,
    ),
    Case(
        "cross_entropy_empty",
        "SoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.nn.softmax_cross_entropy_with_logits(y, x),
        ((0, 5), (0, 5)),
        order=1,
    ),
    Case(
        "sparse_cross_entropy",
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, x),
        (normal(4, 5), integers(0, 5, 4)),
        order=2,
    ),
    Case(
        "sparse_cross_entropy_int64",
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, x),
        (normal(4, 3, 5), integers(0, 5, 4, 3, dtype="int64")),
        order=1,
    ),
    Case(
        "sparse_cross_entropy_empty",
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, x),
        (normal(0, 5), integers(0, 5, 0)),
    ),
    Case(
        "sigmoid_cross_entropy",
        "Log1p",
        lambda x, y: tf.nn.sigmoid_cross_entropy_with_logits(y, x),
        (uniform(-40, 40, 4, 5), (4, 5)),
        order=2,
    ),
    Case("selu_infinite", ("Selu", "SeluGrad"), tf.nn.selu, (fixed([[np.inf, -np.inf, 1.0, 0.0]]),), smooth=False),
    Case(
        "log_softmax_not_finite",
        "LogSoftmax",
        tf.nn.log_softmax,
        (fixed([[1.0, np.nan, 2.0], [np.inf, 1.0, 2.0], [-np.inf, 1.0, 2.0]]),),
        smooth=False,
    ),
]
