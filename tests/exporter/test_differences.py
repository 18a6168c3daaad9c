"""Central differences: no point twice, past kinks to smaller steps, and a wrong derivative is still contradicted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback.parity import Report
from pullback_export import differences
from pullback_export.derivatives import Derivatives
from pullback_export.differences import FLOAT64
from pullback_export.parity_samples import Sample
from pullback_export.reference import live
from pullback_export.requests import parse_request
from pullback_export.source import Source, open_source

X = np.array([[0.3, -0.2, 0.9], [1.1, 0.4, -0.7], [-0.5, 0.8, 0.2]])


def smooth(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.sin(x) * x, 1)}


def kinked(x: Any) -> Any:
    """A kink 4e-7 beyond every component of ``X``: the larger steps cross it, the smaller ones do not."""
    return {"y": tf.reduce_sum(tf.nn.relu(x - (X + 4e-7)) + 2 * x, 1)}


def counted(function: Any) -> tuple[Source, list[Any]]:
    source = open_source(function, [tf.TensorSpec([None, 3], tf.float64, name="x")], None, None, False)
    points: list[Any] = []

    def call(*tensors: Any) -> tuple[Any, ...]:
        if tf.executing_eagerly():
            points.append(tensors[0].numpy())
        return source.call(*tensors)

    return dataclasses.replace(source, call=call), points


def check(source: Source, points: list[Any], text: str, factor: float = 1.0) -> Report:
    request = parse_request(text)
    (function,) = Derivatives(source, [request], "error").functions()
    reference = live(function, {"x": X})
    assert reference is not None
    reference[request.name] = reference[request.name] * factor
    points.clear()
    sample = Sample("it", {"x": X}, 3, True, True)
    return differences.check(source, differences.Twin(source, sample), function, sample, {"x": X}, reference)


@pytest.mark.parametrize("text", ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)"])
def test_no_point_twice(text: str) -> None:
    source, points = counted(smooth)
    assert check(source, points, text).ok
    assert len({point.tobytes() for point in points}) == len(points)
    assert len(points) <= 1 + 2 * (6 if "laplacian" in text else 2)  # two steps at most


@pytest.mark.parametrize("text", ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)"])
def test_a_wrong_derivative_is_contradicted(text: str) -> None:
    """Every step is tried first."""
    source, points = counted(smooth)
    report = check(source, points, text, 1.001)
    assert not report.ok
    assert "central differences" in report.failures[0].problem
    assert len(points) == 1 + (6 if "laplacian" in text else 2) * len(FLOAT64.steps)


def test_smaller_steps_past_kinks() -> None:
    """From the first step, which meets kinks, to the smallest that rounding hardly touches."""
    source, points = counted(kinked)
    report = check(source, points, "gradient(y, x)")
    assert report.ok
    assert report.notes == ()
    assert len(points) == 1 + 2 * 3  # 1e-5; 1e-6, whose rounding is small enough, but not its kinks; 1e-7


def test_a_wrong_derivative_between_kinks_is_contradicted() -> None:
    source, points = counted(kinked)
    assert not check(source, points, "gradient(y, x)", 1.01).ok
    assert len(points) == 1 + 2 * len(FLOAT64.steps)
