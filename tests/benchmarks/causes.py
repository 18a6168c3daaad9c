"""Rows that are over their aim or behind another engine: what is missed, why, what was tried, where the time goes.

The texts stand in :mod:`tests.benchmarks.cause_texts`; the numbers in them are those of the run, by the names that
:func:`numbers` lists.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import engines, work
from tests.benchmarks.cause_texts import CAUSES, Cause
from tests.benchmarks.resources import duration
from tests.benchmarks.rows import REFERENCE, Row

# For one row at a time, Pullback is to be so many times as fast; everywhere else simply not behind.
AHEAD_AT_ONE_ROW = {"tf_function": 10.0, "keras_tape": 100.0}
UNEXPLAINED = "Not explained yet."
Operator = Mapping[str, Any]


def key(row: Row) -> str:
    """Names a row among the profiles."""
    return f"{row.machine}: {row.work} {row.batch} {row.threads}"


def missed(row: Row) -> list[str]:
    """What is not reached, each as a phrase; empty for a row that is ahead and within its aim."""
    found = []
    ratios, goal = row.ratios(REFERENCE, row.floor()), work.row(row.work).goal(row.batch)
    if ratios and goal is not None and statistics.median(ratios) > goal:
        found.append(f"{statistics.median(ratios):.2f} times the fastest forward pass, the aim is {goal:g}")
    for item in engines.ENGINES:
        times = row.ratios(item.name, REFERENCE)
        if item.name in (*engines.FLOORS, *engines.BOUNDS, REFERENCE) or not times:
            continue
        least = AHEAD_AT_ONE_ROW.get(item.name, 1.0) if row.batch == 1 else 1.0
        if statistics.median(times) < least:
            aim = f", the aim is {least:g}" if least > 1 else ""
            found.append(f"{item.title} takes {statistics.median(times):.2f} times as long as Pullback{aim}")
    return found


def numbers(row: Row, operators: Sequence[Operator]) -> dict[str, Any]:
    """The fields of a text.

    ``forward``: the time of the forward pass; ``share[Op]`` and ``nodes[Op]``: of an ONNX operator in the profile,
    nothing where it has none.
    """
    forward = row.seconds(engines.FLOOR)
    return {
        "forward": duration(forward) if forward else "(not measured)",
        "share": defaultdict(lambda: "0 %", {item["op"]: f"{100 * item['share']:.0f} %" for item in operators}),
        "nodes": defaultdict(int, {item["op"]: item["count"] for item in operators}),
    }


def section(rows: Sequence[Row], profiles: Mapping[str, Sequence[Operator]]) -> list[str]:
    """Markdown of all rows that miss something; empty where there is none."""
    behind = [(row, phrases) for row in rows if (phrases := missed(row))]
    if not behind:
        return []
    lines = [
        "## Rows that are not ahead",
        "",
        "Over the aim for value and derivative against the fastest forward pass, or behind another engine; at batch 1"
        " the aims are 10 times as fast as `tf.function` and 100 times as fast as Keras under a `GradientTape`. Each"
        " with its cause, what was tried, and where ONNX Runtime spends the time (`pullback bench --profile`, which"
        " makes short nodes longer). Shares are those of the profile; what was tried was measured on an AMD EPYC where"
        " no other processor is named.",
        "",
    ]
    for name, batch in dict.fromkeys((row.work, row.batch) for row, _ in behind):
        alike = [(row, phrases) for row, phrases in behind if (row.work, row.batch) == (name, batch)]
        lines += _explained(alike, profiles)
    return lines


def find(row: Row, causes: Sequence[Cause] | None = None) -> Cause | None:
    """The text for a row; raises ``LookupError`` where two fit."""
    table = CAUSES if causes is None else causes
    fitting = [c for c in table if c.work == row.work and row.batch in c.batches]
    if len(fitting) > 1:
        raise LookupError(f"{key(row)}: two causes fit; each row has one")
    return fitting[0] if fitting else None


def _explained(behind: Sequence[tuple[Row, Sequence[str]]], profiles: Mapping[str, Sequence[Operator]]) -> list[str]:
    """Of one network and batch size: what each machine and number of threads misses; one cause and one profile."""
    first = behind[0][0]
    row = next((row for row, _ in behind if key(row) in profiles), first)
    operators = profiles.get(key(row), ())
    lines = [f"### {work.row(row.work).title}, batch {row.batch:,}", ""]
    lines += [*(f"* {place(missing)}: {'; '.join(phrases)}" for missing, phrases in behind), ""]
    cause = find(row)
    if cause is None:
        lines += [UNEXPLAINED, ""]
    else:
        fields = numbers(row, operators)
        why = f"{cause.cause} {cause.at_one_row}".rstrip() if row.batch == 1 else cause.cause
        lines += [why.format_map(fields), "", "Tried:", ""]
        lines += [f"{number}. {text.format_map(fields)}" for number, text in enumerate(cause.tried, 1)]
        lines += [""]
    return lines + _profile(operators, place(row))


def place(row: Row) -> str:
    """Where it was measured."""
    threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}"
    return f"{row.machine}, {threads}" if row.machine else threads


def _profile(operators: Sequence[Operator], where: str) -> list[str]:
    if not operators:
        return ["No profile was taken.", ""]
    lines = [f"Profile, {where}:", "", "| operator | nodes | time | share |", "| --- | --: | --: | --: |"]
    shown = [item for item in operators if item["share"] >= 0.01]
    for item in shown:
        lines.append(f"| {item['op']} | {item['count']} | {duration(item['us'] / 1e6)} | {item['share']:.0%} |")
    rest = sum(item["us"] for item in operators) - sum(item["us"] for item in shown)
    count = sum(item["count"] for item in operators) - sum(item["count"] for item in shown)
    return [*lines, *([f"| others | {count} | {duration(rest / 1e6)} | |"] if count else []), ""]
