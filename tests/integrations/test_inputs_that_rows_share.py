"""A parameter that all rows share, in what is built on bundles: OpenMDAO, CasADi, explanations, servers, rows."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import casadi
import numpy as np
import openmdao.api as om
import pullback
import pytest
import tensorflow as tf
from pullback import InputError, NotExportedError, explain
from pullback.cli import main
from pullback.integrations import casadi as ours_of
from pullback.integrations.differentiable_rows import DifferentiableRows
from pullback.integrations.openmdao import BundleComp
from pullback.serving.batching import Batcher
from pullback_export import export

S = tf.TensorSpec
RNG = np.random.default_rng(0)
P = np.array([0.4, -1.2, 0.7])


def model(p: Any, x: Any) -> dict[str, Any]:
    """The shared input comes first."""
    u = tf.sin(x[:, :1] * p) + x[:, 1:] * p**2
    return {"u": u, "s": tf.reduce_sum(u**2, 1)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> pullback.Bundle:
    wanted = ["jacobian(u, x)", "jacobian(u, p)", "gradient(s, x)", "gradient(s, p)"]
    inputs = [S([3], tf.float64, "p"), S([None, 2], tf.float64, "x")]
    path = tmp_path_factory.mktemp("shared") / "it.pullback"
    return export(model, path, wanted, inputs=inputs, batched=True, formats="onnx")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> pullback.Bundle:
    wanted = [f"{kind}({of}, {wrt})" for kind in ("vjp", "jvp") for of in "us" for wrt in "px"]
    inputs = [S([3], tf.float64, "p"), S([None, 2], tf.float64, "x")]
    path = tmp_path_factory.mktemp("shared") / "it.pullback"
    return export(model, path, wanted, inputs=inputs, batched=True, formats="onnx")


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_openmdao(
    bundle: pullback.Bundle,
    products: pullback.Bundle,
    points: int,
    mode: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # OpenMDAO writes reports into the current folder
    monkeypatch.setenv("OPENMDAO_REPORTS", "0")
    x = RNG.normal(size=(points, 2))
    want = bundle(P, x)
    for one in (bundle, products):
        found = om.Problem()
        found.model.add_subsystem("net", BundleComp(one, vec_size=points), promotes=["*"])
        found.setup(mode=mode)
        found.set_val("p", P)
        found.set_val("x", x if points > 1 else x[0])
        found.run_model()
        np.testing.assert_allclose(found.get_val("u").reshape(points, 3), want.u, rtol=1e-12)
        totals = found.compute_totals(["u", "s"], ["p", "x"])
        np.testing.assert_allclose(totals["u", "p"], want.du_dp.reshape(-1, 3), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(totals["s", "p"], want.ds_dp, rtol=1e-12, atol=1e-14)
        by_x = totals["u", "x"].reshape(points, 3, points, 2)
        for row in range(points):
            np.testing.assert_allclose(by_x[row, :, row], want.du_dx[row], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("source", "backend"), [("bundle", "native"), ("bundle", "callback"), ("products", "callback")]
)
def test_casadi(source: str, backend: str, request: pytest.FixtureRequest) -> None:
    one, reference = request.getfixturevalue(source), request.getfixturevalue("bundle")
    function = ours_of.function(one, of=["u", "s"], wrt=["p", "x"], backend=backend)
    x = RNG.normal(size=2)
    want = reference(P, x[None])
    u, s = function(P, x)
    np.testing.assert_allclose(np.array(u).ravel(), want.u[0], rtol=1e-12)
    np.testing.assert_allclose(float(s), want.s[0], rtol=1e-12)
    p_, x_ = casadi.SX.sym("p", 3), casadi.SX.sym("x", 2)
    theirs = casadi.Function("f", [p_, x_], [casadi.sin(x_[0] * p_) + x_[1] * p_**2])
    found, expected = function.jacobian()(P, x, 0, 0), theirs.jacobian()(P, x, 0)
    for left, right in zip(found[:2], expected, strict=True):
        np.testing.assert_allclose(np.array(left), np.array(right), rtol=1e-12, atol=1e-14)


def test_files_of_casadi_need_jacobians(products: pullback.Bundle) -> None:
    """Unit seeds are rows of one batch, which a vjp by a shared input adds up."""
    with pytest.raises(NotExportedError, match="export the model with 'jacobian"):
        ours_of.function(products, of=["u"], wrt=["p", "x"], backend="native")


def test_explanations_take_it_as_given(bundle: pullback.Bundle) -> None:
    x = RNG.normal(size=(4, 2))
    given = {"p": P}
    found = explain.integrated_gradients(bundle, x, of="s", wrt="x", given=given, baseline=np.zeros(2))
    moved = bundle(P, x).s - bundle(P, np.zeros_like(x)).s
    np.testing.assert_allclose(found.sum(1), moved, rtol=1e-3)
    with pytest.raises(InputError, match="'p' has no batch axis, all rows share it"):
        explain.saliency(bundle, P, of="s", wrt="p", given={"x": x[:1]})


def test_rows_of_frameworks_take_it_as_given(bundle: pullback.Bundle) -> None:
    x = RNG.normal(size=(4, 2))
    rows = DifferentiableRows(bundle, "s", None, {"p": P})
    value, jacobian = rows.both(x)
    want = bundle(P, x)
    np.testing.assert_allclose(value[:, 0], want.s, rtol=1e-12)
    np.testing.assert_allclose(jacobian[:, 0], want.ds_dx, rtol=1e-12)
    with pytest.raises(InputError, match=r"'p' has no batch axis.*given="):
        DifferentiableRows(bundle, "s", None, None)


def test_a_server_joins_requests_with_equal_values_of_it(bundle: pullback.Bundle) -> None:
    """Those with other values are calls of their own, and each gets its own answer."""
    function = bundle.function("evaluate")
    given = [{"p": P + number % 2, "x": RNG.normal(size=(1 + number % 3, 2))} for number in range(6)]
    calls: list[int] = []

    async def run() -> Any:
        opened = asyncio.Event()

        async def compute(job: Any, *arguments: Any) -> Any:
            await opened.wait()
            return job(*arguments)

        batcher = Batcher(function, 100, 100, compute, calls.append)
        jobs = []
        for feeds in given:
            jobs.append(asyncio.create_task(batcher.results(feeds, ("u", "du_dp"))))
            await asyncio.sleep(0.001)
        opened.set()
        return await asyncio.gather(*jobs)

    for feeds, answer in zip(given, asyncio.run(run()), strict=True):
        want = function(**feeds)
        np.testing.assert_allclose(answer["u"], want.u, rtol=1e-12)
        np.testing.assert_allclose(answer["du_dp"], want.du_dp, rtol=1e-12)
    assert len(calls) == 3  # the first went alone, then those that wait with its value, and those with the other
    assert sum(calls) == sum(len(feeds["x"]) for feeds in given)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 300])
def test_eval_streams_the_rows_beside_it(bundle: pullback.Bundle, rows: int, tmp_path: pathlib.Path) -> None:
    x = RNG.normal(size=(rows, 2))
    np.savez(tmp_path / "in.npz", x=x, p=P)
    arguments = ["eval", str(bundle.path), str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz"), "--quiet"]
    assert main([*arguments, "--rows", "64"]) == 0
    want = bundle(P, x)
    with np.load(tmp_path / "out.npz") as found:
        for name, array in want._asdict().items():
            np.testing.assert_allclose(found[name], array, rtol=1e-12)
            assert found[name].shape == array.shape


EVAL: list[tuple[dict[str, Any], tuple[str, ...], int, str]] = [
    ({"x": np.zeros((3, 2))}, (), 1, "there is no array 'p', which all rows share"),
    ({"x": np.zeros((3, 2)), "p": np.zeros((3, 3))}, (), 1, "it has no batch axis, all rows share one value"),
    ({"x": np.zeros((3, 2)), "p": P}, ("--dask", "tcp://nowhere:1"), 2, "all rows share p"),
]


@pytest.mark.parametrize(("arrays", "options", "code", "problem"), EVAL)
def test_eval_says_what_is_wrong_with_it(
    bundle: pullback.Bundle,
    arrays: dict[str, Any],
    options: tuple[str, ...],
    code: int,
    problem: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    arguments = ["eval", str(bundle.path), str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz"), *options]
    assert main(arguments) == code
    assert problem in capsys.readouterr().err
