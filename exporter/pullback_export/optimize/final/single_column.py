"""Products with one column: ``w.T @ x.T`` is two to three times as fast in ONNX Runtime as ``x @ w``.

It packs constant weights into panels of 16 columns, of which 15 are then multiplied in vain; a row on the left is not
packed (``MlasSgemm``: one row times a transposed matrix is a dot product for each element).
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.bounds import inner_axis, is_transposed, weights_of
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import only_reader

# Below so many rows the reshape costs what the product saves.
_FEWEST_ROWS = 16


def as_row(graph: Region, node: Node) -> Value | None:
    """``x @ w`` or ``x @ w + b`` with one column as ``(w.T @ x.T + b).T``, where ``x`` has a batch axis."""
    if node.op_type != "Add":
        return _as_row(graph, node, None) if _bias(only_reader(node.outputs[0])) is None else None
    bias, product = _bias(node), node.inputs[0]
    for value in node.inputs:
        product = value if value is not bias else product
    if bias is None or product is None or product.node is None or only_reader(product) is not node:
        return None
    return (
        _as_row(graph, product.node, bias)
        if product.shape is not None and product.shape == node.outputs[0].shape
        else None
    )


def _bias(node: Node | None) -> Value | None:
    """The constant of one element that an ``Add`` adds."""
    if node is None or node.op_type != "Add":
        return None
    return next((v for v in node.inputs if v is not None and v.const is not None and v.const.size == 1), None)


def _as_row(graph: Region, node: Node, bias: Value | None) -> Value | None:
    weights, x = weights_of(node), node.inputs[0]
    if weights is None or x is None or x.rank != 2 or x.dtype != np.float32 or x.const is not None:
        return None
    rows, bias = x.dims[0], bias if len(node.inputs) < 3 else node.inputs[2]
    if weights.dims[1 - inner_axis(node)] != 1 or (isinstance(rows, int) and rows < _FEWEST_ROWS):
        return None
    if bias is not None and (bias.const is None or bias.const.size != 1):
        return None
    row = weights if is_transposed(node) else graph.emit("Transpose", [weights], {"perm": [1, 0]})
    offset = graph.constant(bias.const.reshape(1)) if bias is not None and bias.const is not None else None
    attributes = {**node.attributes, "transB": 1}
    across = graph.emit("Gemm", [row, x, offset], attributes)
    return graph.emit("Reshape", [across, graph.constant(np.array([-1, 1], np.int64))])
