"""Calls are cancelled in the thread that reached its limit, and in no other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow as tf
from pullback_export.gate.supervision.cancellation import Cancellation
from pullback_export.gate.supervision.limits import OverLimit, limited, watched
from tensorflow.python.eager import cancellation as tensorflows


@tf.function
def double(x: Any) -> Any:
    return 2 * x


@contextlib.contextmanager
def elsewhere(enter: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
    """Another thread is in the context while this lasts."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with enter():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    yield
    leave.set()
    thread.join()


def test_another_thread_goes_on() -> None:
    cancelled = Cancellation()
    cancelled.cancel()
    double(tf.constant(1.0))
    with elsewhere(cancelled.of_this_thread):
        assert double(tf.constant(1.0)) == 2
        with Cancellation().of_this_thread():
            assert double(tf.constant(1.0)) == 2
    with cancelled.of_this_thread(), pytest.raises(tf.errors.CancelledError):
        double(tf.constant(1.0))
    assert double(tf.constant(1.0)) == 2


def test_the_defect_of_tensorflow_is_still_there() -> None:
    """Where this fails, ``Cancellation`` has become TensorFlow's own context."""
    manager = tensorflows.CancellationManager()
    manager.start_cancel()
    with (
        elsewhere(lambda: tensorflows.CancellationManagerContext(manager)),
        pytest.raises(tf.errors.CancelledError),
    ):
        double(tf.constant(1.0))


def test_contexts_within_each_other() -> None:
    outer, inner = Cancellation(), Cancellation()
    with outer.of_this_thread():
        with inner.of_this_thread():
            inner.cancel()
        assert double(tf.constant(1.0)) == 2
        outer.cancel()
        with pytest.raises(tf.errors.CancelledError):
            double(tf.constant(1.0))


@pytest.mark.timeout(60)
def test_a_loop_that_reached_its_limit_stops_alone() -> None:
    @tf.function
    def endless(x: Any) -> Any:
        return tf.while_loop(lambda x: x < 2, lambda x: x * 0.5, [x])

    double(tf.constant(1.0))
    said: list[str] = []

    def run() -> None:
        with limited(0.5):
            try:
                with watched("loop"):
                    endless(tf.constant(1.0))
            except OverLimit as problem:
                said.append(str(problem))

    thread = threading.Thread(target=run)
    with limited(60.0):
        thread.start()
        while thread.is_alive():
            with watched("double"):
                assert double(tf.constant(1.0)) == 2
    assert len(said) == 1 and "longer than 0.5 seconds" in said[0]
