"""Which activation of ONNX's recurrent operators a value of a step is, by its equations.

``sigmoid``, ``tanh``, ``softsign``, ``relu`` and leaky ``relu`` are operators, and no activation at all is ``Affine``.
A hard sigmoid is what clips and lies between 0 and 1: in Keras 3 ``relu6(x + 3) / 6``, elsewhere
``clip(0.2 x + 0.5, 0, 1)``. A scaled hyperbolic tangent is ``a tanh(b x)``, and ``elu`` what its rule makes of it.

On the way to an activation the kernels clip, and a NaN would get lost: of the bounded ones no finite input gives a NaN,
and of the others the states that the operator has given tell (see ``operator._stays_moderate``).
Names and parameters are those of https://onnx.ai/onnx/operators/onnx__LSTM.html .
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.values import Node, Value
from pullback_export.optimize.rewrite import made_by, other_operand

_PLAIN = ("Sigmoid", "Tanh", "Softsign", "Relu")
_UNBOUNDED = ("Relu", "LeakyRelu", "Elu", "Affine")

_FAST = ("Sigmoid", "Tanh", "Relu")

# Measured with 64 and 256 units: a hard sigmoid at 2048, and one with an exponential.
_LARGEST_STATE = {"Elu": 512}

# The slope of a leaky relu without one: https://onnx.ai/onnx/operators/onnx__LeakyRelu.html
_SLOPE = 0.01

# So that no product with a sum of a gate overflows: see weights.operands_of.
_LARGEST_FACTOR = 1e6

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
}


@dataclasses.dataclass(frozen=True)
class Activation:
    """A name and, where the activation has them, the parameters ``alpha`` and ``beta``."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    @property
    def largest_state(self) -> float:
        """Up to so many numbers in a state ONNX Runtime's kernels are as fast as a loop that collects nothing.

        They call a function for each number of all but three activations (``composed_m`` in ``rnn_helpers.cc``).
        """
        return float("inf") if self.name in _FAST else _LARGEST_STATE.get(self.name, 2048)

    @property
    def is_bounded(self) -> bool:
        """Whether there is a number that no result is larger than in size."""
        return self.name not in _UNBOUNDED

    @property
    def is_within_one(self) -> bool:
        """Whether no result is larger than 1 in size."""
        return self.name != "ScaledTanh" or (self.alpha is not None and abs(self.alpha) <= 1)


def attributes_of(activations: Sequence[Activation]) -> dict[str, object]:
    """The attributes of an operator; each parameter is taken by the next activation that has one."""
    attributes: dict[str, object] = {"activations": [item.name for item in activations]}
    for key in ("alpha", "beta"):
        found = [getattr(item, key) for item in activations]
        if any(number is not None for number in found):
            attributes[f"activation_{key}"] = [number for number in found if number is not None]
    return attributes


def activation_of(value: Value) -> tuple[Activation, Value]:
    """The activation whose result ``value`` is, and what it is applied to; ``Affine`` of itself where none is known."""
    known = _operator(value) or _hard_sigmoid(value) or _scaled_tanh(value) or _elu(value)
    return known or (Activation("Affine", 1.0, 0.0), value)


def _operator(value: Value) -> tuple[Activation, Value] | None:
    """An activation that is one operator."""
    node = made_by(value, *_PLAIN, "LeakyRelu")
    if node is None or node.inputs[0] is None:
        return None
    if node.op_type in _PLAIN:
        return Activation(node.op_type), node.inputs[0]
    return _with(Activation(node.op_type, float(node.attributes.get("alpha", _SLOPE))), node.inputs[0], value)


@dataclasses.dataclass(frozen=True)
class _Line:
    """What is computed from ``source`` by sums and products with numbers, the last ``step`` first."""

    source: Value
    steps: tuple[Callable[[Any], Any], ...]

    def at(self, number: Any) -> Any:
        for step in reversed(self.steps):
            number = step(number)
        return number

    @property
    def offset(self) -> float:
        return float(self.at(0.0))

    @property
    def factor(self) -> float:
        return float(self.at(1.0) - self.at(0.0))


def _line(value: Value) -> _Line:
    steps: list[Callable[[Any], Any]] = []
    while (found := _step(value)) is not None:
        value, step = found
        steps.append(step)
    return _Line(value, tuple(steps))


