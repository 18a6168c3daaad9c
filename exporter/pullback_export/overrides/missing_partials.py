"""Partial derivatives that TensorFlow's gradient functions leave out, as if the operator did not depend on the operand.

Those of ``zeta(x, q)`` by ``x``, of ``polygamma(a, x)`` by ``a`` and of ``betainc(a, b, x)`` by ``a`` and ``b`` are
None (``math_grad.py`` says that they are to be added). A derivative through them alone is told to be unconnected, and
one through something else too lacks a term. Where a derivative that was requested needs one, it is refused by name;
tapes of the model itself are left alone, as nobody knows which of their results are wanted.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient

# By operator: the name of each operand that it is not differentiated by.
MISSING: dict[str, dict[int, str]] = {"Zeta": {0: "x"}, "Polygamma": {0: "a"}, "Betainc": {0: "a", 1: "b"}}


class MissingPartialError(LookupError):
    """As where TensorFlow has no gradient of an operator at all; the message names the operator and the operand."""


_pass = threading.local()


@contextlib.contextmanager
def named_partials() -> Iterator[None]:
    """Within it, a :func:`requested` derivative that needs one of the ``MISSING`` raises ``MissingPartialError``."""
    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


@contextlib.contextmanager
def requested() -> Iterator[None]:
    """Around the passes of a tape whose results are what was requested; for this thread."""
    before, _pass.requested = getattr(_pass, "requested", False), True
    try:
        yield
    finally:
        _pass.requested = before


def _checked(op_type: str) -> Callable[[Gradient], Gradient]:
    def replace(original: Gradient) -> Gradient:
        def gradient(op: Any, dy: Any) -> Any:
            # What a tape tells of the operands that nothing requested depends on; other callers do not say.
            skipped = getattr(op, "skip_input_indices", None)
            needed = [] if skipped is None else [name for at, name in MISSING[op_type].items() if at not in skipped]
            if needed and getattr(_pass, "requested", False):
                operands = " and ".join(needed)
                raise MissingPartialError(f"{op_type}{_place(op_type, op.inputs[0])} has no gradient by {operands}")
            return original(op, dy)

        return gradient

    return replace


def _place(op_type: str, operand: Any) -> str:
    """Where the operator stands: tapes do not keep its results, but its operand knows who reads it."""
    readers = operand.consumers() if hasattr(operand, "consumers") and not tf.executing_eagerly() else ()
    names = [reader.name for reader in readers if reader.type == op_type]
    return f" in {names[0]}" if names else ""


_CHANGES = tuple(replaced_gradient(op_type, _checked(op_type)) for op_type in MISSING)
