"""Writes ``docs/faults.md`` from the tables of the tests: ``python -m tests.runtime.table_of_faults``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.runtime import (
    test_bad_inputs,
    test_calls,
    test_commands,
    test_dask,
    test_external_weights,
    test_faults,
    test_flat,
    test_forged_graph,
    test_forged_manifest,
    test_golden,
    test_parity,
    test_places,
    test_saved_model,
    test_strings,
)
from tests.runtime.conftest import FIXTURES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"

HEAD = """# Faults, bad input and attacks

Made from the tables of the tests by `python -m tests.runtime.table_of_faults`; a test compares this page with them.
Each row was tried in each run of the tests, and had the outcome that stands here: a documented error whose message
contains the quoted text, or the right answer. Nothing crashes, hangs, leaves half a file or gives a wrong number.
"""

# Where it happens, the table of its tests, and the error where it is the same for all rows.
GROUPS: list[tuple[str, Iterable[Sequence[Any]], str]] = [
    ("Arguments of a call, batched", test_bad_inputs.NET, "InputError or NotExportedError"),
    ("Arguments of a call, whole arrays", test_bad_inputs.MIXED, "InputError"),
    ("Inputs of strings", test_strings.BAD, "InputError"),
    ("Flat views", test_flat.VIEWS, ""),
    ("Points of flat views", test_flat.POINTS, "InputError"),
    (
        "Derivatives of flat views",
        [(f"{row[3]} of {row[1]} with {' '.join(row[0]) or 'none'} exported", row[4]) for row in test_flat.MISSING],
        "NotExportedError",
    ),
    ("Arguments of load", test_faults.LOADS, ""),
    ("Damaged folder", test_faults.FAULTS, "BundleError"),
    ("Forged manifest", test_forged_manifest.EDITS, "BundleError"),
    ("A manifest that is none", test_forged_manifest.TEXTS, "BundleError"),
    ("Forged graph", test_forged_graph.ATTACKS, "BundleError"),
    ("Weights beside the graph", test_external_weights.FILES, "BundleError"),
    ("Forged places of weights", test_external_weights.PLACES, "BundleError"),
    ("Forged golden samples", test_golden.ATTACKS, "BundleError"),
    ("Forged golden samples of strings", test_golden.STRINGS, "BundleError"),
    ("Cache of the Hugging Face Hub", test_places.HUB, "BundleError"),
    ("Bundle as one zip file", test_places.ARCHIVES, "BundleError"),
    ("SavedModel in a bundle", test_saved_model.FAULTS, "BundleError"),
    ("SavedModel alone", test_saved_model.ALONE, ""),
    ("Numbers that differ from the live model's", [row for row in test_parity.ROWS if row[-1]], "ParityError"),
    ("Command line", test_commands.FAILS, ""),
    ("Dask arrays", test_dask.BAD, "InputError"),
]

# What takes more than a row to try: where, what, the outcome, and the test.
SCENARIOS: list[tuple[str, str, str, str]] = [
    (
        "export",
        "disk full",
        "ExportError, nothing is left",
        "exporter/bundles/test_atomicity.py::test_full_disk_leaves_nothing",
    ),
    (
        *("export", "kill -9", "no bundle; the next export works"),
        "exporter/bundles/test_atomicity.py::test_kill_leaves_no_bundle_and_the_next_export_works",
    ),
    (
        *("export", "kill -9 while a bundle is replaced", "the old bundle, intact"),
        "exporter/bundles/test_atomicity.py::test_kill_during_an_overwrite_keeps_the_old_bundle",
    ),
    (
        *("export", "failure while a bundle is replaced", "the old bundle, intact"),
        "exporter/bundles/test_atomicity.py::test_failed_overwrite_keeps_the_old_bundle",
    ),
    (
        *("export", "a rule that is wrong by a factor", "ParityError, nothing is left"),
        "exporter/bundles/test_atomicity.py::test_wrong_value_is_caught",
    ),
    (
        *("export", "two exports to one path at once", "one whole bundle; the other replaces it or ExportError"),
        "exporter/bundles/test_in_production.py::test_two_exports_to_one_path",
    ),
    (
        "export",
        "non-ASCII and very long paths",
        "right answer",
        "exporter/bundles/test_in_production.py::test_strange_paths",
    ),
    (
        *("load", "a bundle replaced again and again while processes load it", "the old bundle or the new one, whole"),
        "exporter/bundles/test_in_production.py::test_replaced_while_processes_load_it",
    ),
    (
        "load",
        "replaced after load",
        "right answer of what was loaded",
        "runtime/test_faults.py::test_replaced_after_load",
    ),
    (
        *("load", "golden samples replaced after load", "BundleError"),
        "runtime/test_faults.py::test_golden_replaced_after_load",
    ),
    (
        *("load", "a SavedModel behind a link that changes before TensorFlow reads it", "BundleError"),
        "runtime/test_places.py::test_a_program_that_changes_behind_a_link",
    ),
    ("load", "a URL that leads nowhere", "BundleError", "runtime/test_places.py::test_faults_of_urls"),
    ("load", "a URL without fsspec", "MissingDependencyError", "runtime/test_places.py::test_without_fsspec"),
    ("load", "unreadable file", "BundleError", "runtime/test_faults.py::test_unreadable_file"),
    ("load", "non-ASCII and very long paths", "right answer", "runtime/test_faults.py::test_strange_folders"),
    ("load", "read-only folder", "right answer", "runtime/test_faults.py::test_read_only_folder"),
    (
        *("load", "a weight changed by someone who mends the checksum", "ParityError of verify"),
        "runtime/test_faults.py::test_wrong_numbers_are_found",
    ),
    ("load", "a decompression bomb", "BundleError", "runtime/test_golden.py::test_bomb"),
    (
        "call",
        "NaN and infinities in a batch",
        "as the live model",
        "runtime/test_calls.py::test_nan_and_infinity_go_through",
    ),
    (
        *("call", "NaN, infinities, subnormal and huge numbers", "as the live model, see production.md"),
        "exporter/bundles/test_in_production.py::test_edges_of_the_numbers",
    ),
    ("call", "NaN with check_finite", "InputError", "runtime/test_bad_inputs.py::test_check_finite"),
    (
        "call",
        "outside of the samples with check_range",
        "InputError or RangeWarning",
        "runtime/test_bad_inputs.py::test_check_range",
    ),
    (
        *("call", "an index that only the graph knows to be wrong", "PullbackError"),
        "runtime/test_bad_inputs.py::test_the_graph_rejects_what_only_it_can_know",
    ),
    (
        "call",
        "too little memory",
        "PullbackError; the next call is right",
        "runtime/test_workers.py::test_memory_pressure",
    ),
    (
        "call",
        "16 threads begin at once",
        "right answer, bit by bit",
        "runtime/test_workers.py::test_threads_share_a_bundle",
    ),
    ("call", "forked and spawned workers", "right answer, bit by bit", "runtime/test_workers.py::test_processes"),
    (
        *("call", "forked, and the files are gone", "right answer, bit by bit"),
        "runtime/test_workers.py::test_forked_without_pickling",
    ),
    (
        "eval",
        "kill -9 and --resume",
        "the output of an undisturbed run",
        "runtime/test_eval.py::test_killed_and_resumed",
    ),
    (
        "eval",
        "interrupted in the middle of a write",
        "the output of an undisturbed run",
        "runtime/test_eval.py::test_resume",
    ),
    ("eval", "resumed with another input", "InputError", "runtime/test_eval.py::test_resume_refuses_another_job"),
    ("eval", "bad rows, --skip-bad", "the good rows; a side file", "runtime/test_eval.py::test_bad_rows"),
    (
        *("eval", "blocks of bad rows only, a file of bad rows only", "the good rows; a side file"),
        "runtime/test_eval.py::test_whole_blocks_of_bad_rows",
    ),
    ("eval", "no rows", "an output without rows", "runtime/test_eval.py::test_no_rows"),
    (
        *("eval --dask", "workers killed", "the output of an undisturbed run"),
        "runtime/test_dask_cluster.py::test_killed_workers_lose_nothing",
    ),
    (
        *("eval --dask", "interrupted and resumed elsewhere", "the output of an undisturbed run"),
        "runtime/test_dask_cluster.py::test_interrupted_and_resumed",
    ),
    (
        *("eval --dask", "scheduler lost", "PullbackError; resumable"),
        "runtime/test_dask_cluster.py::test_scheduler_lost",
    ),
    ("eval --dask", "no worker, no scheduler", "PullbackError", "runtime/test_dask_cluster.py::test_no_worker_at_all"),
    (
        *("eval --dask", "another bundle on the worker", "BundleError"),
        "runtime/test_dask_cluster.py::test_errors_are_one_line",
    ),
]


def outcome(row: Sequence[Any], error: str) -> str:
    """The error of a row of the tests."""
    if error:
        return error
    kinds = [item.__name__ for item in row[1:-1] if isinstance(item, type) and issubclass(item, Exception)]
    return (kinds + [f"exit code {item}" for item in row[1:-1] if isinstance(item, int)])[0]


def section(title: str, table: Iterable[Sequence[Any]], error: str) -> list[str]:
    """One table: what was tried, the outcome, and a piece of the message."""
    lines = [f"## {title}", "", "| tried | outcome | message contains |", "|---|---|---|"]
    for row in table:
        tried = str(row[0]).replace(str(FIXTURES) + "/", "") or "no command"
        lines.append(_line(tried, outcome(row, error), f"`{row[-1]}`"))
    return [*lines, ""]


def count() -> int:
    """How many distinct faults, inputs and attacks there are."""
    found = [(title, str(row[0])) for title, table, _ in GROUPS for row in table]
    return len({*found, *((where, what) for where, what, _, _ in SCENARIOS)})


def missing_tests() -> list[str]:
    """Scenarios whose test does not exist."""
    lost = []
    for *_, test in SCENARIOS:
        path, name = test.split("::")
        if not re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text(encoding="utf-8"), re.MULTILINE):
            lost.append(test)
    return lost


def page() -> str:
    """The whole page."""
    lines = [HEAD, f"{count()} kinds in all.", "", "## Situations", "", "| where | tried | outcome |", "|---|---|---|"]
    lines += [_line(where, what, found) for where, what, found, _ in SCENARIOS]
    lines.append("")
    for title, table, error in GROUPS:
        lines += section(title, table, error)
    lines += ["## Unusual, and right", "", "Each gives the numbers of the plain call.", ""]
    lines.append("; ".join(name for name, _ in test_calls.SAME) + ".")
    return "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
