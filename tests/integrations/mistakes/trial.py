"""How a row of the table is tried."""

from __future__ import annotations

import numpy as np
import pullback
import pytest

from tests.integrations.mistakes import Bundles, Entry, Row


def rows(entries: tuple[Entry, ...]) -> list[Row]:
    """The entries that can be tried."""
    return [entry for entry in entries if isinstance(entry, Row)]


def name(row: Row) -> str:
    """Of its test."""
    return f"{row.integration}: {row.mistake}, {row.tried}"


def attempt(row: Row, bundles: Bundles) -> None:
    """The right answer, or the error that says what to do: ours, unless the library never comes to us."""
    if row.says is None:
        got, want = row.call(bundles)
        np.testing.assert_allclose(got, want, rtol=row.tolerance, atol=row.tolerance)
        return
    with pytest.raises(Exception) as caught:
        row.call(bundles)
    assert row.says in str(caught.value), repr(caught.value)
    assert row.theirs != _is_ours(caught.value), repr(caught.value)


def _is_ours(error: BaseException | None) -> bool:
    """Whether it is one of ours; CasADi and JAX pass the text of an error in a callback on in one of their own."""
    passed_on = ("export the model with", "InputError", "NotExportedError")
    return isinstance(error, pullback.PullbackError) or any(item in str(error) for item in passed_on)
