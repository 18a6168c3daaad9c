"""What the caller may get wrong: one row is one call and a piece of the message it gives."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import Bundle, InputError, NotExportedError

ROW = np.zeros((1, 3), np.float32)


class Liar:
    """An object whose ``__array__`` fails."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("no numbers today")


def good(**changed: Any) -> dict[str, Any]:
    """Inputs of ``mixed``, some of them changed."""
    return {"gain": 1.0, "v": [1.0, 2.0], "w": [3.0, 4.0], "index": 0, "negate": False, **changed}


NET: list[tuple[str, Callable[[Bundle], Any], str]] = [
    ("nothing", lambda b: b(), "input 'x' is missing"),
    ("a dictionary", lambda b: b({"x": ROW}), "inputs by name are passed as **inputs; it takes x (float32 (B, 3))"),
    ("two by position", lambda b: b(ROW, ROW), "2 positional inputs"),
    ("position and name", lambda b: b(ROW, x=ROW), "both by position and by name; remove one"),
    ("wrong name", lambda b: b(z=ROW), "unknown input 'z'"),
    ("one name too many", lambda b: b(x=ROW, z=ROW), "unknown input 'z'"),
    ("a seed that evaluate does not take", lambda b: b(x=ROW, adj_y=[1.0]), "unknown input 'adj_y'"),
    ("a scalar", lambda b: b(0.5), "got float (read as float64 of shape ())"),
    ("a NumPy scalar", lambda b: b(np.float32(0.5)), "of shape ()"),
    ("a vector", lambda b: b(np.zeros(3, np.float32)), "the batch axis is missing"),
    ("a flat list", lambda b: b([1.0, 2.0, 3.0]), "the batch axis is missing"),
    ("three axes", lambda b: b(np.zeros((1, 1, 3), np.float32)), "of shape (1, 1, 3)"),
    ("too few columns", lambda b: b(np.zeros((2, 2), np.float32)), "axis 1 must have size 3"),
    ("too many columns", lambda b: b([[1.0, 2.0, 3.0, 4.0]]), "axis 1 must have size 3"),
    ("transposed", lambda b: b(np.zeros((3, 2), np.float32)), "axis 1 must have size 3"),
    ("no columns", lambda b: b(np.zeros((2, 0), np.float32)), "axis 1 must have size 3"),
    ("an empty list", lambda b: b([]), "the batch axis is missing"),
    ("complex", lambda b: b(np.zeros((1, 3), complex)), "complex128"),
    ("a complex list", lambda b: b([[1j, 0, 0]]), "complex128"),
    ("a string", lambda b: b("hello"), "got str"),
    ("strings", lambda b: b([["1", "2", "3"]]), "<U1"),
    ("bytes", lambda b: b(b"abc"), "got bytes"),
    ("None", lambda b: b(None), "got NoneType"),
    ("a None inside", lambda b: b([[1.0, None, 2.0]]), "object"),
    ("an object", lambda b: b(object()), "got object"),
    ("an object array", lambda b: b(np.zeros((1, 3), object)), "object"),
    ("Decimals", lambda b: b([[decimal.Decimal(1)] * 3]), "object"),
    ("a dict by name", lambda b: b(x={"x": ROW}), "got dict"),
    ("a set", lambda b: b({1.0, 2.0}), "got set"),
    ("a generator", lambda b: b(i for i in range(3)), "got generator"),
    ("a ragged list", lambda b: b([[1.0, 2.0], [3.0]]), "list that is not an array"),
    ("a masked array", lambda b: b(np.ma.masked_array(ROW, mask=True)), "masked array"),
    ("dates", lambda b: b(np.zeros((1, 3), "datetime64[s]")), "datetime64"),
    ("durations", lambda b: b(np.zeros((1, 3), "timedelta64[s]")), "timedelta64"),
    ("a structured array", lambda b: b(np.zeros((1, 3), [("a", "f4")])), "of shape (1, 3)"),
    ("an array that fails", lambda b: b(Liar()), "no numbers today"),
    ("beyond float32", lambda b: b([[1e300, 0, 0]]), "the value 1e+300, which float32 cannot hold"),
    ("a whole number beyond float64", lambda b: b([[10**400, 0, 0]]), "got list"),
    ("unknown fetch", lambda b: b(ROW, fetch=("dz_dx",)), "no output 'dz_dx'"),
    ("fetch of an input", lambda b: b(ROW, fetch=["x"]), "no output 'x'"),
    ("empty fetch", lambda b: b(ROW, fetch=()), "at least one"),
    ("fetch twice", lambda b: b(ROW, fetch=("y", "y")), "each output once"),
    ("fetch a number", lambda b: b(ROW, fetch=1), "fetch must be names"),
    ("fetch of numbers", lambda b: b(ROW, fetch=[1]), "no output 1"),
    ("fetch of lists", lambda b: b(ROW, fetch=[["y"]]), "no output ['y']"),
    ("fetch of arrays", lambda b: b(ROW, fetch=[np.zeros((2, 2))]), "no output array([[0., 0.], [0., 0.]])"),
    ("fetch of an array and a name", lambda b: b(ROW, fetch=["y", np.array("y")]), "no output array('y'"),
    ("an array for chunk", lambda b: b(ROW, chunk=np.zeros((2, 1))), "got array([[0.], [0.]])"),  # type: ignore[arg-type]
    ("negative chunk", lambda b: b(ROW, chunk=-1), "chunk must be"),
    ("fractional chunk", lambda b: b(ROW, chunk=1.5), "chunk must be"),
    ("vjp without seed", lambda b: b.vjp(ROW), "input 'adj_y' is missing"),
    ("vjp with the seed of jvp", lambda b: b.vjp(x=ROW, fwd_x=ROW), "unknown input 'fwd_x'"),
    ("seed of another batch", lambda b: b.vjp(ROW, [1.0, 2.0]), "B is 2 here and 1 in input 'x'"),
    ("a scalar seed", lambda b: b.vjp(ROW, 1.0), "the batch axis is missing"),
    ("seed with two axes of directions", lambda b: b.vjp(ROW, np.zeros((2, 2, 1))), "of shape (2, 2, 1)"),
    ("directions of another batch", lambda b: b.vjp(ROW, np.zeros((4, 2))), "B is 2 here and 1"),
    ("directions of the wrong width", lambda b: b.jvp(ROW, np.zeros((4, 1, 2))), "axis 1 must have size 3"),
    ("a ragged seed", lambda b: b.vjp(ROW, [[1.0], [1.0, 2.0]]), "list that is not an array"),
    ("prepared without a size", lambda b: b.prepared(), "the size of 'B'"),
    ("prepared for a negative size", lambda b: b.prepared(-1), "the size of 'B'"),
    ("prepared for half a row", lambda b: b.prepared(0.5), "the size of 'B'"),  # type: ignore[arg-type]
    ("prepared for an unknown output", lambda b: b.prepared(1, fetch=["z"]), "no output 'z'"),
    ("prepared, called with another size", lambda b: b.prepared(2)(np.zeros((3, 3))), "a prepared call takes"),
    ("prepared, called with another name", lambda b: b.prepared(1)(z=ROW), "a prepared call takes"),
    ("prepared, called with complex numbers", lambda b: b.prepared(1)(ROW * 1j), "a prepared call takes"),
    ("prepared, called with too many", lambda b: b.prepared(1)(ROW, ROW), "a prepared call takes"),
]

