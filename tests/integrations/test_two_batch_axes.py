"""Bundles with two batch axes, in what is built on bundles: each works, or says what to do instead."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pullback
import pytest
from pullback import InputError, explain
from pullback.cli import main
from pullback.integrations import casadi, tables
from pullback.integrations.ase import BundleCalculator
from pullback.integrations.differentiable_rows import DifferentiableRows
from pullback.integrations.one_sample import OneSample
from pullback.integrations.openmdao import BundleComp
from pullback.integrations.pyomo import BundleGreyBox
from pullback.serving import triton
from pullback.serving.batching import Batcher
from pullback.web.description import describe

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v2"
NAMES = ("own_points", "grid")
RNG = np.random.default_rng(0)
U = np.array([0.3, -0.8])

# They take samples of one batch: torch, JAX and PyTensor by DifferentiableRows, UM-Bridge and Tesseract by OneSample.
REFUSED: dict[str, Callable[[pullback.Bundle], Any]] = {
    "torch, JAX, PyTensor": lambda bundle: DifferentiableRows(bundle, "y", None, None),
    "UM-Bridge, Tesseract": OneSample,
    "OpenMDAO": BundleComp,
    "CasADi": casadi.function,
    "ASE": lambda bundle: BundleCalculator(bundle, "y", positions="x", given={"u": U}),
    "tables": lambda bundle: tables.evaluate(bundle, pd.DataFrame({"u[0]": [0.1], "u[1]": [0.2]})),
    "saliency": lambda bundle: explain.saliency(bundle, np.zeros((1, 2)), "y", wrt="u", given={"x": np.zeros((1, 2))}),
    "a web page": describe,
}


@pytest.fixture(params=NAMES)
def bundle(request: pytest.FixtureRequest) -> pullback.Bundle:
    return pullback.load(GOLDEN / f"{request.param}.pullback")


def arrays(bundle: pullback.Bundle, functions: int, points: int) -> dict[str, np.ndarray[Any, Any]]:
    sizes = {"B": functions, "points": points}
    return {
        tensor.name: RNG.normal(size=[sizes.get(str(size), size) for size in tensor.shape]).astype(tensor.dtype)
        for tensor in bundle.spec.inputs
    }


@pytest.mark.parametrize("label", REFUSED)
def test_what_takes_rows_alone_says_so(bundle: pullback.Bundle, label: str) -> None:
    with pytest.raises(InputError, match=r"each row at each of its points .* bundle.flat for one row at one point"):
        REFUSED[label](bundle)


def test_chunks_and_threads_split_the_functions(bundle: pullback.Bundle) -> None:
    given = arrays(bundle, 9, 4)
    for name, array in bundle(**given, chunk=2)._asdict().items():
        np.testing.assert_allclose(array, getattr(bundle(**given), name), rtol=1e-5, atol=1e-6)


def test_sizes_that_contradict_each_other_are_named() -> None:
    bundle = pullback.load(GOLDEN / "own_points.pullback")
    with pytest.raises(InputError, match=r"adj_y.*points"):
        bundle.vjp(**arrays(bundle, 2, 3), adj_y=np.zeros((2, 4)))
    with pytest.raises(InputError, match="x"):
        bundle(u=np.zeros((3, 2)), x=np.zeros((2, 5, 2)))


def test_pyomo_takes_the_flat_view(bundle: pullback.Bundle) -> None:
    one = BundleGreyBox(bundle, of="y", wrt="x", given={"u": U})
    flat = bundle.flat(of="y", wrt="x", given={"u": U})
    one.set_input_values(np.array([0.4, 0.1]))
    assert one.evaluate_outputs() == pytest.approx([flat.value(np.array([0.4, 0.1]))])
    np.testing.assert_allclose(one.evaluate_jacobian_outputs().toarray()[0], flat.gradient(np.array([0.4, 0.1])))


def test_servers_compute_functions_together(bundle: pullback.Bundle) -> None:
    """Requests of other numbers of points are calls of their own."""
    one, other = arrays(bundle, 1, 3), arrays(bundle, 2, 5)
    calls: list[int] = []

    async def served() -> Any:
        opened = asyncio.Event()

        async def compute(job: Any, *arguments: Any) -> Any:
            await opened.wait()
            return job(*arguments)

        batcher = Batcher(bundle.function("evaluate"), 100, 100, compute, calls.append)
        jobs = []
        for feeds in (one, one, other, one):
            jobs.append(asyncio.create_task(batcher.results(feeds, ("y", "dy_dx"))))
            await asyncio.sleep(0.001)
        opened.set()
        return await asyncio.gather(*jobs)

    for feeds, answer in zip((one, one, other, one), asyncio.run(served()), strict=True):
        np.testing.assert_allclose(answer["dy_dx"], bundle(**feeds).dy_dx, rtol=1e-5, atol=1e-6)
    assert sum(calls) == 5
    assert len(calls) == 3
    assert 'name: "dy_dx"' in triton.config("net", bundle.spec)


@pytest.mark.parametrize("command", ["info", "verify", "bench --batch 1,4 --seconds 0.01 --profile"])
def test_commands(bundle: pullback.Bundle, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *options = command.split()
    assert main([name, str(bundle.path), *options]) == 0
    said = capsys.readouterr().out
    assert command != "info" or "one derivative per sample and each of its points" in said


def test_eval_streams_functions(bundle: pullback.Bundle, tmp_path: pathlib.Path) -> None:
    given = arrays(bundle, 5, 3)
    np.savez(tmp_path / "in.npz", **given)
    assert main(["eval", str(bundle.path), str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["lap_y_x"], bundle(**given).lap_y_x, rtol=1e-5, atol=1e-6)


def test_prepared_calls_have_sizes_of_both(bundle: pullback.Bundle) -> None:
    given = arrays(bundle, 2, 5)
    call = bundle.prepared(2, points=5)
    np.testing.assert_array_equal(call(**given).dy_dx, bundle(**given).dy_dx)
