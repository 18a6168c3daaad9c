"""What shapes are computed with: products, quotients, the larger and the smaller of two sizes, broadcasts."""

from __future__ import annotations

from collections.abc import Iterable

from pullback_export.graph.dims import Dim, Shape, Size, divide, never_negative, towards_zero


def product(sizes: Iterable[Size]) -> Size:
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def without_rest(old: Shape, new: Iterable[Size]) -> list[Size]:
    """The sizes ``new`` of a reshaped tensor with its -1 replaced, where that follows from the sizes ``old``.

    With a size of 0 the other axes decide (tensorflow/core/kernels/reshape_op.h).
    """
    sizes = list(new)
    if -1 in sizes:
        empty = 0 in sizes
        total = product(size for size in old if not (empty and size == 0))
        rest = divide(total, product(size for size in sizes if size not in (-1, 0)))
        sizes[sizes.index(-1)] = -1 if rest is None else rest
    return sizes


def broadcast(left: Shape, right: Shape) -> Shape:
    """NumPy's broadcast of two shapes. Different free sizes: the one that is not 1, under a new name."""
    rank = max(len(left), len(right))
    left = (1,) * (rank - len(left)) + left
    right = (1,) * (rank - len(right)) + right
    return tuple(_broadcast_size(a, b) for a, b in zip(left, right, strict=True))


def _broadcast_size(a: Size, b: Size) -> Size:
    """Broadcasting again with a size that took part already changes nothing."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    parts = dict.fromkeys((*_broadcast_parts(a), *_broadcast_parts(b)))
    for whole in (a, b):
        if len(parts) == len(_broadcast_parts(whole)):
            return whole
    return Dim.computed("broadcast", *sorted(parts, key=str))


def _broadcast_parts(size: Dim) -> tuple[Size, ...]:
    return size.alone.operands if size.alone is not None and size.alone.operation == "broadcast" else (size,)


def truncated(size: Size, divisor: Size) -> Size:
    """``size / divisor`` rounded towards zero, as ONNX divides integers; ``//`` rounds down."""
    if isinstance(size, int) and isinstance(divisor, int):
        return towards_zero(size, divisor)
    if never_negative(size) and never_negative(divisor):
        return size // divisor
    exact = divide(size, divisor)
    if exact is not None:
        return exact
    whole = _without_remainder(size, divisor)
    return whole // divisor if whole is not None else Dim.computed("trunc", size, divisor)


def _without_remainder(size: Size, divisor: Size) -> Size | None:
    """``n`` where ``size`` is ``n - n % divisor``, which every kind of division divides alike."""
    for names, factor in size.terms if isinstance(size, Dim) else ():
        if len(names) == 1 and factor == -1 and names[0].operation == "mod" and names[0].operands[1] == divisor:
            whole = size + Dim({names: 1})
            return whole if whole == names[0].operands[0] else None
    return None


def maximum(a: Size, b: Size) -> Size:
    """``max(a, b)``. Written as ``b + max(a - b, 0)``, so that pieces of an axis add up to the axis again."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    base, other = (a, b) if isinstance(b, Dim) and (isinstance(a, int) or str(a) < str(b)) else (b, a)
    difference = other - base
    if never_negative(difference):
        return other
    if never_negative(-difference):
        return base
    return base + Dim.computed("max", difference, 0)


def minimum(a: Size, b: Size) -> Size:
    """``min(a, b) = a + b - max(a, b)``."""
    return a + b - maximum(a, b)