MIXED: list[tuple[str, Callable[[Bundle], Any], str]] = [
    ("a list of all inputs", lambda b: b([np.array(item) for item in good().values()]), "one by one, not in a list"),
    ("free sizes differ", lambda b: b(**good(w=[1.0])), "n is 1 here and 2 in input 'v'"),
    ("a scalar for a vector", lambda b: b(**good(v=1.0)), "'v' must be float64 of shape (n,)"),
    ("a vector for a scalar", lambda b: b(**good(gain=[1.0])), "'gain' must be float64 of shape ()"),
    ("a fraction for a whole number", lambda b: b(**good(index=0.5)), "convert it yourself"),
    ("a float that is whole", lambda b: b(**good(index=1.0)), "convert it yourself"),
    ("too large a whole number", lambda b: b(**good(index=2**40)), "1099511627776, which int32 cannot hold"),
    ("a number for a flag", lambda b: b(**good(negate=1)), "'negate' must be bool"),
    ("a string for a flag", lambda b: b(**good(negate="no")), "'negate' must be bool"),
    ("None for a scalar", lambda b: b(**good(gain=None)), "got NoneType"),
    ("chunks of what has no batch", lambda b: b(**good(), chunk=1), "chunk needs a batch axis"),
]

MISSING: list[tuple[str, Callable[[Bundle], Any]]] = [
    ("vjp", lambda b: b.vjp),
    ("jvp", lambda b: b.jvp),
    ("hvp", lambda b: b.hvp),
    ("prepared", lambda b: b.prepared(function="vjp")),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in NET], ids=[row[0] for row in NET])
def test_batched(net: Bundle, call: Callable[[Bundle], Any], message: str) -> None:
    with pytest.raises((InputError, NotExportedError)) as caught:
        call(net)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in MIXED], ids=[row[0] for row in MIXED])
def test_not_batched(mixed: Bundle, call: Callable[[Bundle], Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(mixed)
    assert message in str(caught.value)


@pytest.mark.parametrize("call", [row[1] for row in MISSING], ids=[row[0] for row in MISSING])
def test_function_that_was_not_exported(mixed: Bundle, call: Callable[[Bundle], Any]) -> None:
    with pytest.raises(NotExportedError, match="holds no function"):
        call(mixed)


def test_the_graph_rejects_what_only_it_can_know(mixed: Bundle) -> None:
    with pytest.raises(pullback.PullbackError, match="evaluate: ONNX Runtime failed"):
        mixed(**good(index=99))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_check_finite(net: Bundle, value: float) -> None:
    x = np.array([[0.0, 0.0, 0.0], [0.0, value, 0.0]], np.float32)
    strict = pullback.load(net.path, check_finite=True)
    assert strict(x[:1]).y.shape == (1,)
    with pytest.raises(InputError, match=r"input 'x' is (nan|inf|-inf) at \(1, 1\); check_finite is on"):
        strict(x)
    assert net(x).y.shape == (2,)  # without it, the numbers are the model's


def test_check_range(net: Bundle) -> None:
    outside = np.full((1, 3), 9.0, np.float32)
    with pytest.raises(InputError, match=r"'x' spans \[9, 9\], parity was measured on \[-4, 4\]"):
        pullback.load(net.path, check_range="raise")(outside)
    with pytest.warns(pullback.RangeWarning, match="parity was measured on"):
        pullback.load(net.path, check_range="warn")(outside)
    assert pullback.load(net.path, check_range="raise")(ROW).y.shape == (1,)
