"""Which cell of Keras, PyTorch or ONNX the body of a ``Scan`` is, by its equations and not by its names.

* LSTM: ``c' = f * c + i * g``, ``h' = o * tanh(c')``
* GRU: ``h' = z * h + (1 - z) * g``, where ``g`` holds ``r * (h @ U + b)`` or ``(r * h) @ U``
* simple: ``h' = tanh(x @ W + h @ U + b)``

Where all states become ``where(mask, new, state)`` with one boolean row for each of the batch, it is that cell for the
steps of the mask.

``i``, ``f``, ``o``, ``g``, ``z`` and ``r`` are activations of such sums. Gates and activations have the names of
https://onnx.ai/onnx/operators/onnx__LSTM.html , `onnx__GRU.html` and `onnx__RNN.html`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from pullback_export.graph.values import Region, Value
from pullback_export.optimize.final.scan_bodies import held_by
from pullback_export.optimize.recurrent.activations import Activation, activation_of
from pullback_export.optimize.recurrent.affine import Term, terms_of
from pullback_export.optimize.rewrite import made_by, other_operand


@dataclasses.dataclass(frozen=True)
class Gate:
    """An activation of ``rows + state @ matrix + constants``."""

    activation: Activation
    rows: tuple[Term, ...]
    recurrent: Term
    constants: tuple[Term, ...]
    recurrent_constants: tuple[Term, ...] = ()
    """Of the candidate of a GRU: what joins the product before the reset gate scales it."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """``gates`` in ONNX's order; ``hidden`` and ``cell`` are positions among the states."""

    operator: str
    gates: tuple[Gate, ...]
    activations: tuple[Activation, ...]
    hidden: int
    hidden_after: Value
    cell: int | None = None
    cell_after: Value | None = None
    kept: Value | None = None
    """Of an LSTM: ``f`` and, in ``added``, ``i * g``."""
    added: Value | None = None
    resets_before: bool = False
    mask: Value | None = None
    """The row that says, for each of the batch, whether a step changes its states."""


class Body:
    """The body of a ``Scan`` with its states and rows."""

    def __init__(self, region: Region, states: int) -> None:
        self.region = region
        self.states = [value for _, value in region.inputs[:states]]
        self.rows = [value for _, value in region.inputs[states:]]
        self.following = [through(value) for _, value in region.outputs[:states]]
        self.mask: Value | None = None
        self._take_mask()

    def _take_mask(self) -> None:
        """Of states that a mask holds, what they become where it does not."""
        held = [held_by(value, state) for value, state in zip(self.following, self.states, strict=True)]
        found = [pair for pair in held if pair is not None]
        if not found or len(found) < len(held) or any(mask is not found[0][0] for mask, _ in found):
            return
        mask = found[0][0]
        if mask.dtype == np.bool_ and mask.shape is not None and mask.shape[1:] == (1,):
            self.mask = mask if any(mask is row for row in self.rows) else None
            self.following = [through(value) for _, value in found] if self.mask is not None else self.following

    def gate(self, value: Value, state: Value) -> Gate | None:
        """``value`` as an activation of rows, one product of ``state`` and constants."""
        activation, source = activation_of(value)
        terms = self.terms(source)
        return None if terms is None else self.gate_of(activation, terms, state)

    def opening(self, value: Value, state: Value) -> Gate | None:
        """The same for a gate that multiplies: only its bounds keep products of many steps finite."""
        found = self.gate(value, state)
        return found if found is not None and found.activation.is_bounded else None

    def terms(self, value: Value) -> list[Term] | None:
        return terms_of(value, lambda item: any(item is row for row in self.rows))

    def gate_of(self, activation: Activation, terms: list[Term], state: Value) -> Gate | None:
        """The same for an activation and the terms that it is applied to."""
        products = [term for term in terms if term.matrix is not None]
        rows = tuple(term for term in terms if term.matrix is None and not term.is_constant)
        if len(products) != 1 or products[0].value is not state or not rows:
            return None
        constants = tuple(term for term in terms if term.is_constant)
        return Gate(activation, rows, products[0], constants)


def through(value: Value) -> Value:
    """What an ``Identity`` hands on."""
    while (node := made_by(value, "Identity")) is not None and node.inputs[0] is not None:
        value = node.inputs[0]
    return value


