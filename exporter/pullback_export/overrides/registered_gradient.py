"""Puts another gradient function in the place of one that TensorFlow registers, for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback_export.overrides.temporary_change import TemporaryChange

Gradient = Callable[..., Any]


def replaced_gradient(op_type: str, replace: Callable[[Gradient], Gradient]) -> TemporaryChange:
    """While it is active, tapes (eager and in functions) differentiate ``op_type`` with ``replace(original)``."""

    def change() -> Callable[[], None]:
        from tensorflow.python.framework import ops

        entry = ops._gradient_registry._registry[op_type]
        original = entry["type"]
        entry["type"] = replace(original)
        return lambda: entry.update(type=original)

    return TemporaryChange(change)


def added_gradient(op_type: str, gradient: Gradient) -> TemporaryChange:
    """While it is active, tapes differentiate ``op_type``, for which TensorFlow registers nothing or "not
    differentiable", with ``gradient(op, *cotangents)``.
    """

    def change() -> Callable[[], None]:
        from tensorflow.python.framework import ops

        table = ops._gradient_registry._registry
        before = table.get(op_type)
        table[op_type] = {"type": gradient, "location": None}

        def undo() -> None:
            if before is None:
                del table[op_type]
            else:
                table[op_type] = before

        return undo

    return TemporaryChange(change)
