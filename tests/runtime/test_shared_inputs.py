"""Inputs without a batch axis beside batched ones, as the specification says them and as calls take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pullback import InputError
from pullback.calls.guards import Guard
from pullback.calls.rows import Choice, RowPlan
from pullback.function import Function
from pullback.inputs import Binder
from pullback.manifest import FunctionSpec, TensorSpec

T = TensorSpec
X, P, S = T("x", "float64", ("B", 2)), T("p", "float64", (3,)), T("s", "float64", ())
Y, N, TOTAL = T("y", "float64", ("B", 3)), T("n", "float64", ("N", 2)), T("total", "float64", (3,))

# Inputs, outputs, batched: the shared ones, and whether rows may be computed separately.
SPECS: list[tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], bool, set[str], bool]] = [
    ((X,), (Y,), True, set(), True),
    ((P, X), (Y,), True, {"p"}, True),
    ((X, S, P), (Y,), True, {"s", "p"}, True),
    ((X, P), (Y, TOTAL), True, {"p"}, False),
    ((N, P), (T("y", "float64", ("N", 3)),), True, {"p"}, False),
    ((P,), (Y,), True, {"p"}, False),
    ((T("x", "float64", ("x_0", 2)), P), (TOTAL,), False, set(), False),
]


@pytest.mark.parametrize(("inputs", "outputs", "batched", "shared", "divisible"), SPECS)
def test_what_a_specification_says(inputs: Any, outputs: Any, batched: bool, shared: set[str], divisible: bool) -> None:
    spec = FunctionSpec("evaluate", inputs, outputs, (), batched)
    assert spec.shared_inputs == shared
    assert spec.divisible == divisible
    assert spec.rowwise == (divisible and not shared)


class Backend:
    """``y = x[:, :1] * p + s``, in chunks of at least four rows on two threads; remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, tuple[int, ...]]] = []

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        return Choice(self._run, RowPlan(2**17, 2), None, function.shared_inputs)

    def _run(self, feeds: dict[str, Any]) -> Sequence[Any]:
        self.calls.append({name: array.shape for name, array in feeds.items()})
        return [feeds["x"][:, :1] * feeds["p"] + feeds["s"]]

    def reset(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("inputs", [(S, P, X), (X, S, P)])
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 3000])
def test_calls_and_chunks_take_it_whole(inputs: tuple[TensorSpec, ...], rows: int) -> None:
    backend = Backend()
    function = Function(FunctionSpec("evaluate", inputs, (Y,), (), True), backend, Guard("evaluate", False, None, {}))
    given = {"x": np.random.default_rng(0).normal(size=(rows, 2)), "p": np.arange(3.0), "s": np.array(0.5)}
    want = given["x"][:, :1] * given["p"] + given["s"]
    ordered = [given[tensor.name] for tensor in inputs]
    for found in (function(**given), function(*ordered), function(**given, chunk=2), function(**given, chunk=0)):
        np.testing.assert_array_equal(found.y, want)
    np.testing.assert_array_equal(function.run(("y",), given)[0], want)
    assert all((call["p"], call["s"]) == ((3,), ()) for call in backend.calls)
    if rows == 7:
        assert sorted(call["x"][0] for call in backend.calls)[:4] == [1, 2, 2, 2]


def test_the_fast_path_takes_exactly_what_is_promised() -> None:
    binder = Binder(FunctionSpec("evaluate", (X, P, S), (Y,), (), True))
    x, p, s = np.zeros((4, 2)), np.zeros(3), np.array(1.0)
    taken = binder.exact((x, p, s), {})
    assert taken is not None
    assert [taken[name] is array for name, array in (("x", x), ("p", p), ("s", s))] == [True] * 3
    for wrong in ((x, p[None], s), (x, p[:2], s), (x, p, s[None]), (x[0], p, s), (x, p.astype("float32"), s)):
        assert binder.exact(wrong, {}) is None
    assert binder.exact((), {"x": x, "p": p}) is None
    feeds = binder.feeds({"x": [[1, 2]], "p": [1, 2, 3], "s": 2})
    assert {name: array.shape for name, array in feeds.items()} == {"x": (1, 2), "p": (3,), "s": ()}
    with pytest.raises(InputError, match="it has no batch axis, all rows share one value"):
        binder.feeds({"x": x, "p": np.zeros((4, 3)), "s": s})
