"""Writes ``docs/operators.md`` from the tables of the tests: ``python -m tests.project.operator_table``."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping

import tensorflow as tf
from pullback_export.lowering import refusals, registry, tf2onnx_fallback
from tensorflow.python.framework import op_def_registry

from tests.keras import layer_rows, ops_table, recurrent_rows
from tests.lowering.case import Case
from tests.lowering.exclusions import EXCLUSIONS
from tests.lowering.test_rules import ROWS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "operators.md"
HEAD = """# What is covered

Made from the tables of the tests by `python -m tests.project.operator_table`; a test compares this page with them.
*Order* is how often the rows differentiate: 0 values, 1 gradients, 2 gradients of gradients. A dtype stands here when
a row compares it with TensorFlow.
"""

WITHOUT_RULE = "no model has needed it yet; add a rule of your own (`pullback_export.lowers`, docs/own_operators.md)"
# The page names so many operators of a family that no model has needed.
MOST_NAMES = 100


def page() -> str:
    """The whole page."""
    layers = [(row.layer, row.order, row.dtypes) for row in [*layer_rows.ROWS, *recurrent_rows.ROWS]]
    functions = [
        (name, case.order, case.dtypes)
        for table in ops_table.FAMILIES.values()
        for name, cases in table.items()
        for case in cases
    ]
    parts = [
        HEAD,
        _section("TensorFlow operators", _operators(ROWS)),
        _reasons("TensorFlow operators with a gradient that are excluded", EXCLUSIONS),
        _reasons("TensorFlow operators that are refused", refused(), MOST_NAMES),
        _section("Keras layers", layers),
        _reasons("Keras layers that are excluded", layer_rows.EXCLUDED),
        _section("Functions of keras.ops", functions),
        _reasons("Functions of keras.ops that are excluded", ops_table.EXCLUDED),
    ]
    return "\n".join(parts)


def refused() -> dict[str, str]:
    """TensorFlow's public operators that nothing converts, gradients or not, each with what the export says of it."""
    rules = registry.load_rules()
    return {
        name: refusals.reason(name) or WITHOUT_RULE
        for name in dir(tf.raw_ops)
        if op_def_registry.get(name) is not None and name not in rules and name not in EXCLUSIONS
        if name in refusals.REASONS or tf2onnx_fallback.rule_for(name) is None
    }


def _operators(rows: Iterable[Case]) -> list[tuple[str, int, tuple[str, ...]]]:
    rules = registry.load_rules()
    found = [
        (name, case.order, case.dtypes)
        for case in rows
        for name in ((case.ops,) if isinstance(case.ops, str) else case.ops)
    ]
    return [item for item in found if item[0] in rules]


def _section(title: str, rows: Iterable[tuple[str, int, tuple[str, ...]]]) -> str:
    orders: dict[str, int] = {}
    dtypes: dict[str, set[str]] = {}
    for name, order, kinds in rows:
        orders[name] = max(order, orders.get(name, 0))
        dtypes.setdefault(name, set()).update(kinds)
    lines = [
        f"## {title}",
        "",
        f"{len(orders)} in all.",
        "",
        "| name | order | float32 | float64 |",
        "|---|---|---|---|",
    ]
    for name in sorted(orders):
        marks = " | ".join("yes" if dtype in dtypes[name] else "" for dtype in ("float32", "float64"))
        lines.append(f"| {name} | {orders[name]} | {marks} |")
    return "\n".join([*lines, ""])


def _reasons(title: str, reasons: Mapping[str, str], most: int | None = None) -> str:
    """One line for each reason, with at most so many names."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    lines = [f"## {title}", ""]
    for reason, names in sorted(by_reason.items()):
        shown = sorted(names)[:most]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        lines.append(f"* {', '.join(shown)}{more}: {reason}.")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
