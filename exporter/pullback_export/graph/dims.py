"""Sizes of axes that are not known when the graph is written: integer polynomials in named and computed free sizes.

A size that follows from others is a node with references to them, so that a graph of a thousand operators holds a
thousand sizes, however deep they nest. Nodes are equal when their digests are: equality, hashing and printing never
look further down than one step, and do not depend on what the process did before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Union

# Characters of a size that is printed in full; a longer one gets a short name of its own.
LONGEST_NAME = 120


class Atom:
    """A free size with a name, or one that ``operation`` computes from ``operands``.

    Operations are ``floor``, ``trunc``, ``mod`` and ``max`` of two sizes, and ``broadcast`` of two or more.
    ``name`` is the expression, or ``<operation>_<digest>`` where that would be long; no two atoms share a name.
    ``natural`` says that the form of the size rules out negative numbers; free sizes themselves never are.
    """

    __slots__ = ("_hash", "digest", "name", "natural", "operands", "operation")

    def __init__(self, name: str, operation: str | None = None, operands: tuple[Size, ...] = ()) -> None:
        self.name = name
        self.operation = operation
        self.operands = operands
        self.natural = _is_natural(operation, operands)
        self.digest = _digest(name) if operation is None else _digest(operation, *map(_digest_of, operands))
        self._hash = hash(self.digest)

    @staticmethod
    def computed(operation: str, operands: tuple[Size, ...]) -> Atom:
        atom = Atom(f"{operation}({','.join(map(str, operands))})", operation, operands)
        if len(atom.name) > LONGEST_NAME:
            atom.name = f"{operation}_{atom.digest.hex()[:12]}"
        return atom

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.digest == other.digest)

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: Atom) -> bool:
        """An order for printing and for the order of operators; the same in every process."""
        return self.name < other.name

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


Monomial = tuple[Atom, ...]


class Dim:
    """A size such as ``B``, ``2*B`` or ``B*T + 1``; plain sizes are plain ``int``.

    ``//`` and ``%`` are Python's, for operands of either sign: the quotient is rounded down, the remainder has the
    sign of the divisor. Division that does not come out even yields a new atom that knows its operands, so that
    two axes computed in the same way compare equal. A free size itself is never negative; what is computed may be.
    """

    __slots__ = ("_hash", "_text", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = tuple(sorted(terms.items()))
        self._hash = hash(self.terms)
        self._text = ""

    @staticmethod
    def atom(name: str) -> Dim:
        """The free size ``name``."""
        return Dim({(Atom(name),): 1})

    @staticmethod
    def computed(operation: str, *operands: Size) -> Dim:
        """A size that follows from others by ``floor``, ``mod``, ``trunc``, ``max`` or ``broadcast``."""
        return Dim({(Atom.computed(operation, operands),): 1})

    @property
    def alone(self) -> Atom | None:
        """The atom that the size consists of, where it is one atom and nothing else."""
        if len(self.terms) != 1 or self.terms[0][1] != 1 or len(self.terms[0][0]) != 1:
            return None
        return self.terms[0][0][0]

    @property
    def is_undecided(self) -> bool:
        """Whether it is the size of two broadcast axes of which it is not known which one is 1, or made of such."""
        return any(atom.operation == "broadcast" for atoms, _ in self.terms for atom in atoms)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Dim) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if not self._text:
            text = "+".join(_term(atoms, factor) for atoms, factor in reversed(self.terms)).replace("+-", "-")
            alone = self.alone is not None or len(text) <= LONGEST_NAME
            self._text = text if alone else f"size_{_digest_of(self).hex()[:12]}"
        return self._text

    __repr__ = __str__

    def solve(self) -> tuple[Atom, int, int] | None:
        """``(atom, a, b)`` where this size is ``a * atom + b``, else None."""
        *rest, (atoms, factor) = self.terms
        if len(atoms) != 1 or any(names for names, _ in rest):
            return None
        return atoms[0], factor, rest[0][1] if rest else 0

    def at(self, sizes: Mapping[str, int]) -> int | None:
        """The number that the size is where its named atoms have ``sizes``; None where one of them is missing."""
        found: dict[Atom, int | None] = {}
        for atom in operands_first(self):
            found[atom] = _atom_at(atom, found, sizes)
        return _sum_at(self, found)

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


def operands_first(size: Size) -> Iterator[Atom]:
    """The atoms that ``size`` is made of, each once and after those that it is computed from; at any depth."""
    done: set[Atom] = set()
    stack = list(_atoms(size))
    while stack:
        atom = stack[-1]
        missing = [item for operand in atom.operands for item in _atoms(operand) if item not in done]
        if atom in done or not missing:
            stack.pop()
            if atom not in done:
                done.add(atom)
                yield atom
        else:
            stack.extend(missing)


def _atoms(size: Size) -> Iterator[Atom]:
    return (atom for atoms, _ in _terms(size) for atom in atoms)


def _atom_at(atom: Atom, found: Mapping[Atom, int | None], sizes: Mapping[str, int]) -> int | None:
    if atom.operation is None:
        return sizes.get(atom.name)
    numbers = [_sum_at(operand, found) for operand in atom.operands]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or (atom.operation in ("floor", "mod", "trunc") and known[1] == 0):
        return None
    return _OPERATIONS[atom.operation](known)


def _sum_at(size: Size, found: Mapping[Atom, int | None]) -> int | None:
    total = 0
    for atoms, factor in _terms(size):
        numbers = [number for atom in atoms if (number := found[atom]) is not None]
        if len(numbers) < len(atoms):
            return None
        total += factor * math.prod(numbers)
    return total


_OPERATIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "floor": lambda numbers: numbers[0] // numbers[1],
    "mod": lambda numbers: numbers[0] % numbers[1],
    "trunc": lambda numbers: towards_zero(numbers[0], numbers[1]),
    "max": max,
    "broadcast": lambda numbers: next((number for number in numbers if number != 1), 1),
}


def known(size: Size) -> int:
    """The number that a size is; raises ``ValueError`` for one that is free."""
    if isinstance(size, Dim):
        raise ValueError(f"the size {size} is only known when the graph runs")
    return int(size)


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


def towards_zero(number: int, divisor: int) -> int:
    """The quotient without its fraction, as ONNX and C divide; Python's ``//`` rounds down."""
    quotient = abs(number) // abs(divisor)
    return quotient if (number < 0) == (divisor < 0) else -quotient


def never_negative(size: Size) -> bool:
    """Whether that follows from the form of ``size``."""
    if isinstance(size, int):
        return size >= 0
    return all(factor >= 0 and all(atom.natural for atom in atoms) for atoms, factor in size.terms)


def _is_natural(operation: str | None, operands: Sequence[Size]) -> bool:
    if operation == "max":
        return any(map(never_negative, operands))
    if operation == "mod":  # the remainder has the sign of the divisor
        return never_negative(operands[1])
    return all(map(never_negative, operands))


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
    text = "*".join(map(str, names))
    return text if factor == 1 else f"{factor}*{text}"


def _digest(*parts: str | bytes) -> bytes:
    """Sixteen bytes that stand for ``parts``; each part is hashed with its length."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(4, "little") + content)
    return total.digest()


def _digest_of(size: Size) -> bytes:
    if isinstance(size, int):
        return _digest(str(int(size)))
    return _digest(*(_digest(str(factor), *(atom.digest for atom in atoms)) for atoms, factor in size.terms))
