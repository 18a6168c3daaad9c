"""What our table lacks and tf2onnx has: one operator at a time, converted by its handler into our graph.

A graph of that operator alone is made, with the constants and the sizes that we know, and given to tf2onnx, which asks
its own handlers and those that the user registered with ``tf2onnx.handler.tf_op``. What comes back enters our graph
node by node. Not taken: nodes of other domains, with bodies, or that draw random numbers, results of another dtype, and
a float64 operator that would be computed in float32 (as tf2onnx does for some).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper

from pullback_export.graph.operators import RANDOM
from pullback_export.graph.shapes import inference
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext

ORIGIN = "tf2onnx"
# The newest opset of tf2onnx 1.17, and the oldest that our graph is written for.
_OPSET = 18
_DOMAINS = ("", "ai.onnx")
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32))


def rule_for(op_type: str) -> Callable[..., list[Value]] | None:
    """A rule that lets tf2onnx convert an operator; None where it has no handler, or is not installed."""
    try:
        from tf2onnx.handler import tf_op
        from tf2onnx.tfonnx import process_tf_graph as _process  # noqa: F401  (registers tf2onnx's own handlers)
    except ImportError:
        return None
    known = any(op_type in handlers for domain in _DOMAINS for handlers in tf_op.get_opsets().get(domain, ()))
    return _rule if known else None


def _rule(op: OpContext, *operands: Any) -> list[Value]:
    """The results of the operator, each of the dtype that TensorFlow gives it."""
    if not all(isinstance(item, Value) for item in operands):
        raise op.unsupported("tf2onnx converts it, but not with inputs that are complex numbers, texts or lists")
    model = _converted(op, operands)
    results = _Import(op, model, operands).results()
    for index, value in enumerate(results):
        if value.dtype != op.output_dtype(index):
            raise op.unsupported(f"tf2onnx gives {value.dtype} where TensorFlow has {op.output_dtype(index)}")
        rank = op.tf_op.outputs[index].shape.rank
        if rank is not None and value.shape is not None and len(value.shape) != rank:
            raise op.unsupported(f"tf2onnx gives a tensor of rank {len(value.shape)} where TensorFlow has rank {rank}")
    return results


def _converted(op: OpContext, operands: Sequence[Value]) -> onnx.ModelProto:
    """The ONNX model of one operator; inputs that are no constants are its inputs ``x0``, ``x1``, ..."""
    from tf2onnx.tfonnx import process_tf_graph

    graph = tf.Graph()
    with graph.as_default():
        tensors = [_operand(index, value, op) for index, value in enumerate(operands)]
        definition = tf.compat.v1.GraphDef()
        node = definition.node.add()
        node.CopyFrom(op.tf_op.node_def)
        node.name, node.device = "one", ""
        del node.input[:]
        node.input.extend(f"x{index}" for index in range(len(tensors)))
        for key in [key for key in node.attr if key.startswith("_")]:
            del node.attr[key]
        for index, tensor in enumerate(tensors):
            holder = definition.node.add()
            holder.name, holder.op = f"x{index}", "Placeholder"
            holder.attr["dtype"].type = tensor.dtype.as_datatype_enum
        mapped = {f"x{index}:0": tensor for index, tensor in enumerate(tensors)}
        (one,) = tf.graph_util.import_graph_def(definition, mapped, return_elements=["one"], name="")
        feeds = [tensor.name for tensor in tensors if tensor.op.type == "Placeholder"]
        names = [tensor.name for tensor in one.outputs]
    try:
        with _quiet():
            converted = process_tf_graph(graph, opset=_OPSET, input_names=feeds, output_names=names)
            model = converted.make_model("one operator")
    except Exception as problem:  # whatever a handler raises
        raise op.unsupported(f"tf2onnx could not convert it: {type(problem).__name__}: {problem}") from problem
    if any(item.domain not in _DOMAINS for item in model.graph.node):
        raise op.unsupported("tf2onnx converts it to operators outside standard ONNX")
    return model


def _operand(index: int, value: Value, op: OpContext) -> Any:
    name = f"given{index}"
    dtype = op.tf_op.inputs[index].dtype
    if value.const is not None:
        return tf.constant(value.const, dtype, name=name)
    shape = None if value.shape is None else [size if isinstance(size, int) else None for size in value.shape]
    return tf.compat.v1.placeholder(dtype, shape, name=name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx logs what it cannot convert instead of raising; we look at what it returns."""
    logger = logging.getLogger("tf2onnx")
    before, logger.disabled = logger.disabled, True
    names = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("tf2onnx")]
    states = [item.disabled for item in names]
    try:
        for item in names:
            item.disabled = True
        yield
    finally:
        logger.disabled = before
        for item, state in zip(names, states, strict=True):
            item.disabled = state


