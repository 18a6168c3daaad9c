"""From a finished graph to an ONNX model: live nodes only, names that depend on nothing but the graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pullback.manifest import METADATA_WEIGHTS, weights_to_json
from pullback.storage.onnx_cut import CONDITION_OF_SOME

from pullback_export.graph.graph import Graph
from pullback_export.graph.notes import Notes
from pullback_export.graph.operators import SINCE
from pullback_export.graph.pruning import prune
from pullback_export.graph.values import Node, Region, Value
from pullback_export.graph.wire import Beside, Piece, Weight, beside, pieces

# Operators of ONNX's second standard domain, and its version; see https://onnx.ai/onnx/operators/index.html
_ML = frozenset({"LabelEncoder"})
ML_OPSET = ("ai.onnx.ml", 3)

# Weights that the checker is not shown: what they hold says nothing of shapes.
_LEAST_UNSEEN = 1024


def opset_of(graph: Region, wanted: int) -> int:
    """The opset of the model of ``graph``: the one that is wanted, or a later one that has all of its operators."""
    own = [SINCE.get(node.op_type, wanted) for node in graph.nodes if node.live]
    inner = [opset_of(body, wanted) for node in graph.nodes if node.live for body in node.bodies()]
    return max((wanted, *own, *inner))


def to_model(graph: Graph, opset: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model of ``graph``, see :func:`opset_of`; equal graphs give equal bytes in every process."""
    model, weights = _without_weights(graph, opset_of(graph, opset), metadata)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights)
    return model


def to_files(
    graph: Graph, opset: int, metadata: Mapping[str, str], name: str, external: bool | None
) -> tuple[list[Piece], Beside]:
    """The file of :func:`to_model`, checked, and the file ``name`` with its large weights, see :func:`beside`.

    The pieces hold the memory of the graph's constants.

    Raises ``onnx.checker.ValidationError`` or ``onnx.shape_inference.InferenceError`` where ONNX says that it is wrong.
    """
    model, weights = _without_weights(graph, opset, metadata)
    large = beside(weights, name, external)
    if (file := large.described()) is not None:
        model.metadata_props.add(key=METADATA_WEIGHTS, value=weights_to_json(file))
    _check(model, weights)
    return pieces(model, weights, large.places), large


