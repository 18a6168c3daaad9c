"""Sizes that must agree: axes of one name, and a seed with what it belongs to. One row is one call."""

from __future__ import annotations

import numpy as np
import pytest
from pullback import InputError
from pullback.calls.axes import sizes_that_follow
from pullback.inputs import Binder
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec


def function(name: str, inputs: str, *derivatives: DerivativeSpec, batched: bool = False) -> FunctionSpec:
    """``inputs`` such as ``x(atoms,3) species(atoms)``, all float64."""
    specs = []
    for text in inputs.split():
        label, _, sizes = text[:-1].partition("(")
        shape = tuple(int(size) if size.isdigit() else size for size in sizes.split(",") if size)
        specs.append(TensorSpec(label, "float64", shape))
    return FunctionSpec(name, tuple(specs), (TensorSpec("out", "float64", ()),), derivatives, batched)


HVP = DerivativeSpec("hvp(e, x)", "hvp", "hvp_e_x", "e", ("x",), "fwd_x")
JVP = DerivativeSpec("jvp(e, x)", "jvp", "fwd_e", "e", ("x",), "fwd_x")
VJP = DerivativeSpec("vjp(y, x)", "vjp", "adj_x", "y", ("x",), "adj_y")
NAMED = function("evaluate", "x(atoms,3) species(atoms) box(3)")
OLD = function("hvp", "x(x_0,3) fwd_x(fwd_x_0,3)", HVP)
NEW = function("jvp", "x(x_0,3) fwd_x(x_0,3)", JVP)
ADJOINT = function("vjp", "x(T,3) adj_y(T_minus_2,3)", VJP)
DOUBLED = function("vjp", "x(B,T,3) adj_y(B,T_times_2_plus_1)", VJP, batched=True)
SQUARE = function("evaluate", "m(n,n)")

AGREE: list[tuple[FunctionSpec, dict[str, tuple[int, ...]]]] = [
    (NAMED, {"x": (8, 3), "species": (8,), "box": (3,)}),
    (NAMED, {"x": (0, 3), "species": (0,), "box": (3,)}),
    (NAMED, {"x": (1, 3), "species": (1,), "box": (3,)}),
    (OLD, {"x": (8, 3), "fwd_x": (8, 3)}),
    (NEW, {"x": (0, 3), "fwd_x": (0, 3)}),
    (ADJOINT, {"x": (7, 3), "adj_y": (5, 3)}),
    (DOUBLED, {"x": (2, 4, 3), "adj_y": (2, 9)}),
    (SQUARE, {"m": (4, 4)}),
]
DISAGREE: list[tuple[FunctionSpec, dict[str, tuple[int, ...]], str]] = [
    (NAMED, {"x": (8, 3), "species": (7,), "box": (3,)}, "'species' .*atoms is 7 here and 8 in input 'x'"),
    (NAMED, {"x": (8, 3), "species": (1,), "box": (3,)}, "'species' .*atoms is 1 here and 8 in input 'x'"),
    (NAMED, {"x": (1, 3), "species": (8,), "box": (3,)}, "'species' .*atoms is 8 here and 1 in input 'x'"),
    (NAMED, {"x": (0, 3), "species": (8,), "box": (3,)}, "'species' .*atoms is 8 here and 0 in input 'x'"),
    *((spec, {"x": (8, 3), "fwd_x": (n, 3)}, f"'fwd_x' .*x_0 is {n} here and 8 in input 'x'")
      for spec in (OLD, NEW) for n in (0, 1, 2, 9)),
    *((ADJOINT, {"x": (7, 3), "adj_y": (n, 3)}, r"'adj_y' .*axis 0 must have size 5, as T is 7 in input 'x'")
      for n in (0, 1, 7)),
    (DOUBLED, {"x": (2, 4, 3), "adj_y": (2, 8)}, "axis 1 must have size 9, as B is 2 .*, T is 4 in input 'x'"),
    (DOUBLED, {"x": (2, 4, 3), "adj_y": (1, 9)}, "B is 1 here and 2 in input 'x'"),
    (SQUARE, {"m": (4, 3)}, "n is 3 here and 4 in it"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "shapes"), AGREE)
def test_sizes_that_agree_are_taken(spec: FunctionSpec, shapes: dict[str, tuple[int, ...]]) -> None:
    values = {name: np.zeros(shape) for name, shape in shapes.items()}
    feeds = Binder(spec).feeds(values)
    assert {name: array.shape for name, array in feeds.items()} == shapes


@pytest.mark.parametrize(("spec", "shapes", "problem"), DISAGREE)
def test_sizes_that_disagree_are_refused_with_both(
    spec: FunctionSpec, shapes: dict[str, tuple[int, ...]], problem: str
) -> None:
    values = {name: np.zeros(shape) for name, shape in shapes.items()}
    binder = Binder(spec)
    assert binder.exact((), values) is None
    with pytest.raises(InputError, match=problem):
        binder.feeds(values)


@pytest.mark.parametrize(
    ("axis", "size"),
    [
        ("T_minus_2", 5),
        ("T_times_3", 21),
        ("x_0_plus_1", 5),
        ("T_times_2_minus_1", 13),
        ("T_times_x_0", 28),
        ("T_plus_x_0_minus_1", 10),
        ("n_3_times_T_times_x_0_plus_2_times_T", 98),
        ("max_T_minus_9_and_0", 0),
        ("max_T_minus_2_and_0", 5),
        ("max_T_minus_2_and_0_end_plus_1", 6),
        ("floor_max_T_minus_2_and_0_end_and_2_end_plus_1", 3),
        ("mod_T_and_x_0", 3),
        ("trunc_T_minus_12_and_2", -2),
        ("floor_T_minus_12_and_2", -3),
        ("T_2", None),
        ("Time_plus_1", None),
        ("T_plus", None),
        ("max_T", None),
        ("other", None),
        ("d1", None),
    ],
)
def test_names_of_sizes_that_follow(axis: str, size: int | None) -> None:
    spec = function("vjp", f"x(T,x_0) adj_y({axis})", VJP)
    assert [item.size({"T": 7, "x_0": 4}) for item in sizes_that_follow(spec)] == ([] if size is None else [size])


def test_an_input_may_have_any_name_of_an_axis() -> None:
    """Only seeds belong to something: what the caller called ``T_plus_1`` may have any size."""
    spec = function("evaluate", "x(T,3) z(T_plus_1)")
    assert Binder(spec).feeds({"x": np.zeros((4, 3)), "z": np.zeros(9)})["z"].shape == (9,)
