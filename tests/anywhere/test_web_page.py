"""The page in headless Chromium: it gives the golden numbers, moves with its inputs, and loads nothing from outside."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.cli import main

from tests.anywhere.conftest import BUNDLES, GOLDEN

pytestmark = pytest.mark.slow

# In the page: how often the model ran before `change`, and a wait until it ran again.
AGAIN = """
const root = document.documentElement;
const again = async (change) => {
  const before = Number(root.dataset.runs);
  change();
  for (let i = 0; i < 200 && Number(root.dataset.runs) === before; i++) await new Promise((r) => setTimeout(r, 20));
  await new Promise((r) => setTimeout(r, 100));
};
"""
CHECKED = "return {...document.documentElement.dataset, wide: document.documentElement.scrollWidth, inner: innerWidth};"


@pytest.fixture
def look(node: Path, browser: str, tmp_path: Path) -> Callable[..., Any]:
    """Runs steps in a page and gives what they return, and the requests that the page made."""

    def run(url: str, steps: str = CHECKED, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str]]:
        script = tmp_path / "steps.js"
        script.write_text(steps, encoding="utf-8")
        command = ["node", "look.mjs", browser, url, str(script), str(width), str(tmp_path / "page.png"), scheme]
        done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-2000:]
        seen = json.loads(done.stdout)
        assert seen["errors"] == []
        return seen["returned"], seen["requests"]

    return run


def written(bundle: Path, node: Path, target: Path, *options: str) -> Path:
    assert main(["web", str(bundle), str(target), "--runtime", str(node), *options]) == 0
    return target


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a plain file server on a folder ``page`` beside the test's others."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_golden_numbers_from_the_disk(look: Any, node: Path, path: Path, tmp_path: Path) -> None:
    page = written(path, node, tmp_path / "page")
    found, requests = look((page / "index.html").as_uri())
    cases = pullback.load(path).samples()
    assert found["checked"] == "passed"
    assert int(found["compared"]) == sum(len(case.outputs) for function in cases.values() for case in function)
    assert float(found["worst"]) <= 1
    assert {url.split(":")[0] for url in requests} <= {"file", "blob", "data"}


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("name", ["field", "picture_float64", "attention_float32"])
def test_fits_every_width(look: Any, node: Path, served: str, tmp_path: Path, name: str, width: int) -> None:
    written(GOLDEN / f"{name}.pullback", node, tmp_path / "page")
    found, requests = look(f"{served}/page/", width=width, scheme="dark" if width == 800 else "light")
    assert found["checked"] == "passed"
    assert found["wide"] <= found["inner"]
    assert all(url.startswith((served, "blob:", "data:")) for url in requests)


def test_the_curve_moves(look: Any, node: Path, tmp_path: Path) -> None:
    """A slider, by keyboard and by value; what the page then shows is what the bundle gives."""
    page = written(GOLDEN / "bowl.pullback", node, tmp_path / "page", "--title", "<b>Bowl</b> & co")
    steps = """
    const slider = document.querySelector("input[type=range]");
    await again(() => { slider.value = 2.5; slider.dispatchEvent(new Event("input")); });
    const [y, slope] = [...document.querySelectorAll(".big")].map((node) => node.textContent);
    const picture = document.querySelector(".drawing svg");
    return { x: slider.value, field: document.querySelector("input[type=number]").value, y, slope,
      label: picture.getAttribute("aria-label"), tangent: Boolean(picture.querySelector(".tangent")),
      title: document.title, heading: document.querySelector("h1").textContent };
    """
    found, _ = look((page / "index.html").as_uri(), AGAIN + steps)
    x = np.array([[float(found["field"])]], np.float32)
    y, slope = pullback.load(GOLDEN / "bowl.pullback")(x)
    assert abs(float(found["x"]) - 2.5) < 0.02
    np.testing.assert_allclose(float(found["y"].replace("−", "-")), y[0, 0], rtol=1e-4)
    np.testing.assert_allclose(float(found["slope"].replace("−", "-")), slope[0, 0], rtol=1e-4)
    assert found["tangent"] and "slope" in found["label"]
    assert found["title"] == found["heading"] == "<b>Bowl</b> & co"


def test_products_have_seeds_as_inputs(look: Any, node: Path, tmp_path: Path) -> None:
    page = written(GOLDEN / "field.pullback", node, tmp_path / "page")
    steps = """
    const tab = [...document.querySelectorAll("[role=tab]")].find((item) => item.textContent === "vjp");
    await again(() => tab.click());
    const fields = [...document.querySelectorAll("#controls input[type=number]")];
    for (const [i, field] of fields.entries()) {
      await again(() => { field.value = i + 1; field.dispatchEvent(new Event("change")); });
    }
    const texts = (selector, text) => [...document.querySelectorAll(selector)].map(text);
    return { legends: texts("legend", (item) => item.firstChild.textContent),
      found: texts(".derivative output", (item) => item.textContent.replace("−", "-")) };
    """
    found, _ = look((page / "index.html").as_uri(), AGAIN + steps)
    assert found["legends"] == ["x", "adj_flow"]
    want = pullback.load(GOLDEN / "field.pullback").vjp(x=[[1, 2, 3]], adj_flow=[[4, 5]])[0][0]
    np.testing.assert_allclose([float(text) for text in found["found"]], want, rtol=1e-3)


def test_a_picture_is_painted_by_keyboard(look: Any, node: Path, tmp_path: Path) -> None:
    page = written(GOLDEN / "picture_float32.pullback", node, tmp_path / "page")
    steps = """
    const surface = document.querySelector(".surface");
    const score = document.querySelector(".big");
    const before = score.textContent;
    surface.focus();
    for (const key of ["ArrowDown", "ArrowRight"]) surface.dispatchEvent(new KeyboardEvent("keydown", { key }));
    await again(() => surface.dispatchEvent(new KeyboardEvent("keydown", { key: " " })));
    return { before, after: score.textContent, position: document.querySelector(".position").textContent,
      map: document.querySelector(".saliency canvas[role=img]").getAttribute("aria-label") };
    """
    found, _ = look((page / "index.html").as_uri(), AGAIN + steps)
    assert found["before"] != found["after"]
    assert found["position"].startswith("row 1, column 1")
    bundle = pullback.load(GOLDEN / "picture_float32.pullback")
    image = bundle.samples()["evaluate"][0].inputs["image"][:1].copy()
    image[0, 1, 1, 0] = bundle.span("image")[1]
    score, saliency = bundle(image)
    np.testing.assert_allclose(float(found["after"].replace("−", "-")), score[0, 0], rtol=1e-4)
    row, column = np.unravel_index(np.abs(saliency[0, ..., 0]).argmax(), (8, 8))
    assert found["map"].endswith(f"strongest in row {row}, column {column}")
    assert f"{np.abs(saliency).max():.4g}" in found["map"]


def test_every_control_has_a_name(look: Any, node: Path, tmp_path: Path) -> None:
    page = written(GOLDEN / "attention_float64.pullback", node, tmp_path / "page")
    steps = """
    const inside = (item) => item.labels?.[0]?.textContent.trim() || item.textContent.trim();
    const named = (item) => item.getAttribute("aria-label") || inside(item);
    const seen = (item) => item.checkVisibility();
    const all = [...document.querySelectorAll("input, button, select, [tabindex='0'], [role=img]")].filter(seen);
    return { count: all.length, nameless: all.filter((item) => !named(item)).map((item) => item.outerHTML) };
    """
    found, _ = look((page / "index.html").as_uri(), steps)
    assert found["count"] > 5
    assert found["nameless"] == []