def _check(model: onnx.ModelProto, weights: Sequence[Weight]) -> None:
    """Shows the checker inputs in place of large weights: it copies what it is given several times."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name, array in weights:
        if array.nbytes >= _LEAST_UNSEEN and array.dtype.kind == "f":
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            shown.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        else:
            shown.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(shown.SerializeToString(), full_check=True)


def _without_weights(graph: Graph, opset: int, metadata: Mapping[str, str]) -> tuple[onnx.ModelProto, list[Weight]]:
    """The model, and the initializers that it lacks."""
    writer = _Writer(graph, metadata)
    proto = writer.graph_proto(graph, "pullback")
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*item) for item in sorted(writer.domains))]
    model = helper.make_model(proto, opset_imports=imports, producer_name="pullback", ir_version=_ir_version(opset))
    for key in sorted(metadata):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, metadata[key]
    return model, writer.weights


def _ir_version(opset: int) -> int:
    return {18: 8, 19: 9, 20: 9, 21: 10, 22: 10}.get(opset, 10 if opset > 22 else 8)


class _Writer:
    def __init__(self, root: Graph, metadata: Mapping[str, str]) -> None:
        self.weights: list[Weight] = []
        prune(root)
        self.notes = Notes(root, metadata)
        self.around: Node | None = None
        self.names: dict[int, str] = {}
        self.counts: dict[str, int] = {}
        self.domains: set[tuple[str, int]] = set()

    def name(self, value: Value) -> str:
        if id(value) not in self.names:
            if value.const is None:
                raise AssertionError(f"{value} is used before it is made")
            name = self._new("weight" if value.const.size > 64 else "constant")
            self.weights.append((name, value.const))
            self.names[id(value)] = name
        return self.names[id(value)]

    def _new(self, stem: str) -> str:
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return f"{stem}_{self.counts[stem]}"

    def graph_proto(self, graph: Graph, title: str) -> onnx.GraphProto:
        inputs = []
        for name, value in graph.inputs:
            label = name if graph.parent is None else self._new("argument")
            self.names[id(value)] = label
            inputs.append(_value_info(label, value))
        nodes: list[onnx.NodeProto] = []
        wanted = self._output_names(graph)
        for node in graph.nodes:
            if node.live:
                nodes.append(self._node(node, wanted))
        outputs = []
        taken: set[str] = set()
        for name, value in graph.outputs:
            label = name if graph.parent is None else self._result_name(graph, value, taken)
            taken.add(label)
            if self.names.get(id(value)) != label:
                nodes.append(helper.make_node("Identity", [self.name(value)], [label], name=self._new("Identity")))
            outputs.append(_value_info(label, value))
        stated = [] if graph.parent is not None else self._widest(graph)
        return helper.make_graph(nodes, title, inputs, outputs, value_info=stated)

    def _widest(self, graph: Graph) -> list[onnx.ValueInfoProto]:
        """The shape of the intermediate value that grows most with the batch: it tells how many rows fit the cache."""
        results = {id(value) for _, value in graph.outputs}
        found = [
            (size, value)
            for node in graph.nodes
            if node.live
            for value in node.outputs
            if id(value) not in results and (size := _row_size(value))
        ]
        if not found:
            return []
        _, widest = max(found, key=lambda pair: pair[0])
        return [_value_info(self.names[id(widest)], widest)]

    def _result_name(self, graph: Graph, value: Value, taken: set[str]) -> str:
        """A result of a subgraph keeps the name of its node, unless it is made elsewhere or was a result before."""
        if value.node is not None and value.graph is graph and self.names[id(value)] not in taken:
            return self.names[id(value)]
        return self._new("result")

    def _output_names(self, graph: Graph) -> dict[int, str]:
        """Results of the model keep their public name, unless one value has two or is an input or a constant."""
        if graph.parent is not None:
            return {}
        names: dict[int, str] = {}
        for name, value in graph.outputs:
            if value.const is None and value.node is not None and value.graph is graph:
                names.setdefault(id(value), name)
        return names

    def _node(self, node: Node, wanted: Mapping[int, str]) -> onnx.NodeProto:
        label = self._new(node.op_type)
        inputs = [self.name(value) if value is not None else "" for value in node.inputs]
        outputs = []
        for index, value in enumerate(node.outputs):
            name = wanted.get(id(value), label if len(node.outputs) == 1 else f"{label}_{index}")
            self.names[id(value)] = name
            outputs.append(name)
        around, self.around = self.around, self.around or node
        attributes = [self._attribute(key, item) for key, item in sorted(node.attributes.items())]
        self.around = around
        proto = onnx.NodeProto(op_type=node.op_type, name=label, input=inputs, output=outputs)
        if node.op_type in _ML:
            proto.domain = ML_OPSET[0]
            self.domains.add(ML_OPSET)
        proto.doc_string = self.notes.of(node, around)
        if node.condition_of_some is not None and id(node.condition_of_some) in self.names:
            proto.doc_string = CONDITION_OF_SOME + self.names[id(node.condition_of_some)]
        proto.attribute.extend(attributes)
        return proto

    def _attribute(self, key: str, item: Any) -> onnx.AttributeProto:
        if isinstance(item, Graph):
            return helper.make_attribute(key, self.graph_proto(item, key))
        if key in ("to", "dtype"):
            return helper.make_attribute(key, helper.np_dtype_to_tensor_dtype(np.dtype(item)))
        if isinstance(item, np.ndarray):
            return helper.make_attribute(key, numpy_helper.from_array(item))
        if isinstance(item, bool):
            return helper.make_attribute(key, int(item))
        return helper.make_attribute(key, item)


def _row_size(value: Value) -> int:
    """Bytes for each row of the batch, of a value with one free axis; 0 for any other."""
    free = [size for size in value.shape or () if not isinstance(size, int)]
    if value.dtype.kind != "f" or [str(size) for size in free] != ["B"]:
        return 0
    return math.prod(size for size in value.dims if isinstance(size, int)) * value.dtype.itemsize


def _value_info(name: str, value: Value) -> onnx.ValueInfoProto:
    shape = None if value.shape is None else [size if isinstance(size, int) else str(size) for size in value.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)
