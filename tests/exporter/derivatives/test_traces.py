"""How often a model is traced: what requests are checked against is ``evaluate``, where that is values alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.sources.opening import open_source

X = np.linspace(-1, 1, 6).reshape(3, 2).astype(np.float32)


def outputs(x: Any) -> dict[str, Any]:
    """Out of alphabetical order, and an output that is the input."""
    return {"z": tf.sin(x), "same": x, "n": tf.shape(x), "a": tf.reduce_sum(x**2, 1)}


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("requests", "traces"),
    [
        ((), 1),
        (("vjp(z, x)",), 2),
        (("vjp(z, x)", "jvp(a, x)"), 3),
        (("gradient(a[0], x)",), 2),  # ``evaluate`` has a derivative, and is traced with it
        (("vjp(z[0], x)",), 3),  # the part is no output of ``evaluate``
    ],
)
def test_the_model_is_traced_once_for_each_function(requests: tuple[str, ...], traces: int, batched: bool) -> None:
    count = 0

    def model(x: Any) -> dict[str, Any]:
        nonlocal count
        count += not tf.executing_eagerly()
        return {name: item for name, item in outputs(x).items() if name != "n" or not batched}

    if batched:
        requests = tuple(item.replace("a[0]", "a") for item in requests)
    source = open_source(model, [tf.TensorSpec([None, 2], tf.float32, name="x")], None, batched, False)
    count = 0
    found = [trace(one) for one in Derivatives(source, [parse_request(item) for item in requests], "error").functions()]
    assert count == traces
    names, expected = found[0].function.outputs, outputs(tf.constant(X))
    results: Callable[..., Any] = found[0].concrete
    answers = dict(zip(names, found[0].in_order(tf.nest.flatten(results(tf.constant(X)))), strict=True))
    assert [spec.name for spec in found[0].function.inputs] == ["x"]
    for name in source.outputs:
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-6)
