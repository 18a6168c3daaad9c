"""Gelu in the order that ONNX Runtime fuses: the operator that it finds, and the same numbers as without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnx
import pytest
from pullback_export.optimize import pipeline

from tests.benchmarks.convolutional import opened
from tests.exporter.optimize.test_convolutional import dtype
from tests.exporter.optimize.test_counts import exported

__all__ = ["dtype"]  # a fixture
L = keras.layers


def without() -> Any:
    return mock.patch.object(pipeline, "FINAL", tuple(row for row in pipeline.FINAL if row.name != "fused_gelu"))


def network(free: bool) -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 6) if free else (5, 6), name="x")
    return keras.Model(x, L.GlobalAveragePooling1D()(L.Dense(1)(L.Dense(8, "gelu")(x))))


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("request_", ["", "gradient(y, x)"], ids=["value", "gradient"])
def test_gelu_is_fused(request_: str, free: bool) -> None:
    """Also beside its derivative, which has its own ``Erf``."""
    model = network(free)
    after = exported(model, *[request_] * bool(request_))
    assert optimised(after)["Gelu"] == 1
    assert optimised(after)["Erf"] == bool(request_)
    with without():
        assert optimised(exported(model, *[request_] * bool(request_)))["Gelu"] == 0


def optimised(model: onnx.ModelProto) -> Counter[str]:
    """Operators of the graph that ONNX Runtime runs."""
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimised.onnx")
        opened(model.SerializeToString(), saved=path)
        return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("dtype", ["float32", "float64"], indirect=True)
def test_numbers_with_and_without(dtype: str, free: bool) -> None:
    model = network(free)
    with without():
        plain = exported(model, "gradient(y, x)")
    after = exported(model, "gradient(y, x)")
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    for batch in (0, 1, 2, 7):
        x = 4 * np.random.default_rng(batch).normal(size=(batch, 5, 6)).astype(dtype)
        found, expected = (opened(item.SerializeToString()).run(None, {"x": x}) for item in (after, plain))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max(initial=0))
