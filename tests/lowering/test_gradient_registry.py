"""Every op with a gradient in TensorFlow has a rule, or one line that says why not."""

from __future__ import annotations

import importlib

import pytest
from pullback_export.lowering import registry
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework import ops as tf_ops

from tests.lowering.exclusions import EXCLUSIONS

# Some gradients are registered when their module is first used.
LAZY = (
    "linalg_grad",
    "sparse_grad",
    "nn_grad",
    "image_grad",
    "signal.fft_ops",
    "rnn_grad",
    "cudnn_rnn_grad",
    "manip_grad",
)


def differentiable() -> list[str]:
    """The ops that TensorFlow registers a gradient for; None stands for "not differentiable".

    Tracing adds names that are no ops (one for each ``tf.custom_gradient``): they are excluded.
    """
    for module in LAZY:
        importlib.import_module(f"tensorflow.python.ops.{module}")
    table = tf_ops.gradient_registry
    return sorted(
        name for name in table.list() if table.lookup(name) is not None and op_def_registry.get(name) is not None
    )


def test_every_differentiable_op_has_a_rule_or_a_reason() -> None:
    rules = registry.load_rules()
    assert [name for name in differentiable() if name not in rules and name not in EXCLUSIONS] == []


@pytest.mark.parametrize("name", sorted(EXCLUSIONS))
def test_exclusions_are_true(name: str) -> None:
    assert name not in registry.load_rules(), "the op has a rule: take it off the list"
    assert name in differentiable(), "TensorFlow has no gradient of this op: take it off the list"


def test_rules_are_of_ops_that_exist() -> None:
    unknown = [name for name in registry.load_rules() if op_def_registry.get(name) is None]
    assert unknown == []
