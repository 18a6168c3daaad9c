"""Products also give the value, from the same forward pass; what a call gives that does not ask for it stays alone."""

from __future__ import annotations

import json
import pathlib
import pickle
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.errors import NotExportedError
from pullback_export import compare, export

from tests.laws.sources import mlp

REQUESTS = [
    *("jacobian(y, x)", "gradient(y[1], x)", "vjp(y, x)", "vjp(hidden, x)", "jvp(y, x)"),
    *("hvp(y, x)", "hvp(y[1], x)", "weighted_hessian(y, x)"),
]


@pytest.fixture(scope="module", params=["float32", "float64"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str]:
    folder = tmp_path_factory.mktemp("values") / "it.pullback"
    export(mlp(request.param), folder, REQUESTS)
    return folder, request.param


def arguments(rows: int, dtype: str) -> dict[str, Any]:
    rng = np.random.default_rng(rows)
    sizes = {"x": 3, "adj_y": 2, "adj_hidden": 5, "fwd_x": 3}
    return {name: rng.normal(size=(rows, size)).astype(dtype) for name, size in sizes.items()}


def close(actual: Any, expected: Any, dtype: str) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    bound = {"float32": 2e-5, "float64": 1e-12}[dtype]
    assert np.abs(actual - expected).max(initial=0) <= bound * max(np.abs(expected).max(initial=0), 1e-3)


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_values_are_those_of_evaluate(exported: Any, backend: str, rows: int) -> None:
    folder, dtype = exported
    bundle = pullback.load(folder, backend=backend)
    given = arguments(rows, dtype)
    whole = bundle(given["x"])
    pulled = bundle.vjp(**pick(given, bundle.vjp), fetch=("y", "adj_x"))
    pushed = bundle.jvp(**pick(given, bundle.jvp), fetch=("fwd_y", "y"))
    weighted = bundle.weighted_hessian(**pick(given, bundle.weighted_hessian), fetch=("y", "adj_x", "hess_y_x"))
    second = bundle.hvp(**pick(given, bundle.hvp), fetch=("y", "adj_x", "dy_1_dx", "hvp_y_1_x"))
    assert pulled._fields == ("y", "adj_x")
    assert pushed._fields == ("fwd_y", "y")
    for result in (pulled, pushed, weighted, second):
        close(result.y, whole.y, dtype)
    adjoint = np.einsum("bi,bij->bj", given["adj_y"], whole.dy_dx)
    for result in (weighted, second):
        close(result.adj_x, adjoint, dtype)
    close(second.dy_1_dx, whole.dy_1_dx, dtype)
    close(bundle.vjp(**pick(given, bundle.vjp), fetch="hidden").hidden, whole.hidden, dtype)


def pick(given: dict[str, Any], function: Any) -> dict[str, Any]:
    """What the function takes of what is given."""
    return {tensor.name: given[tensor.name] for tensor in function.spec.inputs}


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_a_product_alone_is_what_a_call_gives(exported: Any, backend: str) -> None:
    folder, dtype = exported
    bundle = pullback.load(folder, backend=backend)
    given = arguments(2, dtype)
    fields = {name: bundle.function(name)(**pick(given, bundle.function(name)))._fields for name in bundle.functions}
    assert fields["vjp"] == ("adj_x",)
    assert fields["jvp"] == ("fwd_y",)
    assert fields["hvp"] == ("fwd_adj_x", "hvp_y_1_x")
    assert fields["weighted_hessian"] == ("hess_y_x",)
    (product,) = bundle.vjp(**pick(given, bundle.vjp))
    close(product, bundle.vjp(**pick(given, bundle.vjp), fetch="adj_x")[0], dtype)
    assert bundle.verify().ok
    if backend == "onnx":
        prepared = bundle.prepared(2, "jvp")
        assert prepared(**pick(given, bundle.jvp))._fields == ("fwd_y",)
        assert pickle.loads(pickle.dumps(bundle)).jvp.spec == bundle.jvp.spec


def test_many_directions_give_the_value_of_each(exported: Any) -> None:
    folder, dtype = exported
    bundle = pullback.load(folder)
    given = arguments(2, dtype) | {"fwd_x": np.random.default_rng(9).normal(size=(4, 2, 3)).astype(dtype)}
    found = bundle.jvp(**pick(given, bundle.jvp), fetch=("y", "fwd_y"))
    assert found.y.shape == found.fwd_y.shape == (4, 2, 2)
    close(found.y[3], bundle(given["x"]).y, dtype)


def test_an_existing_bundle_is_compared_with_them(exported: Any) -> None:
    folder, dtype = exported
    report = compare(mlp(dtype), folder)
    assert report.ok
    assert {"y", "adj_x", "dy_1_dx", "fwd_adj_x", "hess_y_x"} <= {row.output for row in report.rows}


def test_a_bundle_from_before_says_what_it_lacks() -> None:
    golden = pathlib.Path(__file__).parents[1] / "golden" / "v1"
    old = pullback.load(min(golden.glob("*/vjp.onnx")).parent)
    names = tuple(tensor.name for tensor in old.vjp.spec.outputs)
    assert old.vjp.spec.default_outputs == names
    with pytest.raises(NotExportedError, match="there is no output 'value'"):
        old.vjp(fetch="value")


def test_what_would_have_a_taken_name_is_omitted(tmp_path: pathlib.Path) -> None:
    """``adj_hidden`` is a seed here, so that the adjoint of the layer is not given beside the Hessian by it."""
    requests = ["weighted_hessian(hidden, x)", "weighted_hessian(y, hidden)"]
    bundle = export(mlp("float64"), tmp_path / "it.pullback", requests, formats="onnx")
    names = [tensor.name for tensor in bundle.weighted_hessian.spec.outputs]
    assert names == ["hess_hidden_x", "hess_y_hidden", "adj_x", "hidden", "y"]


def test_selections_are_fields() -> None:
    """No text to take apart: components, slices and sums of what a derivative is of and by."""
    from pullback.manifest import DerivativeSpec
    from pullback.selection import Selection

    spec = DerivativeSpec("hessian(sum(y[1:]), x[:, 2], t)", "hessian", "h", "y", ("x", "t"))
    assert spec.of_selection == Selection("y", ((1, None, None),), True)
    assert spec.wrt_selections == (Selection("x", ((None, None, None), 2)), Selection("t"))
    assert [item.is_whole for item in (spec.of_selection, *spec.wrt_selections)] == [False, False, True]
    twice = DerivativeSpec("hvp(y[0], x)", "hvp", "hvp_y_0_x", "y", ("x", "x"), "fwd_x")
    assert twice.wrt_selections == (Selection("x"),) * 2
    with pytest.raises(pullback.BundleError, match="is not of 'z'"):
        DerivativeSpec("gradient(y, x)", "gradient", "g", "z", ("x",))
    for text in ("gradient", "gradient(y)", "gradient(y, x[)", "gradient(y, x[1.5])"):
        with pytest.raises(pullback.BundleError, match="request"):
            DerivativeSpec(text, "gradient", "g", "y", ("x",))


def test_no_file_has_a_key_for_them(exported: Any) -> None:
    folder, _ = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    known = {"request", "kind", "name", "of", "wrt", "seed", "scale"}
    assert all(set(item) == known for graph in manifest["functions"] for item in graph["function"]["derivatives"])


def test_texts_on_the_command_line(tmp_path: pathlib.Path) -> None:
    from pullback_export.cli import main

    mlp("float32").save(tmp_path / "it.keras")
    texts = ["weighted_hessian(y, x)", "hvp(y, x)", "weighted_hessian(y[0], x[0:2], x)"]
    options = [part for text in texts for part in ("-d", text)]
    assert main([str(tmp_path / "it.keras"), str(tmp_path / "it.pullback"), *options, "-q", "--format", "onnx"]) == 0
    bundle = pullback.load(tmp_path / "it.pullback")
    x = np.ones((2, 3), np.float32)
    found = bundle.weighted_hessian(x=x, adj_y=np.ones((2, 2)), adj_y_0=np.ones(2))
    assert [array.shape for array in found] == [(2, 3, 3), (2, 2, 3)]
