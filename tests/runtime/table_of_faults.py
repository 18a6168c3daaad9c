"""Every bad input, fault and attack of the tests as Markdown: ``python -m tests.runtime.table_of_faults``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tests.runtime import (
    test_bad_inputs,
    test_commands,
    test_faults,
    test_forged_graph,
    test_forged_manifest,
    test_golden,
    test_parity,
    test_saved_model,
)
from tests.runtime.conftest import FIXTURES

GROUPS: list[tuple[str, Iterable[Sequence[Any]], str]] = [
    ("call, batched", test_bad_inputs.NET, "InputError or NotExportedError"),
    ("call, whole arrays", test_bad_inputs.MIXED, "InputError"),
    ("damaged folder", test_faults.FAULTS, "BundleError"),
    ("arguments of load", test_faults.LOADS, ""),
    ("forged manifest", test_forged_manifest.EDITS, "BundleError"),
    ("manifest that is none", test_forged_manifest.TEXTS, "BundleError"),
    ("forged graph", test_forged_graph.ATTACKS, "BundleError"),
    ("golden samples", test_golden.ATTACKS, "BundleError"),
    ("SavedModel in a bundle", test_saved_model.FAULTS, "BundleError"),
    ("SavedModel alone", test_saved_model.ALONE, ""),
    ("numbers that differ", [row for row in test_parity.ROWS if row[-1]], "ParityError"),
    ("command line", test_commands.FAILS, ""),
]


def rows() -> list[tuple[str, str, str, str]]:
    """Group, what was tried, the error (or exit code), and a piece of its message."""
    found = []
    for group, table, error in GROUPS:
        for row in table:
            kinds = [item.__name__ for item in row[1:-1] if isinstance(item, type) and issubclass(item, Exception)]
            codes = [f"exit code {item}" for item in row[1:-1] if isinstance(item, int)] if not error else []
            tried = str(row[0]).replace(str(FIXTURES) + "/", "") or "no command"
            found.append((group, tried, error or (kinds + codes)[0], str(row[-1])))
    return found


def markdown() -> str:
    """The table."""
    lines = ["| where | tried | outcome | message contains |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows()]
    return "\n".join([*lines, "", f"{len(rows())} kinds."])


if __name__ == "__main__":
    print(markdown())
