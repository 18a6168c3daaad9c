"""The queue of a function, without HTTP: who is computed with whom, and who gets what."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.errors import InputError
from pullback.serving.batching import Batcher, Overloaded

from tests.anywhere.conftest import GOLDEN

BOWL = GOLDEN / "bowl.pullback"


class Gate:
    """Runs jobs in threads, but none before it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.rows: list[int] = []

    async def compute(self, job: Any, *arguments: Any) -> Any:
        await asyncio.to_thread(self.open.wait)
        return await asyncio.to_thread(job, *arguments)


def feeds(*numbers: float) -> dict[str, Any]:
    return {"x": np.array(numbers, np.float32)[:, None]}


def gathered(function: Any, requests: list[tuple[dict[str, Any], tuple[str, ...]]], **options: int) -> Any:
    """The answers of requests that come at once, and the rows of the calls that were made for them."""

    async def run() -> Any:
        gate = Gate()
        batcher = Batcher(function, options.get("rows", 8), options.get("queue", 100), gate.compute, gate.rows.append)
        jobs = []
        for request in requests:
            jobs.append(asyncio.create_task(batcher.results(*request)))
            await asyncio.sleep(0.01)
        gate.open.set()
        return await asyncio.gather(*jobs, return_exceptions=True), gate.rows

    return asyncio.run(run())


def test_waiting_requests_are_one_call() -> None:
    bowl = pullback.load(BOWL).function("evaluate")
    requests = [(feeds(*range(i, i + 1 + i % 3)), ("y", "dy_dx")) for i in range(7)]
    answers, rows = gathered(bowl, requests)
    for (given, _), answer in zip(requests, answers, strict=True):
        want = bowl(**given)
        np.testing.assert_allclose(answer["y"], want.y, rtol=0, atol=1e-6)
        np.testing.assert_allclose(answer["dy_dx"], want.dy_dx, rtol=0, atol=1e-6)
    assert sum(rows) == sum(len(given["x"]) for given, _ in requests)
    assert rows[0] == 1  # the first did not wait for others
    assert len(rows) < len(requests)
    assert max(rows) <= 8


def test_other_outputs_are_other_calls() -> None:
    bowl = pullback.load(BOWL).function("evaluate")
    answers, rows = gathered(bowl, [(feeds(1), ("y",)), (feeds(2), ("dy_dx",)), (feeds(3), ("y",))])
    assert [list(answer) for answer in answers] == [["y"], ["dy_dx"], ["y"]]
    assert sum(rows) == 3


def test_no_batches_when_told() -> None:
    bowl = pullback.load(BOWL).function("evaluate")
    answers, rows = gathered(bowl, [(feeds(i), ("y",)) for i in range(5)], rows=0)
    assert rows == [1] * 5
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["y"], bowl(**feeds(i)).y)


def test_a_bad_request_harms_no_neighbour() -> None:
    """With ``check_range`` a row may be refused by the call itself."""
    bowl = pullback.load(BOWL, check_range="raise").function("evaluate")
    answers, _ = gathered(bowl, [(feeds(number), ("y",)) for number in (5, 4, 1e6, 3)])
    assert isinstance(answers[2], InputError)
    assert [type(answer) for answer in answers if answer is not answers[2]] == [dict] * 3


def test_too_many_are_refused() -> None:
    bowl = pullback.load(BOWL).function("evaluate")
    answers, _ = gathered(bowl, [(feeds(i), ("y",)) for i in range(10)], queue=4)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert 0 < len(refused) < 10
    assert all(isinstance(answer, dict) for answer in answers if answer not in refused)


def test_who_gave_up_is_not_computed() -> None:
    bowl = pullback.load(BOWL).function("evaluate")

    async def run() -> list[int]:
        gate = Gate()
        batcher = Batcher(bowl, 8, 100, gate.compute, gate.rows.append)
        first = asyncio.create_task(batcher.results(feeds(1, 2, 3), ("y",)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(batcher.results(feeds(4, 5, 6), ("y",)))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        return gate.rows

    assert asyncio.run(run()) == [3]