class _Import:
    """Puts the nodes of a model into the graph of an operator."""

    def __init__(self, op: OpContext, model: onnx.ModelProto, operands: Sequence[Value]) -> None:
        self.op = op
        self.model = model
        self.double = any(value.dtype == np.float64 for value in operands)
        self.double |= any(op.output_dtype(index) == np.float64 for index in range(len(op.tf_op.outputs)))
        self.stated = _inferred(model)
        self.operators = frozenset(schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == "")
        self.values: dict[str, Value | None] = {"": None}
        for item in model.graph.initializer:
            self.values[item.name] = op.const(numpy_helper.to_array(item))
        for index, value in enumerate(operands):
            self.values[f"given{index}:0"] = value

    def results(self) -> list[Value]:
        """The values of the model's outputs."""
        for node in self.model.graph.node:
            self._add(node)
        found = []
        for index, tensor in enumerate(self.model.graph.output):
            value = self.values.get(tensor.name)
            if value is None:
                raise self.op.unsupported(f"tf2onnx does not give its output {index}")
            found.append(value)
        return found

    def _add(self, node: onnx.NodeProto) -> None:
        attributes = {item.name: self._attribute(node, item) for item in node.attribute}
        if node.op_type == "Constant":
            self.values[node.output[0]] = self.op.const(_constant(self.op, attributes))
            return
        if node.op_type in RANDOM:
            raise self.op.unsupported("it draws random numbers")
        unknown = [name for name in node.input if name not in self.values]
        if unknown:
            raise self.op.unsupported(
                f"tf2onnx leaves {node.op_type} with the input {unknown[0]!r}, which nothing computes"
            )
        inputs = [self.values[name] for name in node.input]
        self._check(node, attributes)
        results = self.op.graph.emit_many(node.op_type, inputs, attributes, len(node.output))
        for name, value in zip(node.output, results, strict=True):
            self._refine(node, value, self.stated.get(name))
            self.values[name] = value

    def _refine(self, node: onnx.NodeProto, value: Value, stated: onnx.TypeProto.Tensor | None) -> None:
        """Takes ONNX's word for dtype and shape of operators that no rule of ours makes."""
        if stated is None:
            if value.const is None and not inference.knows(node.op_type):
                raise self.op.unsupported(f"tf2onnx converts it to {node.op_type}, whose dtype cannot be inferred")
            return
        if onnx.helper.tensor_dtype_to_np_dtype(stated.elem_type) != value.dtype:
            raise self.op.unsupported(f"tf2onnx converts it to {node.op_type}, whose dtype is not known here")
        if value.const is not None or inference.knows(node.op_type):
            return
        sizes = [size.dim_value if size.HasField("dim_value") else None for size in stated.shape.dim]
        free = self.op.graph.fresh_size
        value.refine(tuple(free() if size is None else size for size in sizes) if stated.HasField("shape") else None)

    def _check(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """Nothing that is computed in a shorter dtype than TensorFlow computes it in."""
        target = np.dtype(attributes["to"]) if "to" in attributes else None
        if self.double and target in _FLOATS:
            raise self.op.unsupported(f"tf2onnx computes it in {target} where TensorFlow has float64")
        if node.op_type not in self.operators:
            raise self.op.unsupported(f"tf2onnx converts it to {node.op_type}, which is no operator of opset {_OPSET}")

    def _attribute(self, node: onnx.NodeProto, item: onnx.AttributeProto) -> Any:
        value = onnx.helper.get_attribute_value(item)
        if isinstance(value, onnx.GraphProto):
            raise self.op.unsupported(f"tf2onnx converts it to {node.op_type}, whose body cannot be taken over")
        if isinstance(value, onnx.TensorProto):
            return numpy_helper.to_array(value)
        if isinstance(value, bytes):
            return value.decode()
        if item.name in ("to", "dtype") and isinstance(value, int):
            return onnx.helper.tensor_dtype_to_np_dtype(value)
        return [part.decode() if isinstance(part, bytes) else part for part in value] if _listed(value) else value


def _listed(value: Any) -> bool:
    return not isinstance(value, int | float | str)


def _constant(op: OpContext, attributes: dict[str, Any]) -> np.ndarray[Any, Any]:
    ((name, value),) = attributes.items()
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if name != "value" and name not in kinds:
        raise op.unsupported(f"tf2onnx makes a constant of the kind {name!r}")
    return np.asarray(value, kinds.get(name))


def _inferred(model: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Dtypes and shapes as ONNX infers them, without what the handlers stated."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    found = onnx.shape_inference.infer_shapes(bare).graph
    return {item.name: item.type.tensor_type for item in (*found.value_info, *found.output)}
