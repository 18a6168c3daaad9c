"""Laws between derivatives: each holds for a right pair and names both requests of a wrong one."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.derivatives.requests import parse_request
from pullback_export.gate.laws import BOUND, Answered, check_laws

RNG = np.random.default_rng(0)
B, OUT, IN = 3, 2, 4
A = RNG.normal(size=(OUT, IN))  # y = A x + sum_k C[., j, k] x_j x_k / 2, at one point for each row
C = RNG.normal(size=(B, IN, IN))
C = C + C.swapaxes(1, 2)
J = RNG.normal(size=(B, OUT, IN))
W, T = RNG.normal(size=(B, OUT)), RNG.normal(size=(B, IN))


def answered(text: str, result: Any, seed: Any = None, widths: tuple[int, ...] = (IN,)) -> Answered:
    return Answered(parse_request(text), np.asarray(result), seed, widths)


VJP = answered("vjp(y, x)", np.einsum("bo,boi->bi", W, J), W)
JVP = answered("jvp(y, x)", np.einsum("boi,bi->bo", J, T), T)
JACOBIAN = answered("jacobian(y, x)", J)
HESSIAN = answered("hessian(e, x)", C, None, (IN, IN))
HVP = answered("hvp(e, x)", np.einsum("bij,bj->bi", C, T), T)
LAPLACIAN = answered("laplacian(e, x)", np.trace(C, axis1=1, axis2=2))
MIXED = answered("hessian(e, x, t)", J, None, (OUT, IN))
OTHER = answered("hessian(e, t, x)", J.swapaxes(1, 2), None, (IN, OUT))
MIXED_HVP = answered("hvp(e, x, t)", np.einsum("bij,bj->bi", J, T), T, (OUT, IN))
CHAIN = answered("derivative(e, x, t)", J[:, 0, 0])
NIAHC = answered("derivative(e, t, x)", J[:, 0, 0])
GRADIENT = answered("gradient(y, x)", J[:, :1])
OF_ONE = answered("jacobian(y, x)", J[:, :1])

PAIRS = (
    (VJP, JVP, "<w, jvp t> == <vjp w, t>"),
    (JACOBIAN, VJP, "w J == vjp w"),
    (JACOBIAN, JVP, "J t == jvp t"),
    (GRADIENT, OF_ONE, "gradient == Jacobian"),
    (HESSIAN, HVP, "H v == hvp v"),
    (HESSIAN, LAPLACIAN, "trace H == Laplacian"),
    (MIXED, OTHER, "order of differentiation"),
    (MIXED, MIXED_HVP, "H v == hvp v"),
    (OTHER, MIXED_HVP, "H v == hvp v"),
    (CHAIN, NIAHC, "order of differentiation"),
)


@pytest.mark.parametrize(("one", "other", "law"), PAIRS, ids=[f"{i}-{pair[2]}" for i, pair in enumerate(PAIRS)])
def test_a_law_holds_and_names_who_breaks_it(one: Answered, other: Answered, law: str) -> None:
    for pair in ([one, other], [other, one]):
        report = check_laws(pair, BOUND, "it")
        assert report.ok
        assert any(row.stage == f"law {law}: it" for row in report.rows)
    wrong = other.result.copy()
    wrong.flat[-1] += 1e-4
    report = check_laws([one, dataclasses.replace(other, result=wrong)], BOUND, "it")
    problems = [row.problem for row in report.failures]
    assert any(str(one.request) in text and str(other.request) in text and law in text for text in problems)


def test_a_hessian_is_symmetric() -> None:
    assert check_laws([HESSIAN], BOUND, "it").ok
    wrong = C.copy()
    wrong[1, 0, 2] += 1e-4
    (row,) = check_laws([answered("hessian(e, x)", wrong, None, (IN, IN))], BOUND, "it").failures
    assert "H == H'" in row.problem


def test_what_cancels_is_no_violation() -> None:
    """Terms of 1e9 whose sum is small: they are compared with their own size."""
    big = answered("jvp(y, x)", [[1e9, -1e9]], np.ones((1, 2)))
    back = answered("vjp(y, x)", [[1e9 + 1, -1e9]], np.ones((1, 2)))
    assert check_laws([big, back], BOUND, "it").ok


def test_a_zero_beside_a_number_is_a_violation() -> None:
    zeros = dataclasses.replace(JVP, result=np.zeros_like(JVP.result))
    assert not check_laws([VJP, zeros], BOUND, "it").ok


def test_requests_about_different_things_are_bound_by_nothing() -> None:
    elsewhere = answered("jvp(y, t)", JVP.result * 2, T)
    assert check_laws([VJP, elsewhere], BOUND, "it").rows == ()


@tf.custom_gradient
def lopsided(x: Any) -> Any:
    """Its gradient is right; that of its gradient, which forward mode is made of, is lost."""

    def grad(dy: Any) -> Any:
        return tf.stop_gradient(dy) * tf.cos(x)

    return tf.sin(x), grad


def test_a_bundle_that_breaks_one_is_not_written(tmp_path: pathlib.Path) -> None:
    inputs = [tf.TensorSpec([None, 3], tf.float32, name="x")]
    with pytest.raises(pullback.ParityError, match=r"vjp\(y, x\) and jvp\(y, x\) contradict each other"):
        export(lambda x: {"y": lopsided(x)}, tmp_path / "it.pullback", ["vjp(y, x)", "jvp(y, x)"], inputs=inputs)
    assert list(tmp_path.iterdir()) == []
    bundle = export(lambda x: {"y": lopsided(x)}, tmp_path / "it.pullback", ["vjp(y, x)"], inputs=inputs)
    assert bundle.verify().ok
