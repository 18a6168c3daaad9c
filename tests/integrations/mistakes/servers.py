"""Mistakes with UM-Bridge and Tesseract."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.integrations.mistakes import Bundles, Entry, Impossible, Row

X = [0.3, -0.5, 0.8]


def _model(bundle: Any) -> Any:
    from pullback.integrations.umbridge import UmbridgeModel

    return UmbridgeModel(bundle, of=["c"])


def _lists_stay(b: Bundles) -> Any:
    model, x = _model(b.hill), list(X)
    found = model([x])
    x[0] = 7.0
    model([x])
    return found[0], b.hill(np.array([X])).c[0]


UMBRIDGE: tuple[Entry, ...] = (
    Row("umbridge", "sample", "a batch", lambda b: _model(b.hill)([X, X]), "the inputs x have [3] components"),
    Row("umbridge", "memory", "parameters changed after the call", _lists_stay),
    Row(
        *("umbridge", "order", "sens and vec exchanged"),
        *(lambda b: _model(b.hill).apply_hessian(0, 0, 0, [X], [1.0, 1.0, 1.0], [1.0, 1.0]), "must have 3 components"),
    ),
    Row(
        *("umbridge", "order", "a number that no output has"),
        *(lambda b: _model(b.hill).gradient(1, 0, [X], [1.0, 1.0]), "the outputs are 0 (c)"),
    ),
    Row(
        "umbridge",
        "precision",
        "1e300",
        lambda b: _model(b.hill32)([[1e300] * 3]),
        'export the model with precision="float64"',
    ),
    Row(
        "umbridge",
        "size",
        "four numbers for three",
        lambda b: _model(b.hill)([[1.0] * 4]),
        "have [3] components, got [4]",
    ),
    Row(
        *("umbridge", "missing", "apply_hessian: clients see that there is none"),
        lambda b: (_image(b).supports_apply_hessian(), False),
    ),
)


def _image(b: Bundles) -> Any:
    from pullback.integrations.umbridge import UmbridgeModel

    return UmbridgeModel(b.picture)


def _tesseract(bundle: Any, x: Any, of: Any = ("c",)) -> Any:
    from pullback.integrations.tesseract import BundleTesseract

    component = BundleTesseract(bundle, of=list(of))
    return component, component.InputSchema(x=np.asarray(x))


def _applied(bundle: Any, x: Any) -> Any:
    component, inputs = _tesseract(bundle, x)
    return component.apply(inputs)["c"]


def _tesseract_memory(b: Bundles) -> Any:
    component, inputs = _tesseract(b.hill, X)
    found = component.apply(inputs)["c"]
    component.apply(component.InputSchema(x=np.ones(3)))
    return found, b.hill(np.array([X])).c[0]


def _seeds_exchanged(b: Bundles) -> Any:
    component, inputs = _tesseract(b.hill, X)
    return component.vector_jacobian_product(inputs, ["x"], ["c"], {"c": np.ones(3)})


def _free_axes(b: Bundles) -> Any:
    from pullback.integrations.tesseract import BundleTesseract

    return BundleTesseract(b.mixed, given={"index": 0, "negate": False})


TESSERACT: tuple[Entry, ...] = (
    Row("tesseract", "sample", "a batch", lambda b: _applied(b.hill, [X, X]), "x", True),
    Row("tesseract", "memory", "results kept over a call", _tesseract_memory),
    Row("tesseract", "order", "a tangent as the cotangent", _seeds_exchanged, "v must be real numbers of shape (2,)"),
    Row(
        *("tesseract", "precision", "float64 into float32"),
        lambda b: (_applied(b.hill32, np.array(X, np.float32)), b.hill(np.array([X])).c[0]),
        tolerance=1e-6,
    ),
    Row("tesseract", "size", "four numbers for three", lambda b: _applied(b.hill, np.ones(4)), "x", True),
    Row("tesseract", "size", "free axes", _free_axes, "one sample must have one size"),
    Impossible("tesseract", "missing", "only first derivatives are asked for, of any source that gives them"),
)

ENTRIES: tuple[Entry, ...] = (*UMBRIDGE, *TESSERACT)
