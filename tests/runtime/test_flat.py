"""``flat``: every derivative from every source that a bundle may hold, in plain shapes, as the closed form has it."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
from pullback import Flat, InputError, NotExportedError
from pullback.calls.guards import Guard
from pullback.calls.rows import Choice
from pullback.function import Function
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec

from tests.runtime import polynomial
from tests.runtime.polynomial import Polynomial

Array = npt.NDArray[Any]

Z = np.array([0.3, -0.7, 1.1, 0.2, -0.4, 0.9, 0.5])
T = 0.25
X, A = Z[:3], Z[3:].reshape(2, 2)
PICKED = {
    "y": np.eye(3),
    "y[1]": np.eye(3)[[1]],
    "y[-1]": np.eye(3)[[2]],
    "y[1:]": np.eye(3)[1:],
    "sum(y)": np.ones((1, 3)),
    "sum(y[:2])": np.array([[1.0, 1.0, 0.0]]),
}

# What the bundle holds, of, wrt, and the methods that must then work.
FIRST = "value gradient value_and_gradient jacobian value_and_jacobian vjp jvp"
SECOND = "hess hessp"
CHAINS = ("derivative(y, x[0], x[0])", "derivative(y, x[0], x[1])", "hessian(y, x[1:])", "derivative(y, x[0], x[2])")
ROWS: list[tuple[tuple[str, ...], str, tuple[str, ...], str]] = [
    (("gradient(y[1], x)",), "y[1]", ("x",), FIRST),
    (("gradient(sum(y), x)",), "sum(y)", ("x",), FIRST),
    (("gradient(y[1], x) * -1",), "y[1]", ("x",), FIRST),
    (("jacobian(y, x)",), "y", ("x",), FIRST),
    (("jacobian(y, x) * 4",), "y[1]", ("x",), FIRST),
    (("jacobian(y, x)",), "y[-1]", ("x",), FIRST),
    (("jacobian(y, x)",), "y[1:]", ("x",), FIRST),
    (("jacobian(y, x)",), "sum(y)", ("x",), FIRST),
    (("jacobian(y, a)",), "sum(y[:2])", ("a",), FIRST),
    (("jacobian(y[1:], x)",), "y[1]", ("x",), FIRST),
    (("gradient(y[0], x)", "gradient(y[1], x)", "gradient(y[2], x) * 3"), "y", ("x",), FIRST),
    (("gradient(y[0], x)", "jacobian(y[1:], x)"), "y", ("x",), FIRST),
    (("jacobian(y, x[0])", "jacobian(y, x[1:])"), "y", ("x",), FIRST),
    (("derivative(y, x[0])", "derivative(y, x[1])", "derivative(y, x[2])"), "y", ("x",), FIRST),
    (("jacobian(y, x)", "jacobian(y, a)"), "y", ("x", "a"), FIRST),
    (("jacobian(y, x)", "jacobian(y, a)"), "y[1]", ("a", "x"), FIRST),
    (("vjp(y, x)",), "y", ("x",), FIRST),
    (("vjp(y, x) * 2",), "y[1]", ("x",), FIRST),
    (("vjp(y, x)",), "sum(y)", ("x",), FIRST),
    (("vjp(y[1:], x)",), "y[1:]", ("x",), FIRST),
    (("vjp(y[1], x)", "vjp(y, x)"), "y[-1]", ("x",), FIRST),
    (("vjp(y, x)", "vjp(y, a) * -2"), "y", ("a", "x"), FIRST),
    (("jvp(y, x)",), "y", ("x",), FIRST),
    (("jvp(y, x) * 2",), "y[1]", ("x",), FIRST),
    (("jvp(y, x)",), "sum(y)", ("x",), FIRST),
    (("jvp(y, x) * -1", "jvp(y, a) * 3"), "y", ("x", "a"), FIRST),
    (("jvp(y, x)", "jvp(y, a)"), "y[1]", ("a",), FIRST),
    (("vjp(y, x)", "jvp(y, x)"), "y", ("x",), FIRST),
    (("hessian(y[1], x)",), "y[1]", ("x",), SECOND),
    (("hessian(y, x) * 2",), "y", ("x",), SECOND),
    (("hessian(y, a)",), "sum(y)", ("a",), SECOND),
    (("hessian(y, x)", "hessian(y, x, a)", "hessian(y, a)"), "y", ("x", "a"), SECOND),
    (("hessian(y, a, x)", "hessian(y, x)", "hessian(y, a)"), "y[1]", ("x", "a"), SECOND),
    (("hessian(y, x)", "hessian(y, x, a)", "hessian(y, a)"), "sum(y)", ("a", "x"), SECOND),
    (CHAINS, "y", ("x",), SECOND),
    (("hvp(y[1], x)",), "y[1]", ("x",), SECOND),
    (("hvp(y[1], x) * -2",), "y[1]", ("x",), SECOND),
    (("hvp(sum(y), a)",), "sum(y)", ("a",), SECOND),
    (("hvp(y[0], x)", "hvp(y[1], x)", "hvp(y[2], x)"), "y", ("x",), SECOND),
    (("hvp(y, x)",), "y", ("x",), SECOND),
    (("hvp(y, a) * 2",), "y[1]", ("a",), SECOND),
    (("hvp(y, x)",), "sum(y)", ("x",), SECOND),
    (("hvp(y[1], x)", "hvp(y[1], x, a)", "hvp(y[1], a, x)", "hvp(y[1], a)"), "y[1]", ("a", "x"), SECOND),
    (
        tuple(f"hvp(y[{i}], {pair}) * {i + 2}" for i in range(3) for pair in ("x", "x, a", "a, x", "a")),
        "y",
        ("x", "a"),
        SECOND,
    ),
    (("hvp(y, x)", "hvp(y, x, a) * 2", "hvp(y, a, x) * -1", "hvp(y, a)"), "y", ("x", "a"), SECOND),
    (("hvp(y, x)", "hvp(y, x, a)", "hvp(y, a, x)", "hvp(y, a)"), "sum(y[:2])", ("a", "x"), SECOND),
    (("hvp(y, x)", "hvp(y, x, a)", "hvp(y, a, x)", "hvp(y, a)"), "y", ("x",), SECOND),
    (("hvp(y, x[0], x)", "hvp(y, x[1:], x)"), "y", ("x",), SECOND),
    (("hvp(y[1], x[:2], x)", "hvp(y[1], x[1:], x)"), "y[1]", ("x",), SECOND),
    (("weighted_hessian(y, x)",), "y", ("x",), SECOND),
    (("weighted_hessian(y, x) * 2",), "y[1]", ("x",), SECOND),
    (("weighted_hessian(y, a)",), "y[1:]", ("a",), SECOND),
    (("weighted_hessian(y, x)", "weighted_hessian(y, x, a)", "weighted_hessian(y, a) * 2"), "y", ("a", "x"), SECOND),
    (("weighted_hessian(y, x)", "hvp(y, x)", "hessian(y, x)"), "y", ("x",), SECOND),
]


def made(
    requests: tuple[str, ...], of: str, wrt: tuple[str, ...], **options: Any
) -> tuple[Flat, Polynomial, Array, Array]:
    """The view, the model, the point, and the columns of ``Z`` that it fills."""
    model = Polynomial(requests, **options)
    given = {name: value for name, value in {"x": X, "a": A, "t": T}.items() if name not in wrt}
    columns = np.concatenate([polynomial.COLUMNS[name] for name in wrt])
    return Flat(model.functions, of, wrt, given), model, Z[columns], columns


def check(f: Flat, method: str, of: str, x: Array, columns: Array, bound: float) -> None:
    """One method against the closed form, and the promise of fresh float64 arrays in plain shapes."""
    rows, rng = PICKED[of], np.random.default_rng(3)
    value, jacobian = rows @ polynomial.value(Z, T), (rows @ polynomial.jacobian(Z, T))[:, columns]
    hessians = np.tensordot(rows, polynomial.hessians(Z, T), 1)[:, columns][:, :, columns]
    v, p = rng.normal(size=len(rows)), rng.normal(size=len(columns))
    scalar = len(rows) == 1
    plain_value = value[0] if scalar else value
    weighted = np.tensordot(v, hessians, 1)
    wanted: dict[str, tuple[tuple[Any, ...], Any]] = {
        "value": ((), plain_value),
        "gradient": ((), jacobian[0]),
        "value_and_gradient": ((), (plain_value, jacobian[0])),
        "jacobian": ((), jacobian),
        "value_and_jacobian": ((), (plain_value, jacobian)),
        "vjp": ((v,), v @ jacobian),
        "jvp": ((p,), (jacobian @ p)[0] if scalar else jacobian @ p),
        "hess": ((v,), weighted),
        "hessp": ((p, v), weighted @ p),
    }
    if not scalar and "gradient" in method:
        with pytest.raises(InputError, match=f"{method} needs one number"):
            getattr(f, method)(x)
        return
    arguments, want = wanted[method]
    for _ in range(2):  # the second time from what was kept
        got = getattr(f, method)(x, *arguments)
        for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            assert a.dtype == np.float64
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(a, b, rtol=0, atol=bound * np.abs(b).max())
            if np.ndim(a):
                a[...] = 7  # ours to change
    if scalar and method in ("hess", "hessp"):
        np.testing.assert_allclose(f.hess(x), hessians[0], rtol=0, atol=bound * np.abs(hessians).max())
        np.testing.assert_allclose(f.hessp(x, p), hessians[0] @ p, rtol=0, atol=10 * bound * np.abs(hessians).max())


@pytest.mark.parametrize(("batched", "dtype"), [(True, "float64"), (False, "float64"), (True, "float32")])
@pytest.mark.parametrize("row", ROWS, ids=[f"{' '.join(r[0])} -> {r[1]} of {' '.join(r[2])}" for r in ROWS])
def test_every_source(row: Any, batched: bool, dtype: str) -> None:
    requests, of, wrt, methods = row
    for values in (False, True):
        for method in methods.split():
            f, _, x, columns = made(requests, of, wrt, batched=batched, dtype=dtype, values=values)
            assert (f.m, f.n) == (len(PICKED[of]), len(columns))
            check(f, method, of, x, columns, 1e-12 if dtype == "float64" else 3e-6)
        f, _, x, columns = made(requests, of, wrt, batched=batched, dtype=dtype, values=values)
        for method in (*methods.split(), *methods.split()[::-1]):  # all of one view, in any order
            check(f, method, of, x, columns, 1e-12 if dtype == "float64" else 3e-6)


BESIDE = [
    (("hvp(y[1], x)",), "y[1]", ("x",)),
    (("hvp(y[1], x) * -2",), "y[1]", ("x",)),
    (("hvp(sum(y), a)",), "sum(y)", ("a",)),
    (("hvp(y[0], x)", "hvp(y[1], x)", "hvp(y[2], x)"), "y", ("x",)),
    (("hvp(y[1], x)", "hvp(y[1], x, a)", "hvp(y[1], a, x)", "hvp(y[1], a)"), "y[1]", ("a", "x")),
    (("hvp(y, x)",), "y", ("x",)),
    (("hvp(y, x)",), "y[1]", ("x",)),
    (("hvp(y, a) * 2",), "y[1:]", ("a",)),
    (("hvp(y, x[0], x)", "hvp(y, x[1:], x)"), "sum(y)", ("x",)),
    (("weighted_hessian(y, x)",), "y", ("x",)),
    (("weighted_hessian(y, x)", "weighted_hessian(y, x, a)", "weighted_hessian(y, a) * 2"), "y", ("a", "x")),
]


@pytest.mark.parametrize(("batched", "dtype"), [(True, "float64"), (False, "float64"), (True, "float32")])
@pytest.mark.parametrize("row", BESIDE, ids=[f"{' '.join(r[0])} -> {r[1]} of {' '.join(r[2])}" for r in BESIDE])
def test_first_derivatives_beside_products_of_second_order(row: Any, batched: bool, dtype: str) -> None:
    requests, of, wrt = row
    bound = 1e-12 if dtype == "float64" else 3e-6
    for method in FIRST.split():
        f, _, x, columns = made(requests, of, wrt, batched=batched, dtype=dtype, values=True)
        check(f, method, of, x, columns, bound)
    samples = f.samples()
    jacobian = PICKED[of] @ polynomial.jacobian(Z, T)[:, columns]
    values, found = samples.both(np.stack([x, x]))
    for got in (*found, *samples.jacobian(np.stack([x, x]))):
        np.testing.assert_allclose(got, jacobian, rtol=0, atol=bound * np.abs(jacobian).max())
    np.testing.assert_allclose(values[1], PICKED[of] @ polynomial.value(Z, T), rtol=10 * bound)


def test_a_value_does_not_compute_products_of_second_order() -> None:
    """A gradient beside products costs them; value and gradient together are one run nevertheless."""
    f, model, x, _ = made(("hvp(y[1], x)",), "y[1]", ("x",), values=True)
    f.value(x), f.value(x + 1), f.value_and_gradient(x + 2)
    assert [(run[0], run[2]) for run in model.runs] == [("evaluate", 1), ("evaluate", 1), ("hvp", 1)]


def test_an_exported_jacobian_comes_before_what_is_beside_products() -> None:
    f, model, x, _ = made(("jacobian(y, x)", "weighted_hessian(y, x)"), "y", ("x",), values=True)
    f.vjp(x, [1, 2, 3]), f.jacobian(x + 1)
    assert [run[0] for run in model.runs] == ["evaluate", "evaluate"]


def test_unit_seeds_are_one_call() -> None:
    for requests, function, batch in (
        (("vjp(y, x)",), "vjp", 3),
        (("jvp(y, a)",), "jvp", 4),
        (("jvp(y, x)", "vjp(y, x)"), "vjp", 3),
        (("jvp(y, x)", "vjp(y, x)", "jacobian(y, x)"), "evaluate", 1),
    ):
        f, model, x, _ = made(requests, "y", ("a",) if "a)" in requests[0] else ("x",))
        f.jacobian(x)
        assert [(run[0], run[2]) for run in model.runs] == [(function, batch)]
    f, model, x, _ = made(("hvp(y[1], x)",), "y[1]", ("x",))
    f.hess(x)
    assert [(run[0], run[2]) for run in model.runs] == [("hvp", 3)]


def test_products_are_one_row() -> None:
    f, model, x, _ = made(("vjp(y, x)", "jvp(y, x)", "hvp(y, x)", "weighted_hessian(y, x)"), "y", ("x",))
    f.vjp(x, [1, 2, 3]), f.jvp(x, [1, 2, 3]), f.hessp(x, [1, 2, 3], [1, 2, 3]), f.hess(x, [1, 2, 3])
    assert [run[2] for run in model.runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("requests", [("gradient(y[1], x)",), ("jacobian(y, x)",)])
def test_one_evaluation_at_one_point(requests: tuple[str, ...]) -> None:
    f, model, x, _ = made(requests, "y[1]", ("x",))
    for point in (x, x + 1, x + 2):
        f.value(point), f.gradient(point), f.value_and_gradient(point), f.jacobian(point.copy()), f.vjp(point, 1)
    assert len(model.runs) == 3
    f.gradient(x), f.value(x)
    assert len(model.runs) == 4
    point = x.copy()
    first = f.value(point)
    point += 1  # the array is the caller's: what counts is what it holds
    assert f.value(point) != first


def test_values_alone_do_not_compute_derivatives_for_ever() -> None:
    """A search without derivatives pays for one; a line search that takes some gets them with the value again."""
    f, model, x, _ = made(("jacobian(y, x)",), "y", ("x",))
    for shift in range(5):
        f.value(x + shift)
    assert [len(run[1]) for run in model.runs] == [2, 1, 1, 1, 1]
    f.jacobian(x + 4), f.value(x + 5), f.jacobian(x + 5)
    assert [len(run[1]) for run in model.runs[5:]] == [1, 2]


def test_values_come_with_products_where_they_do() -> None:
    f, model, x, _ = made(("vjp(y, x)",), "y[1]", ("x",), values=True)
    f.value(x), f.gradient(x)
    assert [(run[0], run[2]) for run in model.runs] == [("vjp", 1)]


MISSING: list[tuple[tuple[str, ...], str, tuple[str, ...], str, str]] = [
    ((), "y[1]", ("x",), "gradient", "'gradient(y[1], x)'"),
    ((), "y", ("x",), "jacobian", "'jacobian(y, x)'"),
    (("jacobian(y, a)",), "y", ("x",), "value_and_jacobian", "'jacobian(y, x)'"),
    (("jacobian(y[:2], x)",), "y", ("x",), "jacobian", "'jacobian(y, x)'"),
    (("jacobian(y, x)",), "y", ("x", "a"), "jacobian", "'jacobian(y, x)', 'jacobian(y, a)'"),
    (("gradient(sum(y), x)",), "y[1]", ("x",), "gradient", "'gradient(y[1], x)'"),
    ((), "y", ("x",), "vjp", "'vjp(y, x)'"),
    ((), "y", ("x", "a"), "jvp", "'jvp(y, x)', 'jvp(y, a)'"),
    (("gradient(y[1], x)",), "y[1]", ("x",), "hess", "'hessian(y[1], x)'"),
    (("jacobian(y, x)",), "y", ("x",), "hess", "'weighted_hessian(y, x)'"),
    (("jacobian(y, x)",), "y[1]", ("x",), "hessp", "'hvp(y[1], x)'"),
    (("hessian(y, x)", "hessian(y, a)"), "y[1]", ("x", "a"), "hess", "'hessian(y[1], x, a)'"),
    (("hvp(y, x)", "hvp(y, a)"), "y", ("x", "a"), "hessp", "'hvp(y, x)', 'hvp(y, x, a)', 'hvp(y, a, x)', 'hvp(y, a)'"),
    (("hvp(y, x)", "hvp(y, x, a)", "hvp(y, a)"), "y", ("x", "a"), "hessp", "'hvp(y, a, x)'"),
]


@pytest.mark.parametrize("row", MISSING, ids=[f"{' '.join(r[0]) or 'nothing'} -> {r[3]} of {r[1]}" for r in MISSING])
def test_what_is_missing_is_told_with_the_request(row: Any) -> None:
    requests, of, wrt, method, text = row
    f, _, x, _ = made(requests, of, wrt)
    ones = np.ones(len(PICKED[of]))
    arguments = {"vjp": (ones,), "jvp": (x,), "hess": (ones,), "hessp": (x, ones)}.get(method, ())
    with pytest.raises(NotExportedError) as caught:
        getattr(f, method)(x, *arguments)
    assert text in str(caught.value)


def test_no_unit_seeds_before_they_are_needed() -> None:
    """A picture of a million numbers has products, and no matrix of a million by a million."""
    size = 10**6
    f = Flat(Picture(size).functions, "y", "x")
    assert (f.n, f.m) == (size, size)
    ones = np.ones(size)
    np.testing.assert_array_equal(f.vjp(ones, ones), 3 * ones)
    np.testing.assert_array_equal(f.jvp(ones, ones), 3 * ones)
    np.testing.assert_array_equal(f.hessp(ones, ones, ones), ones)
    np.testing.assert_array_equal(f.value(ones), 3 * ones)


class Picture:
    """``y = 3 x``, with products whose numbers are those of the test."""

    def __init__(self, size: int) -> None:
        kinds = [("vjp", "vjp(y, x)", "adj_x", ("x",), "adj_y"), ("jvp", "jvp(y, x)", "fwd_y", ("x",), "fwd_x")]
        seeds = {"vjp": ("adj_y",), "jvp": ("fwd_x",), "hvp": ("adj_y", "fwd_x")}
        kinds.append(("hvp", "hvp(y, x)", "fwd_adj_x", ("x", "x"), "fwd_x"))  # type: ignore[arg-type]
        tensors = [TensorSpec(name, "float64", ("B", size)) for name in ("x", "y")]
        specs = [FunctionSpec("evaluate", (tensors[0],), (tensors[1],), (), True)]
        for kind, request, name, wrt, seed in kinds:
            inputs = (tensors[0], *(TensorSpec(item, "float64", ("B", size)) for item in seeds[kind]))
            outputs = (TensorSpec(name, "float64", ("B", size)),)
            specs.append(
                FunctionSpec(kind, inputs, outputs, (DerivativeSpec(request, kind, name, "y", wrt, seed),), True)
            )
        self.functions = {spec.name: Function(spec, self, Guard(spec.name, False, None, {})) for spec in specs}

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        factor = 1 if function.name == "hvp" else 3
        return Choice(lambda feeds: [factor * feeds[function.inputs[-1].name]])

    def reset(self) -> None: ...


def test_a_first_derivative_is_no_second_one() -> None:
    """Of one coordinate, both have as many components."""
    f, *_ = made(("derivative(y, x[0])", "derivative(y, x[0], x[0])"), "y", ("x",))
    assert f._plan is not None
    for order in (1, 2):
        (piece,) = f._plan._finder.find(("derivative",), order, seeded=False)
        assert len(piece.derivative.wrt) == len(piece.columns) == order


VIEWS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("unknown output", {"of": "z"}, NotExportedError, "there is no output 'z'; the outputs are y"),
    ("a derivative as output", {"of": "q"}, NotExportedError, "there is no output"),
    ("a component too far", {"of": "y[3]"}, InputError, "y[3] is not in the shape (3,)"),
    ("a slice of nothing", {"of": "y[3:]"}, InputError, "is not in the shape"),
    ("no expression", {"of": "y +"}, InputError, "of must name an output"),
    ("of a number", {"of": 3}, InputError, "of must name an output"),
    ("unknown input", {"wrt": "z"}, InputError, "there is no input 'z'; the inputs are x (float64 (B, 3))"),
    ("wrt twice", {"wrt": ("x", "x")}, InputError, "several, each once"),
    ("wrt a number", {"wrt": 5}, InputError, "wrt must be the name of an input"),
    ("wrt None", {"wrt": None}, InputError, "wrt must be the name of an input"),
    ("given a list", {"given": [A, T]}, InputError, "given must be values by name"),
    ("wrt nothing", {"wrt": ()}, InputError, "wrt must name an input"),
    ("an omitted input", {"given": {"a": A}}, InputError, "input 't' needs a value, given={'t': ...}"),
    ("given what is wrt", {"given": {"a": A, "t": T, "x": X}}, InputError, "both in wrt and in given"),
    ("given what is not there", {"given": {"a": A, "t": T, "b": 1}}, InputError, "there is no input 'b'"),
    ("given a wrong shape", {"given": {"a": X, "t": T}}, InputError, "given 'a' must be (2, 2), got (3,)"),
    ("given a batch of two", {"given": {"a": [A, A], "t": T}}, InputError, "B is 2 here and 1 elsewhere"),
    ("given no number", {"given": {"a": A, "t": "hot"}}, InputError, "input 't' must be float64"),
    ("a shape that is not free", {"shape": (4,)}, InputError, "shape of 'x' must be (3,), got (4,)"),
    ("shape of nothing", {"shape": {"atoms": 5}}, InputError, "got 'atoms': 5"),
]


@pytest.mark.parametrize(("options", "error", "message"), [row[1:] for row in VIEWS], ids=[row[0] for row in VIEWS])
def test_views_that_cannot_be(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Flat(Polynomial(("jacobian(y, x)",)).functions, **{"of": "y", "wrt": "x", "given": {"a": A, "t": T}, **options})
    assert message in str(caught.value)


POINTS: list[tuple[str, Any, str]] = [
    ("too short", X[:2], "x must have shape (3,), x (3,); got (2,)"),
    ("a batch of one", X[None], "got (1, 3)"),
    ("a number", 0.5, "got ()"),
    ("complex", X + 1j, "must be 3 real numbers, got complex128"),
    ("text", ["a", "b", "c"], "must be 3 real numbers"),
    ("ragged", [[1], [1, 2]], "must be 3 real numbers"),
]


@pytest.mark.parametrize(("x", "message"), [row[1:] for row in POINTS], ids=[row[0] for row in POINTS])
def test_points_that_cannot_be(x: Any, message: str) -> None:
    f, *_ = made(("jacobian(y, x)", "hvp(y, x)"), "y", ("x",))
    for call in (f.value, f.jacobian, lambda x: f.jvp(X, x), lambda x: f.hessp(X, x, np.ones(3))):
        with pytest.raises(InputError) as caught:
            call(x)
        assert message.removeprefix("x ") in str(caught.value)


@pytest.mark.parametrize("v", [np.ones(2), np.ones((1, 3)), 1.0, [1j, 0, 0], "abc"], ids=repr)
def test_weights_that_cannot_be(v: Any) -> None:
    f, *_ = made(("jacobian(y, x)", "hessian(y, x)"), "y", ("x",))
    for call in (f.vjp, f.hess):
        with pytest.raises(InputError, match=r"v must be real numbers of shape \(3,\)"):
            call(X, v)
    with pytest.raises(InputError, match=r"weight them with v of shape \(3,\)"):
        f.hess(X)


@pytest.mark.parametrize(
    "x", [X.tolist(), X.astype(np.float32), X[::-1].copy()[::-1], tuple(X), np.ma.array(X)], ids=type
)
def test_anything_that_is_a_vector(x: Any) -> None:
    f, *_ = made(("jacobian(y, x)",), "y", ("x",))
    np.testing.assert_allclose(f.jacobian(x), f.jacobian(X), rtol=1e-6)


def test_numbers_that_float32_cannot_hold() -> None:
    """NaN and infinity go through, as in a call; what would turn into infinity is told."""
    f, *_ = made(("jacobian(y, x)",), "y", ("x",), dtype="float32")
    for bad in ([1e39, 0, 0], [np.nan, -1e39, 0], [0, np.inf, 1e300]):
        with pytest.raises(InputError, match=r"which x \(float32\) cannot hold"):
            f.value(np.array(bad))
    with np.errstate(all="ignore"):
        assert np.isnan(f.value([np.nan, 0, 0])).all()
        assert not np.isfinite(f.value([np.inf, 0, 0])).all()
    wide, *_ = made(("jacobian(y, x)", "jacobian(y, a)"), "y", ("x", "a"), dtype="float32")
    with pytest.raises(InputError, match=r"which a \(float32\)"):
        wide.value([0, 0, 0, 0, 0, 0, 1e39])


def test_many_numbers_that_float32_cannot_hold() -> None:
    """Long vectors are looked at in another way."""
    bundle = pullback.load(Path(__file__).parents[1] / "golden" / "v1" / "picture_float32.pullback")
    f, x = bundle.flat("score", "image"), np.zeros(64)
    for bad in (1e39, -1e39):
        with pytest.raises(InputError, match=r"which image \(float32\) cannot hold"):
            f.value(np.where(np.arange(64) == 63, bad, x))
    x[[0, 1]] = np.nan, 1e100
    with pytest.raises(InputError, match=r"holds 1e\+100"):
        f.value(x)
    assert np.isfinite(f.value(np.full(64, 1e-300)))


def test_given_is_copied() -> None:
    model, a = Polynomial(("jacobian(y, x)",)), A.copy()
    f = Flat(model.functions, "y", "x", {"a": a, "t": [T]})
    want = f.value(X)
    a[...] = 0
    np.testing.assert_array_equal(f.value(X + 0.0), want)
    np.testing.assert_allclose(f.value(X), polynomial.value(Z, T), rtol=1e-12)
    raveled = Flat(model.functions, "y", "x", {"a": A[None], "t": T})
    np.testing.assert_array_equal(raveled.value(X), want)


def test_of_a_bundle(net: pullback.Bundle, mixed: pullback.Bundle) -> None:
    """Real graphs: float32 and batched with products; float64, whole tensors, a free size and integer inputs."""
    f = net.flat("y", "x")
    x = np.array([0.3, -0.2, 0.5])
    assert repr(f) == "<pullback.Flat y of x: n=3, m=1>"
    np.testing.assert_array_equal(f.gradient(x), net(x[None]).dy_dx[0])
    for t in np.eye(3):
        np.testing.assert_allclose(f.hess(x) @ t, net.hvp(x[None], t[None]).hvp_y_x[0], atol=1e-6)
        np.testing.assert_allclose(f.hessp(x, t), net.hvp(x[None], t[None]).hvp_y_x[0], atol=1e-6)
    g = mixed.flat("y", "v", {"gain": 2, "w": [1, 2, 3], "index": 1, "negate": False}, shape=(3,))
    np.testing.assert_allclose(g.gradient(x), [2, 4, 6])
    assert g.value(x) == 2 * (x @ [1, 2, 3]) - 1.5
    same = mixed.flat(of="y", wrt="v", given={"gain": 2, "w": [1, 2, 3], "index": 1, "negate": False})
    assert same.n == 3  # the size follows from w
    assert mixed.flat("y", ("v", "w"), {"gain": 2, "index": 1, "negate": False}, shape={"n": 2}).n == 4
    with pytest.raises(InputError, match=r"the size of axis 'n' of v: float64 .* is free; specify it: shape="):
        mixed.flat("y", ("v", "w"), {"gain": 2, "index": 1, "negate": False})
    with pytest.raises(InputError, match="'index' is int32; only floats have derivatives"):
        mixed.flat("y", "index", {"gain": 2, "v": [1], "w": [1], "negate": False})


def test_products_alone_have_no_view(net: pullback.Bundle) -> None:
    with pytest.raises(NotExportedError, match="here are products alone, load the whole bundle"):
        pullback.load(net.path / "vjp.onnx").flat("y", "x")
    bare = pullback.load(net.path / "evaluate.onnx").flat("y", "x")
    np.testing.assert_array_equal(bare.gradient([1, 2, 3]), net.flat("y", "x").gradient([1, 2, 3]))


def test_threads_share_a_view() -> None:
    f, _, x, _ = made(("jacobian(y, x)", "hessian(y, x)"), "y", ("x",))
    wrong: list[int] = []

    def work(number: int) -> None:
        for step in range(200):
            z = np.concatenate([x + number + step % 3, Z[3:]])
            value, jacobian = f.value_and_jacobian(z[:3])
            same = np.allclose(value, polynomial.value(z, T)) and np.allclose(
                jacobian, polynomial.jacobian(z, T)[:, :3]
            )
            if not (same and np.allclose(f.value(z[:3]), value)):
                wrong.append(step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


def test_pickled_and_forked(net: pullback.Bundle) -> None:
    f = net.flat("y", "x")
    x = np.array([0.1, 0.2, 0.3])
    want = f.gradient(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f)).gradient(x), want)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(made(("jacobian(y, x)",), "y", ("x",))[0])
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(int(not np.array_equal(f.gradient(x + 0.0), want)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_check_finite_and_range(net: pullback.Bundle) -> None:
    f = pullback.load(net.path, check_finite=True, check_range="raise").flat("y", "x")
    with pytest.raises(InputError, match="check_finite is on"):
        f.value([np.nan, 0, 0])
    with pytest.raises(InputError, match="check_range is on"):
        f.gradient([9, 0, 0])


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda f, x: f.value(x[None]), r"got \(1, 3\); pass x\.ravel\(\)"),
        (lambda f, x: f.jacobian(x[:, None]), r"got \(3, 1\); pass x\.ravel\(\)"),
        (lambda f, x: f.jvp(x, x[None]), r"t must have shape.*pass t\.ravel\(\)"),
        (lambda f, x: f.value(np.stack([x, x])), r"got \(2, 3\); pass one point at a time, or all of them to samples"),
        (lambda f, x: f.vjp(x, x), "of shape \\(3,\\), the size of x: .*directions first"),
        (lambda f, x: f.hessp(x, [1.0, 2.0], x), "the size of x: .*directions first"),
        (lambda f, x: f.jvp(x, [1.0, 2.0]), r"t must have shape \(3,\)"),
    ],
)
def test_usual_mistakes_say_what_to_pass(call: Any, remedy: str) -> None:
    f, _, x, _ = made(("vjp(y[1:], x)", "jvp(y[1:], x)", "hvp(y[1:], x)"), "y[1:]", ("x",))
    with pytest.raises(InputError, match=remedy):
        call(f, x)
