"""The public way to add a rule from outside of the package; see ``docs/own_operators.md``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from pullback_export.lowering import registry

F = TypeVar("F", bound=registry.Rule)

_OWN: dict[str, registry.Rule] = {}


def lowers(*op_types: str, replace: bool = False, complex_parts: bool = False) -> Callable[[F], F]:
    """Registers a function as the rule of TensorFlow operators, for every later export of this process.

    The rule is called as ``rule(op, *inputs)`` with an :class:`~pullback_export.lowering.context.OpContext` and one
    value per data input, and returns one value per output. ``complex_parts``: the operator is linear, and a complex
    operand is given to the rule twice, its real and its imaginary part.

    Raises ``ValueError`` where an operator has a rule already. ``replace=True`` puts this one in its place, and is in
    turn an error where there is none. Reports and manifests name each rule of one's own that had a part in a bundle.
    """
    if not op_types or not all(isinstance(name, str) and name for name in op_types):
        raise ValueError('lowers: name the operators, @lowers("MyOperator")')
    rules = registry.load_rules()
    missing = [name for name in op_types if name not in rules]
    if replace and missing:
        raise ValueError(f"replace=True: {', '.join(missing)} has no rule that could be replaced")

    def register(rule: F) -> F:
        if not replace:
            registry.lowers(*op_types, complex_parts=complex_parts)(rule)
        for name in op_types:
            rules[name] = _OWN[name] = rule
            registry.COMPLEX.discard(name)
            if complex_parts:
                registry.COMPLEX.add(name)
        return rule

    return register


@contextlib.contextmanager
def own_rules() -> Iterator[None]:
    """Rules that are registered while this lasts are forgotten afterwards, and those they replace are back."""
    rules = registry.load_rules()
    before = dict(rules), set(registry.COMPLEX), dict(_OWN)
    try:
        yield
    finally:
        for now, then in ((rules, before[0]), (_OWN, before[2])):
            now.clear()
            now.update(then)
        registry.COMPLEX.clear()
        registry.COMPLEX.update(before[1])


def origin(op_type: str) -> str | None:
    """Where an operator's rule comes from, as the report names it; None for one of ours."""
    rule = _OWN.get(op_type)
    if rule is None:
        return None
    where = getattr(rule, "__module__", "?"), getattr(rule, "__qualname__", repr(rule))
    return f"a rule of your own, {'.'.join(where)}"
