"""Whatever fails inside of ``export`` is one clear error of ours; inputs that used to end in a raw exception."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback.errors import MissingDependencyError
from pullback_export import ExportError, UnsupportedOpsError, export
from pullback_export.failures import as_export_errors, explanation, one_line

L, Spec = keras.layers, tf.TensorSpec
X = [Spec([None, 3], name="x")]


def raising(problem: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise problem

    return as_export_errors(fail)


@pytest.mark.parametrize(
    "problem",
    [ValueError("no"), tf.errors.InvalidArgumentError(None, None, "no"), AttributeError("no"), ZeroDivisionError("no")],
    ids=lambda problem: type(problem).__name__,
)
def test_failures_become_export_errors(problem: Exception) -> None:
    with pytest.raises(ExportError, match=rf"test_failures.py:\d+ in fail: {type(problem).__name__}: no") as caught:
        raising(problem)()
    assert caught.value.__cause__ is problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit(), OSError("full"), MemoryError()], ids=repr)
def test_interrupts_and_the_file_system_stay_what_they_are(problem: BaseException) -> None:
    with pytest.raises(type(problem)):
        raising(problem)()


def test_an_interrupt_that_a_library_swallows_is_one() -> None:
    """As TensorFlow does in a bare ``except:``, to fail later for another reason."""

    @as_export_errors
    def swallowing() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise TypeError("Expected int32, but got None")

    with pytest.raises(KeyboardInterrupt) as caught:
        swallowing()
    assert isinstance(caught.value.__cause__, TypeError)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failure_of_our_own_code_says_so(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pullback_export.artifacts import onnx_model

    monkeypatch.setattr(onnx_model, "finish", None)
    with pytest.raises(ExportError, match=r"a bug of Pullback, in \w+/\w+\.py:\d+: TypeError.* report it") as caught:
        export(lambda x: {"y": tf.sin(x)}, tmp_path / "f", [], inputs=X)
    assert isinstance(caught.value.__cause__, TypeError)


CALL = "Exception encountered when calling Dense.call()."
MESSAGES = {
    f"{CALL}\n\n\x1b[1mShapes differ.\x1b[0m\n\nArguments received by Dense.call():\n  - x": f"{CALL} Shapes differ",
    'in user code:\n\n    File "/me/m.py", line 7, in f  *\n        x @ w\n\n    ValueError: no\n': "ValueError: no",
    "no kernel\nDetected at node 'a' defined at (most recent call last):\n  File ...": "no kernel",
}


@pytest.mark.parametrize("text", MESSAGES)
def test_messages_are_one_plain_line(text: str) -> None:
    assert one_line(text) == MESSAGES[text]


def test_the_place_in_the_users_file() -> None:
    text = 'in user code:\n\n    File "/home/me/model.py", line 7, in energy  *\n        x @ w\n\n    ValueError: no\n'
    assert "at /home/me/model.py:7 in energy: ValueError: ValueError: no" in explanation(ValueError(text))


def nested() -> Any:
    a, b, c = (keras.Input((2,), name=name) for name in "abc")
    return keras.Model([{"a": a, "b": b}, c], L.Dense(1, name="o")(L.Concatenate()([a, b, c])))


def ctc(x: Any) -> dict[str, Any]:
    lengths = tf.constant([3, 3]), tf.constant([6, 6])
    return {"y": keras.ops.ctc_loss(tf.ones((2, 3), tf.int32), x, *lengths)}


def per_sample_jacobian(x: Any) -> dict[str, Any]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.sin(x) * x
    return {"y": tf.reduce_sum(tape.batch_jacobian(y, x), [1, 2])}


def ragged_sum(p: Any, s: Any) -> dict[str, Any]:
    return {"e": tf.reduce_sum(tf.RaggedTensor.from_row_splits(p, s, validate=False).to_tensor() ** 2)}


RAGGED = {"p": np.random.default_rng(0).normal(size=(11, 3)).astype("f"), "s": np.array([0, 2, 3, 8, 11])}

# The model, the request, and what else is said.
EXPORTED: dict[str, tuple[Any, list[str], dict[str, Any]]] = {
    "first input of rank 0": (
        lambda t, x: {"y": tf.reduce_sum(tf.sin(t * x))},
        ["gradient(y, t)", "gradient(y, x)"],
        {"inputs": [Spec([], name="t"), Spec([None, 3], name="x")], "batched": False},
    ),
    "a number only": (
        lambda t: {"y": tf.sin(t)},
        ["gradient(y, t)", "hessian(y, t)"],
        {"inputs": [Spec([], name="t")], "batched": False},
    ),
    "names that differ in letter case": (
        lambda t, T: {"u": tf.reduce_sum(t * T, 1)},
        ["gradient(u, t)", "jvp(u, T)"],
        {"inputs": [Spec([None, 1], name="t"), Spec([None, 1], name="T")]},
    ),
    "a list of dictionaries": (nested(), ["gradient(o, a)"], {}),
    "ctc loss": (ctc, ["jacobian(y, x)"], {"inputs": [Spec([2, 6, 5], name="x")]}),
    "a Jacobian inside": (per_sample_jacobian, ["gradient(y, x)"], {"inputs": X}),
    "ragged rows": (
        ragged_sum,
        ["gradient(e, p)"],
        {"batched": False, "inputs": [Spec([None, 3], name="p"), Spec([None], tf.int64, "s")], "samples": RAGGED},
    ),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported(name: str, tmp_path: pathlib.Path) -> None:
    model, requests, options = EXPORTED[name]
    bundle = export(model, tmp_path / "model.pullback", requests, **options)
    assert bundle.verify().ok


def test_names_that_differ_in_letter_case_stay_apart(tmp_path: pathlib.Path) -> None:
    model, requests, options = EXPORTED["names that differ in letter case"]
    export(model, tmp_path / "m.pullback", requests, formats=("onnx", "saved_model"), **options)
    t, other = np.array([[2.0]], np.float32), np.array([[3.0]], np.float32)
    import pullback

    for backend in ("onnx", "saved_model"):
        bundle = pullback.load(tmp_path / "m.pullback", backend=backend)
        assert float(bundle(t=t, T=other).du_dt[0, 0]) == 3.0
        assert float(bundle.jvp(t=t, T=other, fwd_T=t).fwd_u[0]) == 4.0


def with_python(x: Any) -> dict[str, Any]:
    return {"y": tf.ensure_shape(tf.numpy_function(lambda z: z * 2, [x], tf.float32), [None, 3])}


def with_tensorflow_python(x: Any) -> dict[str, Any]:
    return {"y": tf.ensure_shape(tf.py_function(lambda z: z * 2, [x], tf.float32), [None, 3])}


REFUSED: dict[str, tuple[Any, str]] = {
    "numpy function": (with_python, "PyFunc.*calls Python"),
    "py function": (with_tensorflow_python, "EagerPyFunc.*calls Python"),
    "wrong shapes": (lambda x: {"y": x @ tf.ones([4, 2])}, "in matmul.*Dimensions must be equal"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_clearly(name: str, tmp_path: pathlib.Path) -> None:
    model, said = REFUSED[name]
    with pytest.raises(ExportError, match=said):
        export(model, tmp_path / "model.pullback", [], inputs=X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [lambda a, b: {"y": a + b}, lambda a: {"y": tf.sin(a)}], ids=["two", "one"])
def test_one_dictionary_for_a_function_of_arguments(model: Any, tmp_path: pathlib.Path) -> None:
    inputs = {name: Spec([None, 3]) for name in "ab"}
    with pytest.raises(ExportError, match=r"as one dictionary; .*list: inputs=\[tf.TensorSpec\(\.\.\., name='a'\)"):
        export(model, tmp_path / "model.pullback", [], inputs=inputs)


def test_inputs_that_are_not_the_arguments(tmp_path: pathlib.Path) -> None:
    def energy(positions: Any, charges: Any) -> Any:
        return {"y": positions + charges}

    for count in (1, 3):
        with pytest.raises(ExportError, match=r"energy\(positions, charges\): inputs= gives it \d .*each argument"):
            export(energy, tmp_path / "model.pullback", [], inputs=X * count)


def test_a_file_of_keras_2_is_told_what_to_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that Keras 3 cannot read; ``tests/exporter/sources/test_keras_2.py`` has the models and files themselves."""
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        archive.writestr("config.json", '{"module": "tf_keras.src.models", "class_name": "Functional", "config": {}}')
    with pytest.raises(MissingDependencyError, match=r'written by Keras 2 \(2.15.0\).*pip install "tf_keras~='):
        export(tmp_path / "old.keras", tmp_path / "model.pullback", [])
    assert not (tmp_path / "model.pullback").exists()


def version_1_loop(folder: pathlib.Path) -> None:
    """A SavedModel whose loop is a circle of operators."""
    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None, 3], name="x")
            _, y = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.sin(y)), [0, x])
            v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    finally:
        v1.enable_control_flow_v2()


@pytest.mark.timeout(120)
def test_control_flow_of_version_1_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    version_1_loop(tmp_path / "old")
    with pytest.raises(UnsupportedOpsError, match=r"(Exit|Merge|Switch).*TensorFlow 1"):
        export(tmp_path / "old", tmp_path / "model.pullback", ["vjp(y, x)"])
