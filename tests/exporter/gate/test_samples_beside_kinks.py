"""Exports with a sample so near to a kink that rounding decides on its side, as happens in deep networks of ReLUs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback_export import export
from pullback_export.errors import ParityWarning
from pullback_export.gate.samples import draw_samples, open_samples
from pullback_export.gate.written_files import Answer, Artifact
from pullback_export.sources.opening import open_source

SPEC = tf.TensorSpec([None, 1], tf.float32, name="x")


def beside(rows: Any) -> tuple[Callable[[Any], Any], int]:
    """A model that rounds its input in between, with a kink between one of the ``rows`` and what becomes of it."""
    x, far = rows[:, 0], np.abs(rows[:, 0]) * np.float32(16)
    rounded_rows = (x + far) - far
    here = int(np.argmax(np.abs(rounded_rows - x) / np.abs(x)))
    assert abs(rounded_rows[here] / x[here] - 1) > 4 * np.finfo(np.float32).eps  # further than what lies beside
    far, kink = far[here], (x[here] + rounded_rows[here]) / np.float32(2)

    def model(inputs: Any) -> Any:
        rounded = tf.stop_gradient((inputs + far) - far - inputs)
        return {"y": tf.reduce_sum(3 * inputs + tf.nn.relu(inputs + rounded - kink), 1)}

    return model, here


def drawn_rows() -> Any:
    """What the gate draws: of a function of one number, whatever it is."""
    source = open_source(lambda x: {"y": tf.reduce_sum(x, 1)}, [SPEC], None, None, False)
    return draw_samples(open_samples(source, None))[0][0].inputs["x"]


def notes_of(bundle: pullback.Bundle) -> Any:
    assert bundle.manifest is not None
    return bundle.manifest.parity["notes"]


@pytest.mark.parametrize("request_", ["gradient(y, x)", "vjp(y, x)"])
@pytest.mark.parametrize("given", [True, False])
def test_it_is_compared_around_the_sample(given: bool, request_: str, tmp_path: pathlib.Path) -> None:
    rows = np.linspace(0.3, 1.7, 8, dtype=np.float32)[:, None] if given else drawn_rows()
    samples = {"x": rows} if given else None
    model, here = beside(rows)
    if given:
        with pytest.warns(ParityWarning, match=r"1 row\(s\) lie so near to a kink that rounding decides"):
            bundle = export(model, tmp_path / "it", [request_], inputs=[SPEC], samples=samples, formats=("onnx",))
    else:
        bundle = export(model, tmp_path / "it", [request_], inputs=[SPEC], formats=("onnx",))
    label = "the given samples" if given else "7 random rows"
    assert any(
        note.startswith(f"{label}: row(s) {here} of ") and "compared around it" in note for note in notes_of(bundle)
    )
    function = "vjp" if "vjp" in request_ else "evaluate"
    golden = next(case.inputs["x"] for case in bundle.samples()[function] if case.inputs["x"].any())
    assert golden.tolist() == np.delete(rows, here, 0).tolist()
    assert bundle.verify().ok


@pytest.mark.parametrize("factor", [1.0002, 1.001])
def test_a_derivative_that_is_wrong_everywhere_is_refused(
    factor: float, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Artifact.answers

    def answers(self: Artifact, samples: Sequence[Mapping[str, Any]]) -> list[Answer]:
        found = [answer() for answer in honest(self, samples)]
        wrong = [{**one, "dy_dx": one["dy_dx"] * np.float32(factor)} for one in found]
        return [lambda one=one: one for one in wrong]

    monkeypatch.setattr(Artifact, "answers", answers)
    rows = drawn_rows()
    with pytest.raises(ParityError) as refusal:
        export(beside(rows)[0], tmp_path / "it", ["gradient(y, x)"], inputs=[SPEC], formats=("onnx",))
    stages = {row.stage.partition(": ")[2] for row in refusal.value.report.failures}
    assert {"7 random rows", "1 random row"} <= stages
