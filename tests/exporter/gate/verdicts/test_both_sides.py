"""An artifact may be off where rounding decides on the side of a kink, if it is right around; a real error is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_answers import AcceptedSample
from pullback_export.gate.live_model import answer
from pullback_export.gate.samples import Sample
from pullback_export.gate.sampling.given import Given
from pullback_export.gate.verdicts.both_sides import FIRST
from pullback_export.gate.verdicts.bounds import Bounds
from pullback_export.gate.verdicts.comparison import compare_sample
from pullback_export.gate.verdicts.surroundings import AROUND, Surroundings
from pullback_export.sources.opening import open_source

KINK = np.float32(0.25)
# Four units in the last place from the kink: none of the points beside it is on the other side.
NEAR = KINK * (1 + 4 * np.finfo(np.float32).eps)
HERE = 2  # the row of it
X = np.array([0.1, 0.7, NEAR, 0.4, 0.9], np.float32)


def hidden(x: Any) -> Any:
    """Rounding in between, as in a deep network: float32 does not tell ``NEAR`` from the kink behind a sum with 4."""
    rounded = tf.stop_gradient((x + 4.0) - 4.0 - x)
    return {"y": 3 * x + tf.nn.relu(x + rounded - KINK)}


class Artifact:
    """Says what live float32 says at points, and ``wrong`` of it; at the sample too, unless that is ``at_sample``."""

    def __init__(self, drawn: bool, independent: bool = True) -> None:
        source = open_source(hidden, [tf.TensorSpec([None], tf.float32, name="x")], None, None, True)
        (self.function, *_) = Derivatives(source, [parse_request("gradient(y, x)")], "error").functions()
        self.exact = ExactFunction(trace(self.function))
        inputs = {"x": X}
        self.live = answer(self.function, inputs)
        surroundings = Surroundings(self.function, self.exact, inputs, independent, drawn)
        sample = Sample("it", inputs, len(X), True, True, None if drawn else Given("samples", inputs))
        self.sample = AcceptedSample(sample, inputs, self.live, surroundings, self.exact(inputs))
        self.points: list[Any] = []

    def compared(self, at_sample: Any, wrong: Callable[[Any], Any] = lambda slope: slope) -> Any:
        actual = {**self.live, "dy_dx": np.asarray(at_sample, np.float32)}

        def ask(points: Sequence[Any]) -> list[Any]:
            self.points += [point["x"] for point in points]
            answers = [answer(self.function, point) for point in points]
            return [lambda one=one: {**one, "dy_dx": wrong(one["dy_dx"])} for one in answers]

        return compare_sample("it", self.sample, actual, Bounds(Tolerance()), {"dy_dx"}, {}, ask)


def test_live_float32_is_on_the_other_side_of_the_truth() -> None:
    artifact = Artifact(drawn=True)
    assert artifact.live["dy_dx"].tolist() == [3, 4, 3, 4, 4]
    assert artifact.sample.truth["dy_dx"].tolist() == [3, 4, 4, 4, 4]


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("drawn", [True, False])
def test_what_is_right_around_is_accepted_and_told(drawn: bool, independent: bool) -> None:
    artifact = Artifact(drawn, independent)
    report, unfit = artifact.compared(artifact.live["dy_dx"])
    assert report.ok
    assert unfit == {HERE if independent else 0}
    assert any("dy_dx compared around it: rounding decides" in note for note in report.notes), report.notes
    assert any("1 row(s) lie so near to a kink" in warning for warning in report.warnings) is not drawn
    rows = slice(HERE, HERE + 1) if independent else slice(None)
    for point in artifact.points:
        assert np.abs(point / X[rows] - 1).max() <= 1.01 * AROUND * np.finfo(np.float32).eps < Tolerance().float32


WRONG: list[tuple[str, Any, Callable[[Any], Any]]] = [
    ("everywhere, by a little", [3.0006, 4.0008, 3.0006, 4.0008, 4.0008], lambda slope: slope * 1.0002),
    ("everywhere in this row", [3, 4, 3.0006, 4, 4], lambda slope: slope * 1.0002),
    ("on one side", [3, 4, 3, 4, 4], lambda slope: np.where(slope > 3.5, np.float32(3), slope)),
    ("on the other side", [3, 4, 3, 4, 4], lambda slope: np.where(slope < 3.5, np.float32(4), slope)),
    ("by more than the truth moves", [3, 4, 13, 4, 4], lambda slope: slope),
    ("not a number", [3, 4, np.nan, 4, 4], lambda slope: slope),
    ("in another row, too", [3, 4, 3, 4.001, 4], lambda slope: slope),
    ("in another row", [3.001, 4, 4, 4, 4], lambda slope: slope),
    ("without a number around", [3, 4, 3, 4, 4], lambda slope: slope * np.float32(np.nan)),
    ("of another shape around", [3, 4, 3, 4, 4], lambda slope: slope[:0]),
]


@pytest.mark.parametrize(("at_sample", "wrong"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
@pytest.mark.parametrize("drawn", [True, False])
def test_what_is_wrong_is_refused(drawn: bool, at_sample: Any, wrong: Any) -> None:
    report, _ = Artifact(drawn).compared(at_sample, wrong)
    assert [row.output for row in report.failures] == ["dy_dx"]


def test_what_is_wrong_everywhere_is_asked_no_more_than_needed() -> None:
    artifact = Artifact(drawn=True)
    artifact.compared(1.001 * artifact.sample.truth["dy_dx"], lambda slope: slope * 1.001)
    assert len(artifact.points) == 2 * FIRST


def test_an_artifact_that_fails_around_is_refused() -> None:
    artifact = Artifact(drawn=True)

    def fail(slope: Any) -> Any:
        raise ValueError("no")

    report, _ = artifact.compared(artifact.live["dy_dx"], fail)
    assert not report.ok
