"""The laws that the gate holds weighted Hessians to find one that is wrong, and pass one that is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pullback_export import Hessian, WeightedHessian
from pullback_export.derivatives.kinds.second_products import VectorHVP
from pullback_export.gate.laws import BOUND, Answered, check_laws

SYMMETRIC, SUM = "H == H'", "sum of w H == weighted Hessian"


def answers() -> tuple[Answered, Answered]:
    """Of two samples and three outputs by four components."""
    rng = np.random.default_rng(0)
    half, weights = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3))
    dense = half + half.swapaxes(2, 3)
    weighted = np.einsum("bi,bijk->bjk", weights, dense)
    widths = (4, 4)
    return (
        Answered(Hessian("y", "x"), dense, None, widths),
        Answered(WeightedHessian("y", "x"), weighted, weights, widths),
    )


def broken(answered: Any) -> set[str]:
    return {row.stage.split(":")[0] for row in check_laws(answered, BOUND, "here").failures}


def test_right_ones_pass() -> None:
    report = check_laws(answers(), BOUND, "here")
    assert report.ok
    assert [row.stage for row in report.rows].count(f"law {SYMMETRIC}: here") == 2
    assert f"law {SUM}: here" in [row.stage for row in report.rows]


@pytest.mark.parametrize(
    ("where", "laws"),
    [((0, 1, 2), {f"law {SYMMETRIC}", f"law {SUM}"}), ((1, 3, 3), {f"law {SUM}"})],
)
def test_a_wrong_entry_is_found(where: tuple[int, ...], laws: set[str]) -> None:
    dense, weighted = answers()
    weighted.result[where] += 1e-3
    assert broken((dense, weighted)) == laws


def test_mixed_ones_in_either_order_are_transposes() -> None:
    rng = np.random.default_rng(1)
    block, weights = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3))
    one = Answered(WeightedHessian("y", "x", "t"), block, weights, (3, 2))
    other = Answered(WeightedHessian("y", "t", "x"), block.swapaxes(1, 2).copy(), weights, (2, 3))
    assert broken((one, other)) == set()
    other.result[0, 1, 2] += 1e-3
    assert broken((one, other)) == {"law order of differentiation"}


def product(dense: Answered, weights: Any) -> Answered:
    """What the hvp of several outputs gives."""
    direction = np.random.default_rng(2).normal(size=(2, 4))
    result = np.einsum("bi,bijk,bk->bj", weights, dense.result, direction)
    return Answered(VectorHVP("y", "x"), result, direction, (4,), weights)


@pytest.mark.parametrize("number", [0, 1], ids=["dense", "weighted"])
def test_a_product_of_several_outputs(number: int) -> None:
    both = answers()
    hvp = product(both[0], both[1].seed)
    law = "law sum of w H v == hvp v"
    for pair in ((both[number], hvp), (hvp, both[number])):
        report = check_laws(pair, BOUND, "here")
        assert report.ok
        assert f"{law}: here" in [row.stage for row in report.rows]
    hvp.result[1, 2] += 1e-3
    assert broken((both[number], hvp)) == {law}


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_a_mixed_block(transposed: bool) -> None:
    rng = np.random.default_rng(3)
    dense, weights, direction = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    result = np.einsum("bi,bijk,bk->bj", weights, dense, direction)
    hvp = Answered(VectorHVP("y", "x", "t"), result, direction, (4, 2), weights)
    hessian = Answered(Hessian("y", "x", "t"), dense, None, (4, 2))
    if transposed:
        hessian = Answered(Hessian("y", "t", "x"), dense.swapaxes(2, 3), None, (2, 4))
    assert broken((hessian, hvp)) == set()
    result[1, 2] += 1e-3
    assert broken((hessian, hvp)) == {"law sum of w H v == hvp v"}


def test_products_with_other_weights_are_not_compared() -> None:
    dense, weighted = answers()
    assert broken((weighted, product(dense, np.ones((2, 3))))) == set()
