"""Every row that is not ahead is listed, with its cause and the numbers of the run."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from tests.benchmarks import causes, report, work
from tests.benchmarks.causes import Cause
from tests.benchmarks.results import Results
from tests.benchmarks.rows import Result, Row

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks.md"
OPERATORS = [
    {"op": "Mul", "count": 3, "us": 300.0, "share": 0.75, "node": ""},
    {"op": "Gemm", "count": 2, "us": 99.0, "share": 0.2475, "node": ""},
    {"op": "Cast", "count": 1, "us": 1.0, "share": 0.0025, "node": ""},
]
TEXT = Cause(
    "bowl",
    (64, 4096),
    "Products take {share[Mul]} ({nodes[Mul]} nodes), masks {share[Where]} ({nodes[Where]} nodes).",
    ("first", "second", "the forward pass takes {forward}"),
    "One row of {forward}.",
)


def row(batch: int, **seconds: float) -> Row:
    return Row("bowl", batch, 1, tuple(Result(name, (time,) * 3) for name, time in seconds.items()))


SLOW = row(4096, forward=1e-3, pullback=3e-3, jax=2.4e-3)
WITHIN = row(4096, forward=1e-3, pullback=2e-3, jax=2.4e-3, tf_function=3e-3)


def test_over_the_aim_and_behind_are_missed() -> None:
    assert causes.missed(WITHIN) == []
    assert causes.missed(SLOW) == [
        "3.00 times the fastest forward pass, the aim is 2.5",
        "JAX, jit takes 0.80 times as long as Pullback",
    ]


def test_one_row_at_a_time_has_larger_aims() -> None:
    close = row(1, forward=1e-5, pullback=1.5e-5, tf_function=9e-5, keras_tape=9e-3)
    assert causes.missed(close) == ["tf.function takes 6.00 times as long as Pullback, the aim is 10"]


def test_page_fills_in_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "CAUSES", (TEXT,))
    text = report.page(Results([SLOW, WITHIN], profiles={causes.key(SLOW): OPERATORS}))
    assert text.count("### bowl MLP 1-64-32-32-1, batch 4,096\n") == 1
    assert "* 1 thread: 3.00 times" in text
    assert "\nProducts take 75 % (3 nodes), masks 0 % (0 nodes).\n" in text
    assert "1. first\n2. second\n3. the forward pass takes 1 ms" in text
    assert "| Mul | 3 | 300 us | 75% |\n| Gemm | 2 | 99 us | 25% |\n| others | 1 | 1 us | |" in text


def test_what_holds_for_one_row_is_said_of_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "CAUSES", (dataclasses.replace(TEXT, batches=(1, 4096)),))
    one = row(1, forward=1e-5, pullback=1.0)
    assert "masks 0 % (0 nodes). One row of 10 us." in report.page(Results([one]))
    assert "One row" not in report.page(Results([SLOW]))


def test_page_without_a_missed_row_has_no_such_section() -> None:
    assert "not ahead" not in report.page(Results([WITHIN]))


def test_row_without_a_text_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "CAUSES", ())
    assert causes.UNEXPLAINED in "\n".join(causes.section([row(65536, forward=1e-3, pullback=1.0)], {}))


def test_two_texts_for_a_row_are_an_error() -> None:
    with pytest.raises(LookupError, match="bowl 4096 1: two causes fit"):
        causes.find(SLOW, (TEXT, TEXT))


def test_texts_are_complete() -> None:
    """Each belongs to rows that exist, one to a row, with three approaches, and its fields are known."""
    for cause in causes.CAUSES:
        assert set(cause.batches) <= set(work.row(cause.work).batches), cause
        assert len(cause.tried) >= 3, cause
        for batch in cause.batches:
            example = Row(cause.work, batch, 1, SLOW.results)
            assert causes.find(example) is cause
            fields = causes.numbers(example, OPERATORS)
            assert all(text.format_map(fields) for text in (cause.cause, *cause.tried, cause.at_one_row or "-"))


def test_published_page_explains_every_row() -> None:
    assert causes.UNEXPLAINED not in PAGE.read_text(encoding="utf-8")


def test_machines_share_a_text_and_say_each_what_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "CAUSES", (TEXT,))
    both = [dataclasses.replace(SLOW, machine=name, threads=2) for name in ("one", "other")]
    text = "\n".join(causes.section(both, {causes.key(both[1]): OPERATORS}))
    assert text.count("first") == 1
    assert "* one, 2 threads: 3.00 times" in text and "* other, 2 threads: 3.00 times" in text
    assert "Products take 75 %" in text and "Profile, other, 2 threads:" in text
