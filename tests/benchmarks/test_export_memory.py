"""The promise on the memory of an export, for one size of each kind of model."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.export_memory import KINDS, in_process, is_within, peak, report


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells how much memory there is")
@pytest.mark.parametrize("kind", KINDS)
def test_within_the_promise(kind: str) -> None:
    """A model of 256 MB, of which 1 GB does not hide several copies: beyond that of TensorFlow it is two."""
    row = in_process(kind, 256, "both")
    assert is_within(row), report(row)


def test_what_the_promise_means() -> None:
    row = {"kind": "dense", "weights": 10**9, "before": 2 * 10**9, "after": 0, "peaks": {"a": 10**9, "b": 2 * 10**9}}
    row["loaded"] = {"taken": 0, "mapped": 0}
    assert peak(row) == 4 * 10**9 and is_within(row)
    assert not is_within({**row, "before": 2 * 10**9 + 1})
    assert "4000 MB are promised" in report(row)