def cell_of(region: Region, states: int) -> Cell | None:
    """The cell that ``region``, the body of a ``Scan``, computes in a step."""
    body = Body(region, states)
    if any(value.shape is None or len(value.shape) != 2 for value in (*body.states, *body.rows)):
        return None
    found = None
    if states == 2:
        found = _lstm(body, 0, 1) or _lstm(body, 1, 0)
    elif states == 1:
        found = _gru(body) or _simple(body)
    if found is None or body.mask is None:
        return found
    after = [through(value) for _, value in region.outputs[:states]]
    cell_after = None if found.cell is None else after[found.cell]
    return dataclasses.replace(found, mask=body.mask, hidden_after=after[found.hidden], cell_after=cell_after)


def _factors(value: Value | None) -> Iterator[tuple[Value, Value]]:
    node = made_by(value, "Mul")
    return other_operand(node) if node is not None else iter(())


def _summands(value: Value) -> Iterator[tuple[Value, Value]]:
    node = made_by(value, "Add")
    return other_operand(node) if node is not None else iter(())


def _lstm(body: Body, hidden: int, cell: int) -> Cell | None:
    h, c = body.states[hidden], body.states[cell]
    after, c_after = body.following[hidden], body.following[cell]
    for kept, added in _summands(c_after):
        for f_value, state in _factors(kept):
            for i_value, g_value in _factors(added):
                for o_value, shown in _factors(after):
                    output = activation_of(shown)
                    if state is not c or output[1] is not c_after:
                        continue
                    gates = [body.opening(value, h) for value in (i_value, o_value, f_value)]
                    found = [gate for gate in (*gates, body.gate(g_value, h)) if gate is not None]
                    if len(found) < 4 or len({gate.activation for gate in found[:3]}) > 1:
                        continue
                    names = (found[0].activation, found[3].activation, output[0])
                    return Cell("LSTM", tuple(found), names, hidden, after, cell, c_after, f_value, added)
    return None


def _gru(body: Body) -> Cell | None:
    (h,), (after,) = body.states, body.following
    for kept, new in _summands(after):
        for z_value, state in _factors(kept):
            for rest, g_value in _factors(new):
                update = body.opening(z_value, h)
                if state is not h or update is None or not _is_rest(rest, z_value):
                    continue
                cell = _candidate(body, h, g_value, update, after)
                if cell is not None:
                    return cell
    return None


def _is_rest(value: Value, gate: Value) -> bool:
    """``1 - gate``"""
    node = made_by(value, "Sub")
    return node is not None and node.inputs[1] is gate and getattr(node.inputs[0], "fill", None) == 1


def _candidate(body: Body, h: Value, value: Value, update: Gate, after: Value) -> Cell | None:
    found = activation_of(value)
    reset_candidate = _reset_after(body, h, *found) or _reset_before(body, h, *found)
    if reset_candidate is None:
        return None
    reset, gate = reset_candidate
    if reset.activation != update.activation:
        return None
    before = gate.recurrent.value is not h
    names = (update.activation, gate.activation)
    return Cell("GRU", (update, reset, gate), names, 0, after, resets_before=before)


def _reset_after(body: Body, h: Value, activation: Activation, source: Value) -> tuple[Gate, Gate] | None:
    """``act(rows + r * (h @ U + b))``"""
    for outside, scaled in _summands(source):
        for r_value, product in _factors(scaled):
            reset, inside, rows = body.gate(r_value, h), body.terms(product), body.terms(outside)
            if reset is None or inside is None or rows is None or any(term.matrix is not None for term in rows):
                continue
            products = [term for term in inside if term.matrix is not None]
            others = tuple(term for term in inside if term.matrix is None)
            if len(products) != 1 or products[0].value is not h or not all(term.is_constant for term in others):
                continue
            constants = tuple(term for term in rows if term.is_constant)
            varying = tuple(term for term in rows if not term.is_constant)
            return reset, Gate(activation, varying, products[0], constants, others)
    return None


def _reset_before(body: Body, h: Value, activation: Activation, source: Value) -> tuple[Gate, Gate] | None:
    """``act(rows + (r * h) @ U)``"""
    terms = body.terms(source)
    products = [term for term in terms or () if term.matrix is not None]
    if terms is None or len(products) != 1:
        return None
    for r_value, state in _factors(products[0].value):
        reset, gate = body.gate(r_value, h), body.gate_of(activation, terms, products[0].value)
        if state is h and reset is not None and gate is not None:
            return reset, gate
    return None


def _simple(body: Body) -> Cell | None:
    gate = body.gate(body.following[0], body.states[0])
    return None if gate is None else Cell("RNN", (gate,), (gate.activation,), 0, body.following[0])
