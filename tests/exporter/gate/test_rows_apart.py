"""What has no batch axis may act on its rows by itself: then they go through the live model together.

Every written file is asked at each size all the same, and what is wrong in it is found.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback.manifest import Tolerance
from pullback_export import ExportError, export
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.gate.rows_apart import rows_are_apart
from pullback_export.gate.samples import draw_samples, open_samples
from pullback_export.gate.written_files import Answer, Artifact
from pullback_export.sources.opening import open_source

SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")
W = tf.constant(np.random.default_rng(2).normal(size=(3, 4)), tf.float32)


def network(x: Any) -> Any:
    return {"y": tf.tanh(x @ tf.cast(W, x.dtype))}


def centred(x: Any) -> Any:
    return {"y": network(x - tf.reduce_mean(x, 0))["y"]}


def counted(x: Any) -> Any:
    """The same for all rows, but for the number of them."""
    return {"y": network(x)["y"] * tf.cast(tf.shape(x)[0], x.dtype)}


def numbered(x: Any) -> Any:
    return {"y": network(x)["y"] * tf.cast(tf.range(tf.shape(x)[0])[:, None], x.dtype)}


def from_two_on(x: Any) -> Any:
    """One row alone is something else."""
    return {"y": network(x)["y"] * tf.cast(tf.where(tf.shape(x)[0] > 1, 1, 2), x.dtype)}


@tf.custom_gradient
def _shared_out(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    return tf.identity(x), lambda dy: dy + tf.reduce_mean(dy, 0, keepdims=True)


def mixed_backwards(x: Any) -> Any:
    """Values of rows apart, whose gradient is that of rows together."""
    return {"y": network(_shared_out(x))["y"]}


@dataclasses.dataclass(frozen=True)
class Row:
    """Whether the rows of ``model`` are ``apart`` with these requests, of inputs of this shape."""

    name: str
    model: Callable[..., Any]
    apart: bool
    requests: tuple[str, ...] = ("vjp(y, x)",)
    shape: tuple[int | None, ...] = (None, 3)
    batched: bool = False


ROWS = [
    Row("a network", network, True),
    Row("both products", network, True, ("vjp(y, x)", "jvp(y, x)")),
    Row("values alone", network, True, ()),
    Row("one number a row", lambda x: {"y": tf.reduce_sum(x**2, 1)}, True),
    Row("the mean of all", centred, False),
    Row("the number of rows", counted, False),
    Row("the place of a row", numbered, False),
    Row("one row alone", from_two_on, False),
    Row("an attention over rows", lambda x: {"y": tf.nn.softmax(x @ tf.transpose(x)) @ x}, False),
    Row("a sum", lambda x: {"y": tf.reduce_sum(x**2)}, False, ("gradient(y, x)",)),
    Row("one of its outputs", lambda x: {"y": x**2, "z": tf.reduce_sum(x)}, False),
    Row("columns", lambda x: {"y": tf.transpose(x)}, False),
    Row("a dense derivative", network, False, ("vjp(y, x)", "jacobian(y, x)")),
    Row("some rows", network, False, ("vjp(y[0], x)",)),
    Row("a fixed size", network, False, shape=(4, 3)),
    Row("a free size elsewhere", lambda x: {"y": x**2}, False, shape=(3, None)),
    Row("two free sizes", lambda x: {"y": tf.reduce_sum(x**2, 1)}, False, shape=(None, None)),
    Row("a batch", network, False, batched=True),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_which_rows_are_apart(row: Row, dtype: str) -> None:
    source = open_source(row.model, [tf.TensorSpec(row.shape, dtype, name="x")], None, row.batched, False)
    functions = Derivatives(source, [parse_request(item) for item in row.requests], "error").functions()
    drawn, _ = draw_samples(open_samples(source, None))
    assert rows_are_apart(source, functions, drawn, Tolerance()) is row.apart


def asked_for(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any] = lambda found: found) -> list[int]:
    """The numbers of rows that files are asked for, of which each gives what ``change`` makes of its adjoint."""
    honest, rows = Artifact.answers, []

    def answers(self: Artifact, samples: Sequence[Mapping[str, Any]]) -> list[Answer]:
        rows.extend(len(sample["x"]) for sample in samples)
        found = [answer() for answer in honest(self, samples)]
        wrong = [{name: change(array) if name == "adj_x" else array for name, array in one.items()} for one in found]
        return [lambda one=one: one for one in wrong]

    monkeypatch.setattr(Artifact, "answers", answers)
    return rows


def exported(model: Callable[..., Any], folder: pathlib.Path) -> Any:
    return export(model, folder / "it", ["vjp(y, x)"], inputs=[SPEC], batched=False, formats=("onnx",))


def test_files_are_asked_at_each_size(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = asked_for(monkeypatch)
    live: list[int] = []

    def model(x: Any) -> Any:
        if tf.executing_eagerly():
            live.append(len(x))
        return network(x)

    exported(model, tmp_path)
    assert {1, 3, 7} <= set(rows)
    assert sum(count > max(rows) for count in live) == 1  # all samples at once


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found * np.float32(1.001),
        lambda found: np.repeat(found[:1], len(found), 0),
        lambda found: found[::-1].copy(),
        lambda found: np.where(len(found) == 3, 0, found).astype(np.float32),
        lambda found: found + found.mean(0, keepdims=True) * np.float32(1e-3),
    ],
    ids=["a factor", "the first row", "backwards", "at one size", "rows mixed"],
)
@pytest.mark.parametrize("model", [network, mixed_backwards])
def test_what_is_wrong_is_refused(
    model: Callable[..., Any], change: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for(monkeypatch, change)
    with pytest.raises(ParityError):
        exported(model, tmp_path)


def test_a_gradient_that_mixes_rows_is_compared_sample_by_sample(tmp_path: pathlib.Path) -> None:
    """The samples together have other neighbours: the file is right, and the live model alone says so."""
    with pytest.warns(Warning, match="custom_gradient"):
        bundle = exported(mixed_backwards, tmp_path)
    x, seed = np.float32([[0.1, 0.2, 0.3], [0.4, -0.5, 0.6]]), np.ones((2, 4), np.float32)
    with tf.GradientTape() as tape:
        point = tf.constant(x)
        tape.watch(point)
        y = mixed_backwards(point)["y"]
    np.testing.assert_allclose(bundle.vjp(x=x, adj_y=seed).adj_x, tape.gradient(y, point, seed), rtol=1e-5)
    assert bundle.verify().ok


def backwards(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """A network with rows apart, whose backward pass makes ``change(dy)`` of what comes to the input."""

    @tf.custom_gradient
    def passed(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        return tf.identity(x), change

    return lambda x: {"y": network(passed(x))["y"]}


MIXING = {
    "mean": lambda dy: dy + tf.reduce_mean(dy, 0, keepdims=True),
    "rows before": lambda dy: tf.cumsum(dy, 0),
    "rows behind": lambda dy: tf.cumsum(dy, 0, reverse=True),
    "clipped by all": lambda dy: tf.clip_by_norm(dy, 1.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("request_", "batched"), [("vjp(y, x)", True), ("gradient(y[0], x)", None)])
@pytest.mark.parametrize("change", MIXING.values(), ids=MIXING)
def test_a_gradient_that_mixes_the_rows_of_a_batch_is_refused(
    change: Callable[[Any], Any], request_: str, batched: bool | None, dtype: str, tmp_path: pathlib.Path
) -> None:
    """Values of one row are its own, so that only the derivative tells."""
    spec, path = tf.TensorSpec([None, 3], dtype, name="x"), tmp_path / "it.pullback"
    with pytest.raises(ExportError, match=r"derivative 'adj_x|derivative 'dy_0_dx") as caught:
        export(backwards(change), path, [request_], inputs=[spec], batched=batched, formats=("onnx",))
    assert "of one sample changes with the other samples of its batch" in str(caught.value)
    assert "batched=False" in str(caught.value)
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:.*custom_gradient")
def test_a_gradient_of_its_own_for_each_row_is_exported(tmp_path: pathlib.Path) -> None:
    model = backwards(lambda dy: tf.clip_by_norm(dy, 0.5, axes=[1]))
    bundle = export(model, tmp_path / "it.pullback", ["gradient(y[0], x)"], inputs=[SPEC], formats=("onnx",))
    x = np.float32([[0.1, 0.2, 0.3], [0.4, -0.5, 0.6]])
    slope = bundle(x=x).dy_0_dx
    assert np.linalg.norm(slope, axis=1).max() <= 0.5 + 1e-6
    np.testing.assert_allclose(bundle(x=x[1:]).dy_0_dx, slope[1:], rtol=1e-6)
