"""Sizes of axes that are not known when the graph is written: integer polynomials in named free sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Union

Monomial = tuple[str, ...]


class Atom(str):
    """The name of a free size; ``recipe``, where there is one, says how to compute it: ``("max", a, b)``."""

    recipe: tuple[str, Size, Size] | None = None


class Dim:
    """A size such as ``B``, ``2*B`` or ``B*T + 1``; plain sizes are plain ``int``.

    ``//`` and ``%`` are Python's, for operands of either sign: the quotient is rounded down, the remainder has the
    sign of the divisor. Division that does not come out even yields a new atom whose name is the expression, so that
    two axes computed in the same way compare equal. A free size itself is never negative; what is computed may be.
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = tuple(sorted(terms.items()))

    @staticmethod
    def atom(name: str) -> Dim:
        return Dim({(name,): 1})

    @staticmethod
    def computed(operation: str, a: Size, b: Size) -> Dim:
        """A size that follows from others by ``floor``, ``mod``, ``trunc``, ``max`` or ``broadcast``."""
        name = Atom(f"{operation}({a},{b})")
        name.recipe = (operation, a, b)
        return Dim({(name,): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __str__(self) -> str:
        return "+".join(_term(names, factor) for names, factor in reversed(self.terms)).replace("+-", "-")

    __repr__ = __str__

    def solve(self, name: str) -> tuple[int, int] | None:
        """``(a, b)`` where this size is ``a * name + b``, else None."""
        terms = dict(self.terms)
        factor, rest = terms.pop((name,), 0), terms.pop((), 0)
        return (factor, rest) if factor and not terms else None

    def __add__(self, other: Size) -> Size:
        total = dict(self.terms)
        for names, factor in _terms(other):
            total[names] = total.get(names, 0) + factor
        return _simplest(total)

    def __mul__(self, other: Size) -> Size:
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                names = tuple(sorted(left + right))
                total[names] = total.get(names, 0) + a * b
        return _simplest(total)

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (-other)

    def __rsub__(self, other: int) -> Size:
        return (-self) + other

    def __floordiv__(self, other: Size) -> Size:
        exact = divide(self, other)
        return exact if exact is not None else Dim.computed("floor", self, other)

    def __rfloordiv__(self, other: int) -> Size:
        return Dim.computed("floor", other, self)

    def __mod__(self, other: Size) -> Size:
        return 0 if divide(self, other) is not None else Dim.computed("mod", self, other)

    def __rmod__(self, other: int) -> Size:
        return Dim.computed("mod", other, self)

    __radd__ = __add__
    __rmul__ = __mul__


Size = Union[int, Dim]  # noqa: UP007
Shape = tuple[Size, ...]


def divide(size: Size, divisor: Size) -> Size | None:
    """``size / divisor`` where that is again a polynomial, else None."""
    if isinstance(size, int) and isinstance(divisor, int):
        return size // divisor if divisor and size % divisor == 0 else None
    divisor_terms = _terms(divisor)
    if size == 0:
        return 0
    if len(divisor_terms) != 1:
        return 1 if size == divisor else None
    (by, by_factor), quotient = divisor_terms[0], {}
    for names, factor in _terms(size):
        rest = list(names)
        for name in by:
            if name not in rest:
                return None
            rest.remove(name)
        if by_factor == 0 or factor % by_factor:
            return None
        quotient[tuple(rest)] = factor // by_factor
    return _simplest(quotient)


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
    """NumPy's broadcast of two shapes. Two different free sizes: the one that is not 1, under a new name."""
    rank = max(len(left), len(right))
    left = (1,) * (rank - len(left)) + left
    right = (1,) * (rank - len(right)) + right
    return tuple(_broadcast_size(a, b) for a, b in zip(left, right, strict=True))


def _broadcast_size(a: Size, b: Size) -> Size:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    return Dim.computed("broadcast", *sorted((a, b), key=str))


def truncated(size: Size, divisor: Size) -> Size:
    """``size / divisor`` rounded towards zero, as ONNX divides integers; ``//`` rounds down."""
    if isinstance(size, int) and isinstance(divisor, int):
        quotient = abs(size) // abs(divisor)
        return quotient if (size < 0) == (divisor < 0) else -quotient
    if never_negative(size) and never_negative(divisor):
        return size // divisor
    exact = divide(size, divisor)
    if exact is not None:
        return exact
    whole = _without_remainder(size, divisor)
    return whole // divisor if whole is not None else Dim.computed("trunc", size, divisor)


def _without_remainder(size: Size, divisor: Size) -> Size | None:
    """``n`` where ``size`` is ``n - n % divisor``, which every kind of division divides alike."""
    for names, factor in _terms(size):
        recipe = getattr(names[0], "recipe", None) if len(names) == 1 and factor == -1 else None
        if recipe is not None and recipe[0] == "mod" and recipe[2] == divisor:
            whole = size + Dim({names: 1})
            return whole if whole == recipe[1] else None
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


def never_negative(size: Size) -> bool:
    """Whether that follows from the form of ``size``: free sizes themselves never are."""
    if isinstance(size, int):
        return size >= 0
    return all(factor >= 0 and all(map(_natural, names)) for names, factor in size.terms)


def _natural(name: str) -> bool:
    recipe = getattr(name, "recipe", None)
    if recipe is None:
        return True
    operation, a, b = recipe
    if operation == "max":
        return never_negative(a) or never_negative(b)
    if operation == "mod":  # the remainder has the sign of the divisor
        return never_negative(b)
    return never_negative(a) and never_negative(b)


def minimum(a: Size, b: Size) -> Size:
    """``min(a, b) = a + b - max(a, b)``."""
    return a + b - maximum(a, b)


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), int(size)),)


def _simplest(terms: Mapping[Monomial, int]) -> Size:
    kept = {names: factor for names, factor in terms.items() if factor}
    if not kept:
        return 0
    return kept[()] if set(kept) == {()} else Dim(kept)


def _term(names: Monomial, factor: int) -> str:
    if not names:
        return str(factor)
    return "*".join(names) if factor == 1 else f"{factor}*" + "*".join(names)
