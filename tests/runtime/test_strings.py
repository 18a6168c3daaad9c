"""Inputs of strings: what is taken and what is refused, and that neither chunks, threads nor views change an answer."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import Bundle, InputError
from pullback.texts import as_texts

ASKED = ["up", "none", "", "日本", "a\0b", "Ärger", "Up"]
WEIGHTS = np.array([0.5, 7, 2, 3, -4, -1, 7], np.float32)
X = np.arange(14, dtype=np.float32).reshape(7, 2) / 4


class Sub(str):
    """A string of a subclass."""


class ArrayOf:
    """What another library might pass."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(ASKED, object)


FORMS: dict[str, Any] = {
    "a list": ASKED,
    "a tuple": tuple(ASKED),
    "str of a fixed length": np.array(ASKED),
    "str of any length": np.array(ASKED, np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else ASKED,
    "objects": np.array(ASKED, object),
    "NumPy's scalars": [np.str_(item) for item in ASKED],
    "a subclass": [Sub(item) for item in ASKED],
    "bytes": [item.encode() for item in ASKED],
    "an array of bytes": np.array([item.encode() for item in ASKED], object),
    "bytes of a fixed length": np.array([item.encode() for item in ASKED]),
    "reversed": np.array(ASKED[::-1], object)[::-1],
    "another array": ArrayOf(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(words: Bundle, form: str) -> None:
    y, dy_dx = words(word=FORMS[form], x=X)
    np.testing.assert_allclose(y, WEIGHTS * (X**2).sum(1), rtol=1e-6)
    np.testing.assert_allclose(dy_dx, 2 * X * WEIGHTS[:, None], rtol=1e-6)


def test_what_was_passed_is_not_changed(words: Bundle) -> None:
    given = np.array([item.encode() for item in ASKED], object)
    words(given, X)
    assert given.tolist() == [item.encode() for item in ASKED]


BAD: list[tuple[str, Callable[[Bundle], Any], str]] = [
    ("a number for a string", lambda b: b(["up", 7], X[:2]), "got 7 at (1,), of type int; pass str"),
    ("whole numbers", lambda b: b([1, 2], X[:2]), "got 1 at (0,), of type int"),
    ("an array of numbers", lambda b: b(np.zeros(2), X[:2]), "got float64 of shape (2,)"),
    ("booleans", lambda b: b(np.zeros(2, bool), X[:2]), "got bool of shape (2,)"),
    ("dates", lambda b: b(np.zeros(2, "datetime64[s]"), X[:2]), "got datetime64[s] of shape (2,)"),
    ("None for a string", lambda b: b(["up", None], X[:2]), "got None at (1,); fill what is missing"),
    ("NaN for a string", lambda b: b(np.array(["up", np.nan], object), X[:2]), "got nan at (1,); fill what is missing"),
    ("bytes that are no UTF-8", lambda b: b([b"up", b"\xff"], X[:2]), "bytes that are not UTF-8"),
    ("half a surrogate", lambda b: b(["up", "\ud800"], X[:2]), "which UTF-8 cannot encode"),
    ("a list for a string", lambda b: b([["up"], ["up", "down"]], X[:2]), "of type list; pass str"),
    ("one string", lambda b: b("up", X[:1]), "the batch axis is missing"),
    ("strings of two axes", lambda b: b([["up"]], X[:1]), "must be string of shape (B,), got list"),
    ("fewer strings than rows", lambda b: b(["up"], X[:2]), "B is 2 here and 1 in input 'word'"),
    ("a masked array of strings", lambda b: b(np.ma.masked_array(["up"], mask=[True]), X[:1]), "masked array"),
    ("strings for a float", lambda b: b(["up"], [["1", "2"]]), "input 'x' must be float32"),
    ("no strings", lambda b: b(x=X), "input 'word' is missing"),
    (
        "a flat view by strings",
        lambda b: b.flat(of="y", wrt="word", given={"x": X[0]}),
        "'word' is string; only floats have derivatives",
    ),
    ("a prepared call with strings", lambda b: b.prepared(B=2), "'word' holds strings, which have no buffer"),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_refused(words: Bundle, call: Callable[[Bundle], Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(words)
    assert message in str(caught.value)


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_rows(words: Bundle, rows: int) -> None:
    y, dy_dx = words(ASKED[:rows], X[:rows])
    assert y.dtype == np.float32 and dy_dx.shape == (rows, 2)
    np.testing.assert_allclose(y, (WEIGHTS * (X**2).sum(1))[:rows], rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_give_what_the_whole_gives(threads: int) -> None:
    bundle = pullback.load(str(_path()), threads=threads)
    word, x = np.resize(np.array(ASKED, object), 5000), np.resize(X, (5000, 2))
    whole = bundle(word, x, chunk=0)
    for chunk in (1000, 777):
        np.testing.assert_array_equal(bundle(word, x, chunk=chunk).dy_dx, whole.dy_dx)


def test_directions_and_parts(words: Bundle) -> None:
    seeds = np.stack([np.ones(7, np.float32), np.arange(7, dtype=np.float32)])
    both = words.vjp(ASKED, X, seeds).adj_x
    slope = words(ASKED, X, fetch="dy_dx").dy_dx
    np.testing.assert_allclose(both, seeds[..., None] * slope, rtol=1e-6)
    assert words(ASKED, X, fetch=("dy_dx",))._fields == ("dy_dx",)


def test_flat_view(words: Bundle) -> None:
    for text, weight in zip(ASKED, WEIGHTS, strict=True):
        view = words.flat(of="y", wrt="x", given={"word": text})
        point = np.array([1.0, -2.0])
        assert view.value(point) == pytest.approx(5 * weight)
        np.testing.assert_allclose(view.gradient(point), 2 * weight * point)
    with pytest.raises(InputError, match="'word' must be string of shape"):
        words.flat(of="y", wrt="x", given={"word": 3})


def test_a_guarded_and_a_pickled_bundle() -> None:
    guarded = pullback.load(str(_path()), check_finite=True, check_range="warn")
    again = pickle.loads(pickle.dumps(guarded))
    np.testing.assert_array_equal(again(ASKED, X).y, guarded(ASKED, X).y)
    assert again.verify().ok


def test_as_texts_keeps_the_shape() -> None:
    for shape in ((), (1,), (2, 3), (0, 2)):
        assert as_texts(np.full(shape, "a")).shape == shape
        assert as_texts(np.full(shape, "a").tolist() if shape != (0, 2) else np.empty(shape, str)).shape == shape


def _path() -> Any:
    from tests.runtime.conftest import FIXTURES

    return FIXTURES / "words.pullback"
