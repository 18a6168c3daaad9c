"""Small integer vectors (shapes, starts, pads) of which some elements are known and others depend on the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Dim, Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext

# A known number, a free size, or an int64 value of shape (1,).
Element = int | Dim | Value


def elements(op: OpContext, vector: Value) -> list[Element]:
    """The elements of ``vector``, whose length must be known."""
    if vector.sizes is not None:
        return list(vector.sizes.ravel())
    if vector.rank == 0:
        return [op.cast(op.reshape(vector, [1]), np.int64)]
    node = vector.node
    if node is not None and node.op_type == "Concat":
        return [item for part in node.inputs if part is not None for item in elements(op, part)]
    if node is not None and node.op_type in ("Cast", "Reshape", "Unsqueeze") and vector.rank == 1:
        source = node.inputs[0]
        if source is not None and source.shape is not None and source.dtype.kind in "iu" and source.rank <= 1:
            return elements(op, source)
    length = vector.dims[0]
    if not isinstance(length, int):
        raise op.unsupported("the vector that says how to slice or pad has an unknown length; give it a fixed one")
    wide = op.cast(vector, np.int64)
    return [op.Slice(wide, [at], [at + 1], [0]) if length > 1 else wide for at in range(length)]


def named_sizes(op: OpContext, sizes: Value, hint: str = "size") -> list[Size]:
    """The elements of a vector of sizes; what depends on the data gets a name, as which axes have it from now on.

    A size is never negative: TensorFlow's kernels refuse others. The same vector always gives the same names.
    """
    found: list[Size] = []
    for item in elements(op, sizes):
        if not isinstance(item, Value):
            found.append(item)
            continue
        name = item.graph.fresh_size(hint)
        item.graph.name_size(item, name)
        found.append(name)
    return found


def vector(op: OpContext, items: Sequence[Element]) -> Value:
    """The int64 vector of ``items``."""
    if not any(isinstance(item, Value) for item in items):
        return op.sizes([item for item in items if not isinstance(item, Value)])
    return op.Concat(*[lift(op, item) for item in items], axis=0)


def lift(op: OpContext, item: Element) -> Value:
    """``item`` as an int64 value of shape (1,)."""
    return item if isinstance(item, Value) else op.sizes([item])


def plus(op: OpContext, a: Element, b: Element) -> Element:
    """``a + b``."""
    if isinstance(a, Value) or isinstance(b, Value):
        return lift(op, a) + lift(op, b)
    return a + b


def minus(op: OpContext, a: Element, b: Element) -> Element:
    """``a - b``."""
    if isinstance(a, Value) or isinstance(b, Value):
        return lift(op, a) - lift(op, b)
    return a - b


def known(items: Sequence[Element]) -> list[Size] | None:
    """``items`` as sizes, or None if one of them depends on the data."""
    sizes = [item for item in items if not isinstance(item, Value)]
    return sizes if len(sizes) == len(items) else None