def _step(value: Value) -> tuple[Value, Callable[[Any], Any]] | None:
    """One operator of a value and a number, as a function of the value."""
    if (node := made_by(value, "Neg", "Identity")) is not None and node.inputs[0] is not None:
        return node.inputs[0], operator.neg if node.op_type == "Neg" else operator.pos
    node = made_by(value, *_ARITHMETIC)
    if node is None:
        return None
    for other, given in other_operand(node):
        first = other is node.inputs[0]
        if given.fill is None or other.fill is not None or other.shape != value.shape:
            continue
        if first or node.op_type != "Div":
            return other, functools.partial(_apply, _ARITHMETIC[node.op_type], given.fill, first)
    return None


def _apply(operation: Callable[[Any, Any], Any], given: float, first: bool, number: Any) -> Any:
    """In the precision of ``number``, which is the first operand or the second one."""
    other = type(number)(given)
    return operation(number, other) if first else operation(other, number)


def _hard_sigmoid(value: Value) -> tuple[Activation, Value] | None:
    """``alpha x + beta`` where it lies between 0 and 1, else the nearer one of these."""
    outside = _line(value)
    clipped = _clipped(outside.source)
    if clipped is None:
        return None
    source, *bounds = clipped
    if {float(outside.at(np.float32(bound))) for bound in bounds} != {0.0, 1.0}:
        return None
    inside = _line(source)
    factor = inside.factor * outside.factor
    offset = inside.offset * outside.factor + outside.offset
    return _with(Activation("HardSigmoid", factor, offset), inside.source, value)


def _clipped(value: Value) -> tuple[Value, float, float] | None:
    """What is clipped, and the two bounds, from one operator or from two."""
    low, high = -np.inf, np.inf
    for _ in range(2):
        node = made_by(value, "Clip", "Relu", "Min", "Max")
        found = _bounds(node) if node is not None else None
        if found is None:
            break
        value, lower, upper = found
        if lower > high or upper < low:  # the operator outside makes a constant of it
            return None
        low, high = max(low, lower), min(high, upper)
    return (value, low, high) if np.isfinite([low, high]).all() and low < high else None


def _bounds(node: Node) -> tuple[Value, float, float] | None:
    """The operand of one operator and the bounds that it sets."""
    first, *others = node.inputs
    if node.op_type == "Relu":
        return None if first is None else (first, 0.0, np.inf)
    if node.op_type == "Clip":
        numbers = [None if item is None else item.fill for item in others]
        if first is None or any(item is not None and item.fill is None for item in others):
            return None
        low, high = [*numbers, None, None][:2]
        return first, -np.inf if low is None else low, np.inf if high is None else high
    if len(others) != 1:
        return None
    for value, given in other_operand(node):
        if given.fill is not None and value.fill is None:
            return (value, -np.inf, given.fill) if node.op_type == "Min" else (value, given.fill, np.inf)
    return None


def _scaled_tanh(value: Value) -> tuple[Activation, Value] | None:
    """``alpha tanh(beta x)``"""
    outside = _line(value)
    node = made_by(outside.source, "Tanh")
    if node is None or node.inputs[0] is None or outside.offset != 0:
        return None
    inside = _line(node.inputs[0])
    if inside.offset != 0:
        inside = _Line(node.inputs[0], ())
    return _with(Activation("ScaledTanh", outside.factor, inside.factor), inside.source, value)


def _elu(value: Value) -> tuple[Activation, Value] | None:
    """``relu(x) + (exp(min(x, 0)) - 1)``"""
    whole = made_by(value, "Add")
    for positive, negative in other_operand(whole) if whole is not None else ():
        relu, less = made_by(positive, "Relu"), made_by(negative, "Sub")
        exp = made_by(less.inputs[0], "Exp") if less is not None else None
        if relu is None or less is None or exp is None or less.inputs[1] is None or less.inputs[1].fill != 1:
            continue
        clipped, source = made_by(exp.inputs[0], "Clip", "Min"), relu.inputs[0]
        if clipped is not None and source is not None and _bounds(clipped) == (source, -np.inf, 0):
            return _with(Activation("Elu", 1.0), source, value)
    return None


def _with(found: Activation, source: Value, value: Value) -> tuple[Activation, Value] | None:
    """``found`` with moderate parameters, of a source that has a number for each one of ``value``."""
    numbers = np.array([number for number in (found.alpha, found.beta) if number is not None], float)
    if source.shape != value.shape or not (np.abs(numbers) < _LARGEST_FACTOR).all() or found.alpha == 0:
        return None
    return found, source
