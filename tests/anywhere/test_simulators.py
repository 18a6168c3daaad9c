"""Bundles in UM-Bridge and in Tesseract: their own servers, clients and checks."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.errors import InputError, NotExportedError
from pullback.integrations.one_sample import OneSample
from pullback.manifest import TensorSpec

from tests.anywhere.conftest import GOLDEN

markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "simulators.md"
FIELD, BOWL = GOLDEN / "field.pullback", GOLDEN / "bowl.pullback"
X = [0.3, -1.2, 0.7]


def page_file(name: str) -> str:
    tokens = markdown_it.MarkdownIt().parse(PAGE.read_text("utf-8"))
    (found,) = [token.content for token in tokens if token.type == "fence" and token.content.startswith(f"# {name}\n")]
    return str(found)


def row(name: str, **more: Any) -> np.ndarray:
    """One result of the bundle at X, without its batch axis."""
    return getattr(pullback.load(FIELD)(np.array([X]), **more), name)[0]


@contextlib.contextmanager
def served(folder: Path, code: str, port: int) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            assert process.poll() is None
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """UM-Bridge's own client, of the server that the page shows, for field.pullback and its energy alone."""
    umbridge = pytest.importorskip("umbridge", reason="the extra umbridge is not installed")
    folder, port = tmp_path_factory.mktemp("umbridge"), free_port()
    loaded = f'pullback.load(r"{FIELD}")'
    models = f'UmbridgeModel({loaded}, "field"), UmbridgeModel({loaded}, "energy", of=["energy"])'
    shown = 'UmbridgeModel(pullback.load("bowl.pullback"), "bowl")'
    code = page_file("server.py")
    assert shown in code and "4242" in code
    with served(folder, code.replace(shown, models).replace("4242", str(port)), port) as url:
        yield lambda name: umbridge.HTTPModel(url, name)


def test_umbridge_evaluates(client: Any) -> None:
    model = client("field")
    assert (model.get_input_sizes(), model.get_output_sizes()) == ([3], [1, 2])
    energy, flow = model([X])
    np.testing.assert_allclose(energy[0], row("energy"), rtol=1e-14)
    np.testing.assert_allclose(flow, row("flow"), rtol=1e-14)


def test_umbridge_differentiates(client: Any) -> None:
    model, sens, vec = client("field"), [0.5, -2.0], [1.0, 0.2, -0.4]
    jacobian = row("dflow_dx")
    np.testing.assert_allclose(model.gradient(1, 0, [X], sens), np.array(sens) @ jacobian, rtol=1e-13)
    np.testing.assert_allclose(model.gradient(0, 0, [X], [3.0]), 3 * row("denergy_dx"), rtol=1e-13)
    np.testing.assert_allclose(model.apply_jacobian(1, 0, [X], vec), jacobian @ vec, rtol=1e-13)
    assert model.supports_gradient() and model.supports_apply_jacobian()


def test_umbridge_has_second_derivatives_where_every_output_has(client: Any) -> None:
    assert not client("field").supports_apply_hessian()  # the flow has none
    model, vec = client("energy"), [1.0, 0.2, -0.4]
    assert model.supports_apply_hessian()
    found = model.apply_hessian(0, 0, 0, [X], [2.0], vec)
    np.testing.assert_allclose(found, 2 * row("d2energy_dx2") @ vec, rtol=1e-13)


def test_umbridge_refuses_other_sizes(client: Any) -> None:
    with pytest.raises(Exception, match="invalid length"):
        client("field")([[1.0, 2.0]])


@pytest.fixture
def tesseract(tmp_path: Path) -> Any:
    """The page's tesseract_api.py beside a bundle, in Tesseract's runtime."""
    core = pytest.importorskip("tesseract_core", reason="the extra tesseract is not installed")
    (tmp_path / "tesseract_api.py").write_text(page_file("tesseract_api.py").replace("bowl.pullback", "field.pullback"))
    shutil.copytree(FIELD, tmp_path / "field.pullback")
    with core.Tesseract.from_tesseract_api(tmp_path / "tesseract_api.py") as found:
        yield found


