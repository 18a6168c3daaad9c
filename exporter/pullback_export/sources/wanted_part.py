"""The part of a function's graph that leads to some of its outputs, called functions included.

TensorFlow differentiates a call as a whole: what an output depends on that was not requested (a random sample, a text,
suppressed boxes) would be in the gradient of the others.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import func_graph, ops

from pullback_export.lowering.converter import Converter
from pullback_export.lowering.liveness import Liveness
from pullback_export.sources.statefulness import check_stateless

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# The attribute that names an operator's own gradient: what tf.custom_gradient makes.
_OWN_GRADIENT = "_gradient_op_type"
_COUNT = itertools.count()


def wanted_part(concrete: Any, wanted: Sequence[int]) -> Callable[..., list[Any]]:
    """A function of the inputs of ``concrete`` that gives its flat outputs ``wanted``, and computes no other.

    Called functions are written out, so that of them too only what is needed is left; loops and branches stay whole.
    Raises :class:`UnsupportedOpsError` where outputs depend on a variable that the function writes to.
    """
    check_stateless(concrete.graph)

    def compute(*tensors: Any) -> list[Any]:
        for variable in concrete.graph.variables:  # so that they are stored with the SavedModel that is written
            tf.compat.v1.get_default_graph().watch_variable(variable)
        return _Copy().of(concrete.graph, tensors, wanted)

    return tf.function(compute, autograph=False)  # type: ignore[no-any-return]


def can_be_pruned(graph: Any) -> bool:
    """Whether a function that was traced in this process has calls to write out, and no loop or branch.

    The gradients of a loop and of its copy would register functions of one name that are not the same.
    """
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for item in definition.library.function for node in item.node_def)]
    kinds = {node.op.removeprefix("Stateless") for node in nodes}
    return bool(kinds & set(_CALLS)) and not kinds & {"While", "If", "Case"}


class _WholeOperators(Liveness):
    """What is needed where only calls can be cut: any other operator takes all of its inputs."""

    def reads(self, tf_op: Any, results: Iterable[int]) -> list[Any]:
        return super().reads(tf_op, results) if tf_op.type in _CALLS else list(tf_op.inputs)

    def _through(self, tf_op: Any, inputs: list[int]) -> list[int]:
        if tf_op.type in _CALLS:
            return super()._through(tf_op, inputs)
        return [functools.reduce(operator.or_, inputs, 0)] * len(tf_op.outputs)


class _Copy:
    """Copies operators into the graph that is being traced."""

    def __init__(self) -> None:
        self._converter = Converter()  # finds the functions that operators call
        self._liveness = _WholeOperators(self._converter.function)

    def of(
        self, graph: Any, inputs: Sequence[Any], wanted: Sequence[int], known: dict[Any, Any] | None = None
    ) -> list[Any]:
        """The outputs ``wanted`` of ``graph`` for ``inputs``; ``known`` are copies of tensors that it may capture."""
        target = tf.compat.v1.get_default_graph()
        found = {own.ref(): given for own, given in zip(graph.inputs, inputs, strict=False)}
        for outer, inner in graph.captures:
            if inner.ref() not in found:
                found[inner.ref()] = target.capture((known or {}).get(outer.ref(), outer))
        for op, results in self._liveness.needed(graph, sorted(set(wanted)), set(found)):
            operands = [found.get(tensor.ref()) for tensor in op.inputs]
            if op.type in _CALLS:
                body = self._converter.function(graph, op.get_attr("f").name)
                some = dict(zip(sorted(results), self.of(body, operands, sorted(results)), strict=True))
                found |= {op.outputs[index].ref(): tensor for index, tensor in some.items()}
            else:
                copied = self._copied(target, op, operands, found)
                found |= {own.ref(): tensor for own, tensor in zip(op.outputs, copied.outputs, strict=True)}
        return [found[graph.outputs[index].ref()] for index in wanted]

    def _copied(self, target: Any, op: Any, operands: Sequence[Any], found: dict[Any, Any]) -> Any:
        attributes = dict(op.node_def.attr)
        for value in attributes.values():
            for function in [value.func, *value.list.func]:
                if function.name:
                    target._add_function_recursive(self._converter.atomic(op.graph, function.name))
        if _OWN_GRADIENT in attributes:
            name = self._own_gradient(op, attributes[_OWN_GRADIENT].s.decode(), found)
            attributes[_OWN_GRADIENT] = attr_value_pb2.AttrValue(s=name.encode())
        dtypes = [tensor.dtype for tensor in op.outputs]
        name = op.name.replace("/", "_")
        copied = target._create_op_internal(op.type, list(operands), dtypes, name=name, attrs=attributes)
        for own, tensor in zip(op.outputs, copied.outputs, strict=True):
            tensor.set_shape(own.shape)
        return copied

    def _own_gradient(self, op: Any, name: str, found: dict[Any, Any]) -> str:
        """Registers the gradient of a copy of ``op``: that of ``op``, with copies of the tensors that it refers to."""
        label = f"PullbackCopy{next(_COUNT)}-{name}"

        def gradient(copied: Any, *seeds: Any) -> Any:
            own = ops.gradient_registry.lookup(name)
            given = [
                tf.zeros_like(tensor) if seed is None else seed
                for seed, tensor in zip(seeds, copied.outputs, strict=True)
            ]
            specs = [tf.TensorSpec(seed.shape, seed.dtype) for seed in given]
            traced = func_graph.func_graph_from_py_func(label, lambda *some: own(op, *some), specs, {})
            copies = iter(self.of(traced, given, range(len(traced.outputs)), found))
            results = tf.nest.flatten(traced.structured_outputs, expand_composites=True)
            flat = [None if result is None else next(copies) for result in results]
            return tf.nest.pack_sequence_as(traced.structured_outputs, flat, expand_composites=True)

        tf.RegisterGradient(label)(gradient)
        return label
