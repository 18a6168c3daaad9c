"""What does not end is stopped: live models in every form, SavedModels, ONNX Runtime's loops; what grows too."""

from __future__ import annotations

import contextlib
import cProfile
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from pullback_export import ExportError, export
from pullback_export.gate.supervision import limits
from pullback_export.gate.supervision.limits import Limits, OverLimit

Program = Callable[[], Any]


def endless(x: Any) -> Any:
    """Never ends: the numbers that are looked at do not grow."""
    return tf.while_loop(lambda z: tf.reduce_any(z < 10), lambda z: (z * 0 + 1,), [x])[0]


def of_python() -> None:
    while True:
        with contextlib.suppress(Exception):
            time.monotonic()


def of_gradients() -> Any:
    x = tf.ones([2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.function(endless)(x)
    return tape.gradient(y, x)


def saved(folder: pathlib.Path) -> Program:
    module = tf.Module()
    module.f = tf.function(endless, input_signature=[tf.TensorSpec([2])])
    tf.saved_model.save(module, str(folder), signatures={"f": module.f})
    loaded = tf.saved_model.load(str(folder))
    return lambda: loaded.signatures["f"](x=tf.ones([2]))


LIVE: dict[str, Callable[[pathlib.Path], Program]] = {
    "eager": lambda folder: lambda: endless(tf.ones([2])),
    "function": lambda folder: lambda: tf.function(endless)(tf.ones([2])),
    "gradient": lambda folder: of_gradients,
    "python": lambda folder: of_python,
    "saved_model": saved,
}


@pytest.mark.parametrize("name", LIVE)
def test_stopped(name: str, tmp_path: pathlib.Path) -> None:
    program = LIVE[name](tmp_path / "saved")
    start = time.monotonic()
    with pytest.raises(OverLimit, match=r"longer than 0\.5 seconds"), Limits(0.5).watch():
        program()
    assert time.monotonic() - start < 30
    with Limits(30.0).watch():
        assert float(tf.function(lambda x: x + 1)(tf.ones([]))) == 2, "what comes after is not stopped"


def loop_model() -> bytes:
    def info(name: str, kind: int, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["more"]), helper.make_node("Add", ["z", "z"], ["next"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("z", TensorProto.FLOAT, [2])],
        [info("more", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, [2])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)],
        "graph",
        [info("x", TensorProto.FLOAT, [2])],
        [info("y", TensorProto.FLOAT, [2])],
        [helper.make_tensor("true", TensorProto.BOOL, [], [True])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_onnx_runtime_is_stopped() -> None:
    session = onnxruntime.InferenceSession(loop_model(), providers=["CPUExecutionProvider"])
    options = onnxruntime.RunOptions()
    watch = Limits(0.5).watch(stop=lambda: setattr(options, "terminate", True))
    with pytest.raises(OverLimit), watch:
        session.run(None, {"x": np.ones(2, np.float32)}, options)


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_available", lambda: 2**28)
    kept: list[Any] = []

    def grow() -> None:
        while True:
            kept.append(np.ones(2**20))

    with pytest.raises(OverLimit, match="GiB of memory"), Limits(60.0).watch():
        grow()


def test_drawn_samples_have_less() -> None:
    own = Limits(60.0)
    assert own.for_drawn("f") == 60
    with own.watch("f"):
        pass
    assert 5 <= own.for_drawn("f") < 6
    assert own.for_drawn("g") == 60


@pytest.mark.parametrize("seconds", [0, -1.0, "many", float("nan")])
def test_no_such_limit(seconds: Any, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match="time_limit="):
        export(lambda x: {"y": x}, tmp_path / "a.pullback", inputs=[tf.TensorSpec([2], name="x")], time_limit=seconds)


def sometimes_endless(x: Any, y: Any) -> dict[str, Any]:
    """Ends where ``x < y`` in the first place, or where ``y >= 9``."""

    def slow() -> Any:
        return tf.while_loop(lambda z: tf.reduce_any(z < 10), lambda z: (y + 1,), [y])[0]

    return {"e": tf.reduce_sum(tf.cond(x[0] < y[0], lambda: x**2, slow))}


def exported(path: pathlib.Path, x: list[float], **options: Any) -> Any:
    specs = [tf.TensorSpec([2], name="x"), tf.TensorSpec([2], name="y")]
    samples = {"x": np.array(x, np.float32), "y": np.array([4, 5], np.float32)}
    return export(sometimes_endless, path, ["gradient(e, x)"], inputs=specs, batched=False, samples=samples, **options)


def test_the_callers_sample_that_does_not_end(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=r"longer than 1 seconds.*time_limit="):
        exported(tmp_path / "a.pullback", [5.0, 1.0], time_limit=1.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # each drawn sample that does not end takes seconds
def test_a_drawn_sample_that_does_not_end(tmp_path: pathlib.Path) -> None:
    bundle = exported(tmp_path / "a.pullback", [3.999, 1.0], time_limit=5.0)
    x = np.array([1, 2], np.float32)
    np.testing.assert_allclose(bundle(x=x, y=x + 5).de_dx, 2 * x, rtol=1e-6)


def test_a_failure_outside_of_an_export_stops_nothing_that_comes_after() -> None:
    limits.abandon()
    with limits.watched():
        assert float(tf.function(lambda x: x + 1)(tf.ones([]))) == 2


def _stopped(program: Program) -> None:
    with Limits(0.3).watch():
        program()


def test_a_profiler_works_after_a_stop() -> None:
    """Python 3.11 hangs at the first call under one where an asynchronous exception was taken back."""
    with pytest.raises(OverLimit):
        _stopped(of_python)
    profile = cProfile.Profile()
    profile.enable()
    os.path.join("a", "b")
    profile.disable()
    assert profile.getstats()
