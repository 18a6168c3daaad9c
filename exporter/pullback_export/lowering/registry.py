"""The closed table of rules: one function for each TensorFlow op.

A rule is called as ``rule(op, *inputs)`` with an :class:`~pullback_export.lowering.context.OpContext` and one
:class:`~pullback_export.graph.graph.Value` for each data input, and returns one value for each output.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)

RULES: dict[str, Rule] = {}
COMPLEX: set[str] = set()


def lowers(*op_types: str, complex_parts: bool = False) -> Callable[[F], F]:
    """Registers a function as the rule of ``op_types``; a second rule for an op is an error.

    ``complex_parts``: the op is linear and structural, so on complex values the rule is applied to the real
    and to the imaginary part. Other rules get a :class:`~pullback_export.lowering.flows.complex_value.ComplexValue`.
    """

    def register(rule: F) -> F:
        for op_type in op_types:
            if op_type in RULES:
                raise ValueError(f"{op_type} has a rule already: {RULES[op_type].__module__}")
        for op_type in op_types:
            RULES[op_type] = rule
            if complex_parts:
                COMPLEX.add(op_type)
        return rule

    return register


def load_rules() -> dict[str, Rule]:
    """Imports every file below ``lowering.rules`` and returns the table."""
    package = importlib.import_module("pullback_export.lowering.rules")
    for module in pkgutil.walk_packages(package.__path__, "pullback_export.lowering.rules."):
        importlib.import_module(module.name)
    return RULES
