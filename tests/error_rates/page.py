"""``docs/gate.md``: the gate's two error rates, as they were measured."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Sequence

from tests.error_rates.outcome import Outcome
from tests.error_rates.rows import NOT_RIGHT

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "gate.md"
# Verdicts that must not be.
WRONG = ("missed", "refused", "died", "endless")
HEAD = """# The gate's error rates

Made by `make gate`. A *planted fault* is a mistake in a rule, a rewrite or a size of the exporter, as somebody could
make it; a row of the tables of operators that reaches it is exported as a plain function with its vjps, and the gate
must refuse it. A fault is *unseen* where it changes no number of any row that was tried (a wrong sign of zeros, say),
and *stopped* where it makes the conversion itself fail; neither says anything about the gate. A *right export* is a row
of the tables as it stands, in every dtype, with free and with fixed sizes; the gate must accept it.

{exceptions}
"""


def summary(outcomes: Sequence[Outcome]) -> str:
    """Both rates in two lines."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    faults = verdicts["caught"] + verdicts["missed"]
    rights = verdicts["accepted"] + verdicts["refused"]
    return (
        f"planted faults caught: {verdicts['caught']} of {faults}"
        f" (besides: {verdicts['unseen']} change no number, {verdicts['stopped']} stop the conversion,"
        f" {verdicts['not planted']} fit nowhere)\n"
        f"right exports refused: {verdicts['refused']} of {rights}"
    )


def page(outcomes: Sequence[Outcome]) -> str:
    """The whole page."""
    faults = [outcome for outcome in outcomes if outcome.verdict in ("caught", "missed")]
    named = [f"* `{name}`: {reason}" for name, reason in NOT_RIGHT.items()]
    head = HEAD.format(exceptions="\n".join(["Rows that are not right with cotangents, and are refused:", "", *named]))
    lines = [head, *(f"* {line}" for line in summary(outcomes).splitlines()), ""]
    lines += ["## Planted faults", "", "| family | mistake | caught | missed |", "|---|---|--:|--:|"]
    counts = Counter((outcome.family, outcome.kind, outcome.verdict) for outcome in faults)
    for family, kind in sorted({(outcome.family, outcome.kind) for outcome in faults}):
        lines.append(f"| {family} | {kind} | {counts[family, kind, 'caught']} | {counts[family, kind, 'missed']} |")
    left = [outcome for outcome in outcomes if outcome.verdict in WRONG]
    if left:
        lines += ["", "## What went wrong", ""]
        lines += [f"* {outcome.verdict}: {outcome.name}: {outcome.detail}" for outcome in left]
    return "\n".join([*lines, ""])
