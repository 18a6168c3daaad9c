"""``a @ b + c`` as one ``Gemm``, which adds to ``c`` what it computes: one pass over memory less."""

from __future__ import annotations

from pullback_export.graph.values import Attribute, Node, Region, Value
from pullback_export.optimize.rewrite import only_reader, other_operand


def sum_in_product(graph: Region, node: Node) -> Value | None:
    """A matrix product that only an ``Add`` of its own shape reads; ONNX Runtime itself only joins biases."""
    found = joined_sum(node)
    return graph.emit("Gemm", *found) if found is not None else None


def joined_sum(node: Node) -> tuple[list[Value | None], dict[str, Attribute]] | None:
    """Inputs and attributes of the ``Gemm`` that can take the place of ``node``."""
    if node.op_type != "Add" or node.outputs[0].dtype.kind != "f":
        return None
    for value, other in other_operand(node):
        product = value.node if value is not None else None
        if product is None or value is None or other is None or only_reader(value) is not node:
            continue
        same = other.const is None and value.shape is not None and value.shape == other.shape
        if same and _is_plain(product):
            return [*product.inputs, other], dict(product.attributes)
    return None


def _is_plain(node: Node) -> bool:
    """A product of two matrices to which nothing is added yet."""
    if node.op_type not in ("Gemm", "MatMul") or len(node.inputs) != 2:
        return False
    return all(item is not None and item.shape is not None and item.rank == 2 for item in node.inputs)
