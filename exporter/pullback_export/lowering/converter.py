"""Applies the rules to a TensorFlow function graph in order; variables and captured tensors become constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError, PrecisionError, UnsupportedOpsError
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import UnknownRank, Value
from pullback_export.lowering import own_rules, refusals, registry, texts, tf2onnx_fallback
from pullback_export.lowering.context import NotCovered, OpContext, Signal
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.flows.handles import Flow, ResourceHandle, as_constant, contents
from pullback_export.lowering.liveness import Liveness
from pullback_export.precision import check_dtype


class Converter:
    """One conversion: collects every op that has no rule, so that one error names them all."""

    def __init__(self) -> None:
        self.rules = registry.load_rules()
        self.missing: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        """Operators that no rule of ours converted, each with what did; for the report."""
        self._stand_ins: dict[int, Flow] = {}
        self.liveness = Liveness(self.function)
        self._functions: dict[int, tuple[Any, Any]] = {}
        self._callers: dict[int, tuple[Any, Any]] = {}

    def convert(
        self, func_graph: Any, inputs: Sequence[Flow], graph: Graph, wanted: Sequence[int] | None = None
    ) -> list[Flow]:
        """Lowers ``func_graph`` into ``graph`` with ``inputs`` for its arguments (captures excluded or included).

        ``wanted`` restricts to some outputs; the others come back as None and cost nothing.
        """
        flows: dict[Any, Flow] = {}
        arguments = list(func_graph.inputs)
        for placeholder, flow in zip(arguments, inputs, strict=False):
            flows[placeholder.ref()] = flow
        for external, internal in func_graph.captures:
            if internal.ref() not in flows:
                flows[internal.ref()] = self._capture(external, internal, graph)
        outputs = list(func_graph.outputs)
        chosen = set(range(len(outputs)) if wanted is None else wanted)
        with graph.writing():
            for tf_op, results in self.liveness.needed(func_graph, sorted(chosen), set(flows)):
                self._lower(tf_op, results, flows, graph)
        return [flows[tensor.ref()] if index in chosen else None for index, tensor in enumerate(outputs)]

    def _capture(self, external: Any, internal: Any, graph: Graph) -> Flow:
        if external.dtype in (tf.resource, tf.variant):
            return ResourceHandle(external)
        if not hasattr(external, "numpy"):
            raise UnsupportedOpsError({"Capture": [external.name]}, {"Capture": "a tensor of another graph"})
        if external.dtype == tf.string:
            try:
                return graph.constant(texts.decoded(external.numpy()))
            except NotCovered as problem:
                raise UnsupportedOpsError({"Capture": [internal.name]}, {"Capture": str(problem)}) from problem
        return as_constant(graph, contents(external))

    def function(self, func_graph: Any, name: str) -> Any:
        """The graph of the function that an op of ``func_graph`` calls by ``name``."""
        from tensorflow.python.framework import function_def_to_graph

        caller, atomic = self._found(func_graph, name)
        if id(atomic) not in self._functions:
            graph = getattr(atomic, "graph", None)
            if graph is None or not _is_current(graph, atomic.cached_definition):
                with caller.as_default():
                    graph = function_def_to_graph.function_def_to_graph(atomic.cached_definition)
                self._callers[id(graph)] = caller, graph
            self._functions[id(atomic)] = atomic, graph
        return self._functions[id(atomic)][1]

    def atomic(self, func_graph: Any, name: str) -> Any:
        """TensorFlow's own object for the function that an op of ``func_graph`` names."""
        return self._found(func_graph, name)[1]

    def _found(self, func_graph: Any, name: str) -> tuple[Any, Any]:
        """The function ``name`` and the graph that has it; a graph made from a definition does not bring its own."""
        caller = func_graph
        while caller is not None and (atomic := caller._get_function(name)) is None:
            caller = (
                self._callers[id(caller)][0] if id(caller) in self._callers else getattr(caller, "outer_graph", None)
            )
        return caller, atomic if caller is not None else None

    def _rule(self, tf_op: Any) -> registry.Rule | None:
        """The rule of an op; a function may be called by its own name (``tf.compat.v1`` writes it so)."""
        rule = self.rules.get(tf_op.type)
        if rule is not None:
            if (other := own_rules.origin(tf_op.type)) is not None:
                self.foreign[tf_op.type] = other
            return rule
        if self._found(tf_op.graph, tf_op.type)[0] is not None:
            body = self.function(tf_op.graph, tf_op.type)
            return lambda op, *arguments: self.convert(body, arguments, op.graph, sorted(op.wanted))
        if tf_op.type in refusals.REASONS:
            return None
        rule = tf2onnx_fallback.rule_for(tf_op.type)
        if rule is not None:
            self.foreign[tf_op.type] = tf2onnx_fallback.ORIGIN
        return rule

    def _lower(self, tf_op: Any, wanted: frozenset[int], flows: dict[Any, Flow], graph: Graph) -> None:
        around, graph.root.origin = graph.root.origin, _scope(tf_op.name) or graph.root.origin
        try:
            self._lower_here(tf_op, wanted, flows, graph)
        finally:
            graph.root.origin = around

    def _lower_here(self, tf_op: Any, wanted: frozenset[int], flows: dict[Any, Flow], graph: Graph) -> None:
        rule = self._rule(tf_op)
        op = OpContext(graph, tf_op, self, wanted)
        inputs = [flows.get(tensor.ref()) for tensor in tf_op.inputs]
        results: Any = None
        if rule is None:
            self._miss(tf_op, refusals.reason(tf_op.type))
        elif texts.refused(tf_op):
            self._miss(tf_op, texts.REFUSAL)
        else:
            try:
                results = _apply(rule, op, inputs)
            except (PrecisionError, Signal):
                raise
            except Exception as problem:
                self._miss_after(problem, tf_op, inputs)
        if results is None:
            results = _stand_ins(tf_op, graph)
            self._stand_ins.update((id(flow), flow) for flow in results)
        if not isinstance(results, list | tuple):
            results = [results]
        for tensor, flow in zip(tf_op.outputs, results, strict=True):
            _refine(flow, tensor, graph)
            flows[tensor.ref()] = flow

    def _miss_after(self, problem: Exception, tf_op: Any, inputs: list[Flow]) -> None:
        """A rule that stumbles over a stand-in says nothing about its op; any other failure stops the export."""
        if any(id(flow) in self._stand_ins for flow in inputs):
            return
        if isinstance(problem, NotCovered | UnknownRank):
            self._miss(tf_op, str(problem))
        elif not self.missing:
            raise UnsupportedOpsError(
                {tf_op.type: [tf_op.name]}, {tf_op.type: f"its rule failed: {type(problem).__name__}: {problem}"}
            ) from problem

    def _miss(self, tf_op: Any, reason: str | None) -> None:
        places = self.missing.setdefault(tf_op.type, [])
        place = tf_op.name.rsplit("/", 1)[0]
        if place not in places:
            places.append(place)
        if reason is not None:
            self.reasons[tf_op.type] = reason

    def snapshot(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """What is missing so far, for :meth:`restore`: a loop's body may be converted more than once."""
        return {name: list(places) for name, places in self.missing.items()}, dict(self.reasons)

    def restore(self, snapshot: tuple[dict[str, list[str]], dict[str, str]]) -> None:
        self.missing, self.reasons = snapshot

    def check(self) -> None:
        """Raises :class:`UnsupportedOpsError` with every op that could not be lowered."""
        if self.missing:
            raise UnsupportedOpsError(self.missing, self.reasons)


def _is_current(graph: Any, definition: Any) -> bool:
    """Whether a function is still what its graph says: higher-order tapes change the graphs of functions."""
    results = [definition.ret[item.name] for item in definition.signature.output_arg]
    if len(results) != len(graph.outputs):
        return False
    return all(
        ":" not in result or result.split(":")[0] == tensor.op.name
        for result, tensor in zip(results, graph.outputs, strict=True)
    )


def _scope(name: str) -> str:
    """The scopes around an operator, layers among them, without those of gradients: ``functional/hidden``."""
    return "/".join(part for part in name.split("/")[:-1] if part != "gradient_tape")


def _apply(rule: registry.Rule, op: OpContext, inputs: list[Flow]) -> Any:
    if op.type in registry.COMPLEX and any(isinstance(item, ComplexValue) for item in inputs):
        parts = []
        for part in ("real", "imag"):
            operands = [getattr(item, part) if isinstance(item, ComplexValue) else item for item in inputs]
            result = rule(op, *operands)
            parts.append(list(result) if isinstance(result, list | tuple) else [result])
        return [ComplexValue(real, imag) for real, imag in zip(*parts, strict=True)]
    return rule(op, *inputs)


def _stand_ins(tf_op: Any, graph: Graph) -> list[Flow]:
    """Values of the right dtype and shape, so that the conversion continues and finds every missing operator."""
    results: list[Flow] = []
    for tensor in tf_op.outputs:
        if tensor.dtype in (tf.resource, tf.variant, tf.string):
            results.append(None)
            continue
        check_dtype(tensor.dtype)
        dtype = np.dtype(tensor.dtype.as_numpy_dtype)
        if dtype.kind == "c":
            real = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
            results.append(ComplexValue(Value(graph, real, None), Value(graph, real, None)))
        else:
            results.append(Value(graph, dtype, None))
    return results


def _refine(flow: Flow, tensor: Any, graph: Graph) -> None:
    """Takes over the sizes that TensorFlow knows and the rule's result does not."""
    if isinstance(flow, ComplexValue):
        _refine(flow.real, tensor, graph)
        _refine(flow.imag, tensor, graph)
    if not isinstance(flow, Value) or tensor.shape.rank is None:
        return
    static = tensor.shape.as_list()
    if flow.shape is None:
        flow.refine(tuple(graph.fresh_size() if size is None else size for size in static))
    else:
        if len(flow.shape) != len(static):
            raise ExportError(
                f"{tensor.op.type} ({tensor.op.name}): its rule returns shape {flow.shape}, TensorFlow {static};"
                " correct the rule if it is yours (`pullback_export.lowers`), otherwise report it as a bug of Pullback"
            )
        flow.refine(
            tuple(
                known if known is not None and not isinstance(size, int) else size
                for size, known in zip(flow.shape, static, strict=True)
            )
        )
