"""Seeds have the size of what they belong to, without a run of the live model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.errors import ExportError
from pullback_export.gate.samples import Sample
from pullback_export.gate.sampling.given import Given
from pullback_export.gate.sampling.seeds import Seeds
from pullback_export.sources.opening import open_source


def seeds_of(function: Any, shape: list[int | None], batched: bool, *texts: str) -> tuple[Seeds, list[int]]:
    """And the number of eager runs."""
    source = open_source(function, [tf.TensorSpec(shape, tf.float32, name="x")], None, batched, False)
    runs = [0]

    def call(*tensors: Any) -> tuple[Any, ...]:
        runs[0] += tf.executing_eagerly()
        return source.call(*tensors)

    counted = dataclasses.replace(source, call=call)
    functions = Derivatives(counted, [parse_request(text) for text in texts], "error").functions()
    found = Seeds.of([trace(one) for one in functions], batched)
    runs[0] = 0
    return found, runs


def pairs(x: Any) -> dict[str, Any]:
    """As many numbers as two neighbours have products."""
    return {"y": x[..., 1:] * x[..., :-1]}


def positive(x: Any) -> dict[str, Any]:
    """As many numbers as are positive."""
    return {"y": tf.square(tf.boolean_mask(x, x > 0))}


CASES = {
    "whole": (pairs, [None], False, (7,), (6,)),
    "batch": (pairs, [None, None], True, (3, 5), (3, 4)),
    "no rows": (pairs, [None, None], True, (0, 5), (0, 4)),
    "data": (positive, [None], False, (5,), (3,)),
}


@pytest.mark.parametrize(("function", "spec", "batched", "shape", "wanted"), CASES.values(), ids=CASES)
def test_sizes(function: Any, spec: Any, batched: bool, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    seeds, runs = seeds_of(function, spec, batched, "vjp(y, x)", "jvp(y, x)", "weighted_hessian(y, x)", "hvp(y, x)")
    x = np.resize(np.float32([1, -2, 3, -4, 5]), shape)
    found = {one.name: inputs for one, inputs in zip(seeds.functions, seeds.beside({"x": x}), strict=True)}
    assert set(found["evaluate"]) == {"x"}
    for name in ("vjp", "weighted_hessian", "hvp"):
        assert found[name]["adj_y"].shape == wanted
        assert found[name]["adj_y"].dtype == np.float32
    for name in ("jvp", "hvp"):
        assert found[name]["fwd_x"].shape == shape
    assert runs == [0]


def picky(x: Any) -> dict[str, Any]:
    with tf.control_dependencies([tf.debugging.assert_positive(x, "only positive numbers")]):
        return {"y": tf.math.log(x[1:])}


def test_what_the_model_refuses_is_skipped_or_an_error() -> None:
    seeds, _ = seeds_of(picky, [None], False, "vjp(y, x)")
    good, bad = ({"x": np.float32([1, sign, 2])} for sign in (1, -1))
    drawn = [Sample(label, x, None, True, False) for label, x in (("good", good), ("bad", bad))]
    kept, inputs, notes = seeds.for_all(drawn)
    assert [sample.label for sample in kept] == ["good"]
    assert [len(one) for one in inputs] == [1, 1]
    assert notes[0].startswith("bad: the live model rejects it; skipped (")
    assert "only positive numbers" in notes[0]
    with pytest.raises(ExportError, match="only positive numbers"):
        seeds.for_all([Sample("given", bad, None, True, True, Given("samples", bad))])
