"""Elementwise arithmetic as a sum of products of named values, in whatever order it was written."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Array, Value

Terms = dict[tuple[str, ...], Array]
"""A constant for each product of names; the names are sorted."""

_MOST_TERMS, _MOST_FACTORS = 4, 3


class Arithmetic:
    """What values are in terms of those that ``names`` names; ``inverse_of`` names one over a value.

    ``row``: sizes of the last axes; constants are numbers, or have one for each place of some last axes of these.
    """

    def __init__(self, names: dict[Value, str], inverse_of: dict[Value, str], row: tuple[int, ...]) -> None:
        self.names = names
        self.inverse_of = inverse_of
        self.row = row
        self.known: dict[Value, Terms | None] = {}

    def terms(self, value: Value | None) -> Terms | None:
        """None where there is anything else in it, or too much."""
        if value is None:
            return None
        if value not in self.known:
            self.known[value] = None  # of a value that is long: it is not looked at twice
            found = self._terms(value)
            fits = found is not None and len(found) <= _MOST_TERMS and all(len(key) <= _MOST_FACTORS for key in found)
            self.known[value] = found if fits else None
        return self.known[value]

    def _terms(self, value: Value) -> Terms | None:
        if value in self.names:
            return {(self.names[value],): np.float64(1)}  # type: ignore[dict-item]  # a number is an array of rank 0
        if value.const is not None:
            return self._constant(value.const)
        node = value.node
        if node is None:
            return None
        if node.op_type in ("Reciprocal", "Div"):
            divisor = node.inputs[-1]
            name = self.inverse_of.get(divisor) if divisor is not None else None
            inverse: Terms | None = {(name,): np.ones(())} if name is not None else None
            return inverse if node.op_type == "Reciprocal" else _product(self.terms(node.inputs[0]), inverse)
        if node.op_type == "Neg":
            return _scaled(self.terms(node.inputs[0]), -1)
        if node.op_type == "Mul":
            return _product(self.terms(node.inputs[0]), self.terms(node.inputs[1]))
        if node.op_type in ("Add", "Sub"):
            sign = 1 if node.op_type == "Add" else -1
            return _sum(self.terms(node.inputs[0]), _scaled(self.terms(node.inputs[1]), sign))
        return None

    def _constant(self, constant: Array) -> Terms | None:
        sizes = constant.shape
        while sizes and sizes[0] == 1:
            sizes = sizes[1:]
        if constant.dtype.kind != "f" or sizes != self.row[len(self.row) - len(sizes) :]:
            return None
        return {(): constant.reshape(sizes).astype(np.float64)}


def _scaled(terms: Terms | None, factor: float) -> Terms | None:
    return {key: factor * number for key, number in terms.items()} if terms is not None else None


def _product(one: Terms | None, other: Terms | None) -> Terms | None:
    if one is None or other is None:
        return None
    total: Terms = {}
    for left, first in one.items():
        for right, second in other.items():
            key = tuple(sorted((*left, *right)))
            total[key] = total.get(key, np.zeros(())) + first * second
    return total


def _sum(one: Terms | None, other: Terms | None) -> Terms | None:
    if one is None or other is None:
        return None
    return {key: one.get(key, np.zeros(())) + other.get(key, np.zeros(())) for key in {**one, **other}}
