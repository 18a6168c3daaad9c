"""An engine with a wrong answer has no time, and says by how much it is wrong."""

from __future__ import annotations

import pathlib
import typing

import numpy as np
import pytest

from tests.benchmarks import engines, rounds, work
from tests.benchmarks.agreement import complaint, difference
from tests.benchmarks.failures import Refused, told

EXACT = np.random.default_rng(0).normal(size=(64, 3))
LARGEST = np.abs(EXACT).max()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (EXACT, 0.0),
        (EXACT.reshape(64, 1, 3), 0.0),
        (EXACT + 1e-2 * LARGEST, 1e-2),
        (EXACT[:, :2], np.inf),
        (EXACT[:32], np.inf),
    ],
)
def test_difference_is_relative_to_the_largest_number(found: np.ndarray, expected: float) -> None:
    assert difference(found, EXACT) == pytest.approx(expected)


@pytest.mark.parametrize("number", [np.nan, np.inf, 5.0])
def test_one_wrong_number_is_seen(number: float) -> None:
    wrong = EXACT.copy()
    wrong[7, 1] = number
    assert not difference(wrong, EXACT) <= 1e-3


def test_one_row_of_thousands_may_be_on_the_other_side_of_a_kink() -> None:
    exact = np.ones((4000, 2))
    wrong = exact.copy()
    wrong[:4] = 0
    assert difference(wrong, exact) == 0
    wrong[4] = 0
    assert difference(wrong, exact) == 1


def test_wrong_engine_is_named() -> None:
    right = {"value": EXACT[:, :1], "derivative": EXACT}
    wrong = {"value": EXACT[:, :1], "derivative": 1.01 * EXACT}
    assert complaint(right, right) == ""
    found = rounds.compared({"pullback": right, "forward": {"value": right["value"]}, "jax": wrong})
    assert found == {"jax": "derivative off by 1.0e-02 of its largest number"}


def test_nothing_counts_where_pullback_has_no_answer() -> None:
    assert set(rounds.compared({"jax": {"derivative": EXACT}})) == {"jax"}


class Engine:
    """An engine's process that answers ``at[moved]``."""

    def __init__(self, engine: str, *at: np.ndarray) -> None:
        self.engine, self.at = engine, at

    def results(self, batch: int, moved: int = 0) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        return {"derivative": self.at[min(moved, len(self.at) - 1)]}, {"seconds": 1.0}


@pytest.mark.parametrize(
    ("engine", "wrong"),
    [
        (Engine("jax", 1.01 * EXACT, EXACT), False),  # at a kink where Pullback took the other side, and only there
        (Engine("jax", 1.01 * EXACT, 1.01 * EXACT, EXACT), False),
        (Engine("jax", 1.01 * EXACT), True),
    ],
)
def test_disagreement_is_confirmed_next_to_the_input(engine: Engine, wrong: bool) -> None:
    reference = Engine("pullback", EXACT)
    first = rounds.compared({item.engine: item.results(64)[0] for item in (reference, engine)})
    assert set(first) == {"jax"}
    assert set(rounds._confirmed(first, (reference, engine), 64)) == ({"jax"} if wrong else set())


class Started(Engine):
    """A process as :func:`rounds.agree` starts one; ``ANSWERS`` says what each engine answers, None for nothing."""

    ANSWERS: typing.ClassVar[dict[str, dict[str, np.ndarray] | None]] = {}

    def __init__(self, engine: engines.Engine, *_: object) -> None:
        super().__init__(engine.name)

    def answer(self, seconds: float) -> dict[str, object]:
        return {"ready": True} if self.ANSWERS[self.engine] is not None else {"skipped": "it is not installed"}

    def results(self, batch: int, moved: int = 0) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        return self.ANSWERS[self.engine] or {}, {"seconds": 1.0}

    def close(self) -> None:
        pass


RIGHT = {"derivative": EXACT}


@pytest.mark.parametrize(
    ("pullback", "jax", "wrong", "said"),
    [
        (RIGHT, RIGHT, False, "hvp, JAX, jit: agrees to 0.0e+00"),
        (RIGHT, {"derivative": 1.01 * EXACT}, True, "derivative off by 1.0e-02 of its largest number"),
        (RIGHT, {"value": EXACT}, False, "has no result that Pullback has"),
        (RIGHT, None, False, "hvp, JAX, jit: it is not installed"),
        (None, RIGHT, True, "hvp, Pullback, ONNX: it is not installed"),
    ],
)
def test_agreement_is_said_and_counted(
    pullback: dict[str, np.ndarray] | None,
    jax: dict[str, np.ndarray] | None,
    wrong: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "Process", Started)
    monkeypatch.setattr(Started, "ANSWERS", {"pullback": pullback, "jax": jax})
    ((found, line),) = rounds.agree(work.row("hvp"), pathlib.Path(), 1, (engines.engine("jax"),))
    assert found is wrong
    assert said in line


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Refused("no hessian"), "no hessian"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_failure_is_told_in_one_line(problem: Exception, said: str) -> None:
    assert told(problem) == said
