"""Where values come from: constants, variables, calls of functions, and ops that only pass their input on."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.handles import ResourceHandle, as_constant, contents
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.texts import decoded
from pullback_export.precision import check_dtype


@lowers("Const")
def const(op: OpContext) -> Any:
    """The array."""
    if op.tf_op.outputs[0].dtype == tf.string:
        return op.const(decoded(tf.make_ndarray(op.tf_op.get_attr("value"))))
    check_dtype(op.tf_op.outputs[0].dtype)
    return as_constant(op.graph, tf.make_ndarray(op.tf_op.get_attr("value")))


@lowers(
    "Identity",
    "StopGradient",
    "PreventGradient",
    "CheckNumerics",
    "CheckNumericsV2",
    "Snapshot",
    "PlaceholderWithDefault",
    "EnsureShape",
    "XlaSharding",
)
def identity(op: OpContext, x: Any) -> Any:
    """``x``. (``CheckNumerics`` asserts, a graph for deployment does not; ``XlaSharding`` says on which devices.)"""
    return x


@lowers("Print")
def print_(op: OpContext, x: Any, *data: Any) -> Any:
    """``x``; nothing is printed."""
    return x


@lowers("IdentityN")
def identity_n(op: OpContext, *xs: Any) -> list[Any]:
    """Each input as it is; TensorFlow hangs custom gradients on this op."""
    return list(xs)


@lowers("ReadVariableOp")
def read_variable(op: OpContext, handle: ResourceHandle) -> Any:
    """The variable's value at export."""
    check_dtype(op.tf_op.outputs[0].dtype)
    value = tf.raw_ops.ReadVariableOp(resource=handle.tensor, dtype=op.tf_op.get_attr("dtype"))
    return as_constant(op.graph, contents(value))


@lowers("VariableShape")
def variable_shape(op: OpContext, handle: ResourceHandle) -> Any:
    """Shape of the variable, int32 or int64."""
    shape = tf.raw_ops.VariableShape(input=handle.tensor, out_type=op.tf_op.get_attr("out_type"))
    return op.const(shape.numpy())


@lowers("PartitionedCall", "StatefulPartitionedCall")
def call(op: OpContext, *arguments: Any) -> list[Any]:
    """The called function, inlined."""
    body = op.converter.function(op.tf_op.graph, op.tf_op.get_attr("f").name)
    return op.converter.convert(body, arguments, op.graph, sorted(op.wanted))


@lowers("Placeholder")
def placeholder(op: OpContext) -> Any:
    """An input of the function that nothing was given for."""
    raise op.unsupported("the signature does not name this input; pass it as an argument of the function")


@lowers("NoOp")
def no_op(op: OpContext) -> list[Any]:
    """Nothing."""
    return []


@lowers("Assert")
def assertion(op: OpContext, *arguments: Any) -> list[Any]:
    """Dropped: a graph for deployment has no assertions."""
    return []
