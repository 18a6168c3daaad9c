"""What ``pullback web`` writes, and when it refuses; needs neither Node nor a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pullback
import pytest
from pullback.cli import main
from pullback.web import page
from pullback.web.description import describe

from tests.anywhere.conftest import BUNDLES, GOLDEN

BOWL = GOLDEN / "bowl.pullback"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A package that looks like onnxruntime-web."""
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / "ort.wasm.min.js").write_text("var ort = {};\n//# sourceMappingURL=ort.wasm.min.js.map\n")
    (dist / "ort-wasm-simd-threaded.mjs").write_text("export default 1;")
    (dist / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm")
    (dist.parent / "package.json").write_text('{"name": "onnxruntime-web", "version": "9.9.9"}')
    return tmp_path / "node_modules" / "onnxruntime-web"


def test_five_files_the_same_every_time(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where node_modules is found without an option
    assert main(["web", str(BOWL), "one"]) == 0
    assert main(["web", str(BOWL), "two", "--runtime", str(runtime)]) == 0
    names = {item.name for item in (tmp_path / "one").iterdir()}
    assert names == set(page.NAMES)
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    assert "9.9.9" in (tmp_path / "one" / "runtime.js").read_text()
    assert "sourceMappingURL" not in (tmp_path / "one" / "runtime.js").read_text()


def test_nothing_outside_is_named(runtime: Path, tmp_path: Path) -> None:
    assert (
        main(["web", str(BOWL), str(tmp_path / "page"), "--runtime", str(runtime), "--title", "</title><script>"]) == 0
    )
    text = (tmp_path / "page" / "index.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) == {
        "page.css",
        "page.js",
        "bundle.js",
        "runtime.js",
        "data:,",
        "#results",
    }
    assert "<script>" not in text
    for name in ("page.js", "page.css"):
        links = re.findall(r"https?://[^\s\"']*", (tmp_path / "page" / name).read_text())
        assert set(links) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_description_says_what_the_manifest_says(path: Path) -> None:
    bundle = pullback.load(path)
    described = json.loads(json.dumps(describe(bundle)))
    for found, function in zip(described["functions"], bundle.functions.values(), strict=True):
        spec = function.spec
        assert [item["name"] for item in found["inputs"]] == [tensor.name for tensor in spec.inputs]
        assert {item["name"] for item in found["inputs"] if item["seed"]} == spec.seeds
        derivatives = {item["name"]: item["derivative"] for item in found["outputs"] if item["derivative"]}
        assert {name: item["request"] for name, item in derivatives.items()} == {
            d.name: d.request for d in spec.derivatives
        }
        for item in found["inputs"]:
            low, high = item["range"]
            assert low < high


def test_components_are_those_of_the_request() -> None:
    described = describe(pullback.load(GOLDEN / "attention_float32.pullback"))
    (derivative,) = [o["derivative"] for o in described["functions"][0]["outputs"] if o["derivative"]]  # type: ignore[index]
    assert derivative["of"] == {"name": "odds", "components": [0], "summed": False}
    assert derivative["wrt"] == [{"name": "tokens", "components": list(range(40))}]


def test_an_existing_folder_is_replaced_only_when_asked_and_ours(
    runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page"
    command = ["web", str(BOWL), str(target), "--runtime", str(runtime)]
    assert main(command) == 0
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    (target / "thesis.tex").write_text("mine")
    assert main([*command, "--overwrite"]) == 2
    assert "no page of ours" in capsys.readouterr().err
    assert (target / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("bundle", "options", "says"),
    [
        (BOWL, ["--runtime", "."], "npm install onnxruntime-web@"),
        (BOWL / "evaluate.onnx", [], "golden samples"),
        (BOWL / "none", [], "no such file"),
    ],
)
def test_refusals(
    runtime: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bundle: Path,
    options: list[str],
    says: str,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main(["web", str(bundle), "page", *(options or ["--runtime", str(runtime)])]) in (1, 2)
    assert says in capsys.readouterr().err
    assert list(empty.iterdir()) == []


def test_the_page_reads_numbers_as_numpy_wrote_them() -> None:
    described = describe(pullback.load(GOLDEN / "field.pullback"))
    first = described["functions"][0]["cases"][0]["inputs"]["x"]  # type: ignore[index]
    case = pullback.load(GOLDEN / "field.pullback").samples()["evaluate"][0]
    import base64

    found = np.frombuffer(base64.b64decode(first["data"]), first["dtype"]).reshape(first["shape"])
    np.testing.assert_array_equal(found, case.inputs["x"])
