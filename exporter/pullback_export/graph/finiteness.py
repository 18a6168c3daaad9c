"""Which values are finite whatever the model's inputs are: decides where a product may stand for a selection.

``x * mask`` is many times as fast as ``Where(mask, x, 0)``, but NaN where ``x`` is infinite or NaN and the mask 0. The
cotangents of piecewise linear layers consist of weights and masks only. What depends on the numbers in an input may
be NaN, and a selection is how a model says that this must not count.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.operators import KEEPING_FINITE
from pullback_export.graph.values import Node, Value


def is_finite(value: Value) -> bool:
    """Whether ``value`` is made of finite constants, integers and truth values only."""
    known = value.graph.root.finite
    stack = [] if _settled(value) else [value.node]
    while stack:
        node = stack[-1]
        assert node is not None
        operands = [item for item in node.inputs if item is not None] if node.op_type in KEEPING_FINITE else []
        open_ones = [item.node for item in operands if not _settled(item) and item.node not in known]
        if open_ones and all(_finite(item, known) for item in operands if _settled(item)):
            stack.extend(open_ones)
            continue
        known[node] = (
            node.op_type in KEEPING_FINITE and not open_ones and all(_finite(item, known) for item in operands)
        )
        stack.pop()
    return _finite(value, known)


def _settled(value: Value) -> bool:
    """Whether the answer does not depend on the node that makes the value."""
    return value.dtype.kind != "f" or value.node is None


def _finite(value: Value, known: dict[Node, bool]) -> bool:
    if value.dtype.kind != "f":
        return True
    if value.const is not None:
        # Extremes tell as much as all numbers do, and no array of answers is made.
        return not value.const.size or bool(np.isfinite(value.const.max()) and np.isfinite(value.const.min()))
    return value.node is not None and known[value.node]
