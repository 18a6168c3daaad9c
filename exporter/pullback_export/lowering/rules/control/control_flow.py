"""Loops, branches and optionals (tensorflow/core/ops/functional_ops.cc, optional_ops.cc)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import zeros
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.flows.forms import Choice, Optional
from pullback_export.lowering.loops.branches import Branch, assumed, either
from pullback_export.lowering.loops.conversion import LoopConversion
from pullback_export.lowering.loops.one_element import settled
from pullback_export.lowering.registry import lowers


@lowers("While", "StatelessWhile")
def while_loop(op: OpContext, *variables: Any) -> list[Any]:
    """``body`` again and again while ``cond`` holds; not at all where it does not hold at first."""
    return LoopConversion(op, variables).run()


@lowers("If", "StatelessIf")
def if_(op: OpContext, predicate: Value, *arguments: Any) -> list[Any]:
    """``then_branch`` where the predicate is true, else ``else_branch``. A number is true where it is not 0."""
    return either(
        op,
        _truth(op, predicate),
        _branch(op, op.tf_op.get_attr("then_branch").name, arguments),
        _branch(op, op.tf_op.get_attr("else_branch").name, arguments),
    )


@lowers("Case", "StatelessCase")
def case(op: OpContext, index: Value, *arguments: Any) -> list[Any]:
    """Branch number ``index``; the last one for every number that has no branch."""
    branches = [_branch(op, item.name, arguments) for item in op.tf_op.get_attr("branches")]

    def from_branch(number: int) -> Branch:
        if number == len(branches) - 1:
            return branches[number]
        return lambda side: either(side, index.equals(number), branches[number], from_branch(number + 1))

    return list(from_branch(0)(op))


def _truth(op: OpContext, predicate: Value) -> Value:
    """TensorFlow takes scalars of any number type, and for other shapes asks whether there are elements."""
    if predicate.shape is None or predicate.rank > 0:
        return op.Size(predicate) > 0
    return predicate if predicate.dtype == bool else ~predicate.equals(0)


def _branch(op: OpContext, name: str, arguments: tuple[Any, ...]) -> Branch:
    body = op.converter.function(op.tf_op.graph, name)
    return lambda side: op.converter.convert(body, arguments, side.graph, sorted(op.wanted))


@lowers("OptionalFromValue")
def optional_from_value(op: OpContext, *components: Any) -> Optional:
    """An optional that holds its input."""
    if len(components) != 1:
        raise op.unsupported("an optional holds several tensors; use one optional for each")
    return Optional(op.const(np.bool_(True)), settled(op, components[0]))


@lowers("OptionalNone")
def optional_none(op: OpContext) -> Optional:
    """An optional that holds nothing."""
    return Optional(op.const(np.bool_(False)), None)


@lowers("OptionalGetValue")
def optional_get_value(op: OpContext, optional: Optional) -> list[Any]:
    """What the optional holds. Gradients of branches only ask in the branch that put it there."""
    if isinstance(optional.content, Choice):
        return [_chosen(op, optional.content)]
    if optional.content is not None:
        return [optional.content]
    shape = op.output_shape()
    if shape is None:
        raise op.unsupported("the value of an empty optional is read; give it a value in every branch")
    return [zeros(op, [0 if size is None else size for size in shape], op.output_dtype())]


def _chosen(op: OpContext, content: Any) -> Any:
    """What the taken branch put into an optional: the predicate says which one that was, or else its kind does."""
    if not isinstance(content, Choice):
        return content
    known = assumed(op.graph, content.predicate)
    if known is not None:
        return _chosen(op, content.then if known else content.otherwise)
    fitting = [flow for flow in (content.then, content.otherwise) if _fits(op, flow)]
    if len(fitting) == 1:
        return _chosen(op, fitting[0])
    (flow,) = either(
        op,
        content.predicate,
        lambda side: [_chosen(side, content.then)],
        lambda side: [_chosen(side, content.otherwise)],
    )
    return flow


def _fits(op: OpContext, flow: Any) -> bool:
    """Whether a flow has the requested dtype and rank."""
    dtype, shape = op.tf_op.outputs[0].dtype, op.output_shape()
    if isinstance(flow, Choice):
        return _fits(op, flow.then) or _fits(op, flow.otherwise)
    if not isinstance(flow, Value):
        return bool(dtype == tf.variant) or isinstance(flow, ComplexValue)
    if dtype == tf.variant or flow.dtype != np.dtype(dtype.as_numpy_dtype):
        return False
    return shape is None or flow.shape is None or len(shape) == flow.rank


@lowers("OptionalHasValue")
def optional_has_value(op: OpContext, optional: Optional) -> Value:
    """Whether the optional holds something."""
    return optional.present
