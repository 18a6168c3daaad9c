"""Tasks of a second thread: in order, no further ahead than allowed, errors where the result is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pullback_export.gate.prefetch import prefetched


def noting(begun: list[int], number: int) -> Callable[[], int]:
    def task() -> int:
        begun.append(number)
        return number

    return task


def test_results_come_in_order_from_one_other_thread() -> None:
    threads: set[int] = set()

    def task(number: int) -> int:
        threads.add(threading.get_ident())
        return number

    with prefetched([lambda number=number: task(number) for number in range(20)], 3) as results:
        assert list(results) == list(range(20))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_no_further_ahead_than_allowed() -> None:
    begun: list[int] = []
    with prefetched((noting(begun, number) for number in range(20)), 3) as results:
        assert next(results) == 0
        assert next(results) == 1
    assert set(begun) <= set(range(4))  # two taken, and three ahead of the first


def test_an_error_is_raised_at_its_place() -> None:
    def fails() -> int:
        raise ZeroDivisionError("here")

    with prefetched([lambda: 1, fails, lambda: 3], 3) as results:
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError, match="here"):
            next(results)


def test_leaving_with_an_error_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        entered.set()
        go_on.wait(10)
        return 0

    def fail_meanwhile() -> None:
        with prefetched([slow, *(noting(begun, number) for number in range(5))], 6):
            entered.wait(10)
            threading.Timer(0.1, go_on.set).start()
            raise KeyError

    before = threading.active_count()
    with pytest.raises(KeyError):
        fail_meanwhile()
    assert begun == []
    assert threading.active_count() <= before + 1  # the timer
