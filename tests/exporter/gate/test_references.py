"""Values that a product's run gives besides are those of ``evaluate``, and the model is run once for both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives, Function
from pullback_export.derivatives.requests import parse_request
from pullback_export.gate.live_model import Arrays, Refused
from pullback_export.gate.references import all_references, references
from pullback_export.gate.samples import Sample
from pullback_export.sources.opening import open_source
from pullback_export.sources.source import Source

RNG = np.random.default_rng(3)


@tf.custom_gradient
def one_way(x: Any) -> Any:
    """It has values, but for rows that begin with a negative number no gradient."""

    def gradient(dy: Any) -> Any:
        if float(tf.reduce_min(x[:1])) < 0:
            raise ValueError("no way back")
        return dy * tf.cos(x)

    return tf.sin(x), gradient


def no_negative(x: Any) -> Any:
    """It refuses negative numbers itself."""
    if tf.executing_eagerly() and float(tf.reduce_min(x)) < 0:
        raise ValueError("negative")
    return {"y": tf.sqrt(x)}


def one(x: Any) -> Any:
    return {"y": tf.sin(x) * tf.reduce_sum(x)}


def several(x: Any) -> Any:
    return {"y": x**2, "z": tf.cumsum(x, 1), "n": tf.cast(tf.floor(x), tf.int32)}


def with_shared(x: Any) -> Any:
    return {"y": x**2, "k": tf.constant([1.0, 2.0])}


@dataclasses.dataclass
class Counted:
    """A model that knows how often it ran eagerly."""

    model: Callable[[Any], Any]
    count: int = 0

    def __call__(self, x: Any) -> Any:
        self.count += tf.executing_eagerly()
        return self.model(x)


@dataclasses.dataclass(frozen=True)
class Case:
    """``again``: how many runs more than those of products the values take."""

    name: str
    model: Callable[[Any], Any]
    requests: tuple[str, ...]
    batched: bool = False
    again: int = 0


CASES = [
    Case("one output", one, ("vjp(y, x)",)),
    Case("the product of one of several", several, ("vjp(z, x)",)),
    Case("two products", several, ("vjp(y, x)", "jvp(z, x)")),
    Case("a Hessian's product", several, ("hvp(y[0, 0], x)",)),
    Case("rows together", several, ("vjp(y, x)",), True),
    Case("an output that rows share", with_shared, ("vjp(y, x)",), True),
    Case("no derivative in two samples", lambda x: {"y": one_way(x)}, ("vjp(y, x)",), again=2),
    Case("no value in two samples", no_negative, ("vjp(y, x)",), again=2),
    Case("derivatives in evaluate", several, ("vjp(y, x)", "jacobian(y, x)"), again=4),
]


def drawn(batched: bool) -> list[Sample]:
    """Four samples of three sizes; two hold negative numbers."""
    arrays = [RNG.uniform(0.5, 1.5, (rows, 2)).astype(np.float32) * sign for rows, sign in SIZES]
    return [
        Sample(f"sample {number}", {"x": array}, len(array) if batched else None, True, False)
        for number, array in enumerate(arrays)
    ]


SIZES = ((3, 1), (3, -1), (1, -1), (2, 1))


def inputs_of(function: Function, samples: Sequence[Sample]) -> list[Arrays]:
    """The samples, with seeds of the same shape: so are the outputs that have any."""
    return [
        {spec.name: item.inputs.get(spec.name, item.inputs["x"] * 0 + np.float32(1.5)) for spec in function.inputs}
        for item in samples
    ]


def opened(case: Case) -> tuple[Counted, Source, Sequence[Function]]:
    counted = Counted(case.model)
    specs = [tf.TensorSpec([None, 2], tf.float32, name="x")]
    source = open_source(counted, specs, None, case.batched, False)
    requests = [parse_request(item) for item in case.requests]
    return counted, source, Derivatives(source, requests, "error").functions()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_beside_products_are_those_of_the_model_alone(case: Case) -> None:
    counted, source, functions = opened(case)
    samples = drawn(case.batched)
    inputs = [inputs_of(function, samples) for function in functions]
    alone = [references(function, source, samples, given, False) for function, given in zip(functions, inputs)]
    counted.count = 0
    for function, given in zip(functions[1:], inputs[1:]):
        references(function, source, samples, given, False)
    products, counted.count = counted.count, 0
    together = list(all_references(functions, source, samples, inputs, False))
    assert counted.count == products + case.again
    for function, ones, others in zip(functions, alone, together, strict=True):
        for one_, other in zip(ones, others, strict=True):
            if isinstance(one_, Refused):
                assert isinstance(other, Refused)
                assert one_.said == other.said
                continue
            assert isinstance(other, dict)
            assert list(other) == list(one_) == list(function.outputs)
            for name, array in one_.items():
                assert array.dtype == other[name].dtype
                np.testing.assert_array_equal(other[name], array)