def test_tesseract_gives_the_bundle_s_numbers(tesseract: Any) -> None:
    x = np.array(X)
    found = tesseract.apply({"x": x})
    np.testing.assert_allclose(found["energy"], row("energy"), rtol=1e-14)
    np.testing.assert_allclose(found["flow"], row("flow"), rtol=1e-14)
    jacobian = tesseract.jacobian({"x": x}, ["x"], ["energy", "flow"])
    np.testing.assert_allclose(jacobian["flow"]["x"], row("dflow_dx"), rtol=1e-13)
    np.testing.assert_allclose(jacobian["energy"]["x"], row("denergy_dx"), rtol=1e-13)
    t, w, e = np.array([1.0, 0.2, -0.4]), np.array([0.5, -2.0]), 1.5
    pushed = tesseract.jacobian_vector_product({"x": x}, ["x"], ["flow"], {"x": t})
    np.testing.assert_allclose(pushed["flow"], row("dflow_dx") @ t, rtol=1e-13)
    pulled = tesseract.vector_jacobian_product({"x": x}, ["x"], ["energy", "flow"], {"energy": e, "flow": w})
    np.testing.assert_allclose(pulled["x"], e * row("denergy_dx") + w @ row("dflow_dx"), rtol=1e-13)
    shapes = tesseract.abstract_eval({"x": {"shape": [3], "dtype": "float64"}})
    assert tuple(shapes["flow"]["shape"]) == (2,) and tuple(shapes["energy"]["shape"]) == ()


def test_tesseract_s_own_check_of_derivatives(tmp_path: Path) -> None:
    checks = pytest.importorskip(
        "tesseract_core.runtime.testing.finite_differences", reason="tesseract is not installed"
    )
    core = pytest.importorskip("tesseract_core.runtime.core", reason="the extra tesseract is not installed")
    (tmp_path / "tesseract_api.py").write_text(page_file("tesseract_api.py").replace("bowl.pullback", "field.pullback"))
    shutil.copytree(FIELD, tmp_path / "field.pullback")
    module = core.load_module_from_path(tmp_path / "tesseract_api.py")
    inputs = {"inputs": {"x": {"object_type": "array", "shape": [3], "dtype": "float64"}}}
    inputs["inputs"]["x"]["data"] = {"buffer": X, "encoding": "json"}
    endpoints = set()
    for endpoint, failures, evaluations in checks.check_gradients(
        module, inputs, rtol=1e-4, show_progress=False, seed=1
    ):
        assert not failures and evaluations
        endpoints.add(endpoint)
    assert endpoints == {"jacobian", "jacobian_vector_product", "vector_jacobian_product"}


def test_tesseract_accepts_the_files_of_the_page(tmp_path: Path) -> None:
    parse = pytest.importorskip("tesseract_core.sdk.api_parse", reason="the extra tesseract is not installed")
    for name in ("tesseract_api.py", "tesseract_config.yaml"):
        (tmp_path / name).write_text(page_file(name))
    parse.validate_tesseract_api(tmp_path)
    assert parse.get_config(tmp_path).build_config.package_data == (("bowl.pullback", "bowl.pullback"),)


def test_a_float32_bundle_keeps_its_dtype() -> None:
    pytest.importorskip("tesseract_core", reason="the extra tesseract is not installed")
    from pullback.integrations.tesseract import BundleTesseract

    bowl = BundleTesseract(pullback.load(BOWL))
    found = bowl.apply(bowl.InputSchema(x=np.array([0.5], np.float32)))
    assert found["y"].dtype == np.float32
    np.testing.assert_array_equal(found["y"], pullback.load(BOWL)([[0.5]]).y[0])


def test_what_does_not_fit_is_refused() -> None:
    bundle = pullback.load(FIELD)
    with pytest.raises(InputError, match="no input 'z'"):
        OneSample(bundle, {"z": 1})
    with pytest.raises(InputError, match="nothing is left to vary"):
        OneSample(bundle, {"x": X})
    with pytest.raises(NotExportedError, match="no output 'heat'"):
        OneSample(bundle, of=["heat"])
    spec = bundle.spec
    for name, tensor, says in (
        ("free", TensorSpec("x", "float64", ("B", "T")), "one sample must have one size"),
        ("whole", TensorSpec("x", "int32", ("B", 3)), "nothing differentiates by it"),
    ):
        changed = dataclasses.replace(spec, inputs=(tensor,))
        other: Any = types.SimpleNamespace(
            path=name, spec=changed, functions={"evaluate": types.SimpleNamespace(spec=changed)}
        )
        with pytest.raises(InputError, match=says):
            OneSample(other)
