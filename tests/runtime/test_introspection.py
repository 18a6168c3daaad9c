"""What tools ask of a bundle without calling it: attributes, signatures, completion, notebooks."""

from __future__ import annotations

import inspect
import pathlib
import pickle
import re
import xml.etree.ElementTree

import numpy as np
import pullback
import pytest
from pullback import NotExportedError
from pullback.display import notebook

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"
LACKS = ("vjp", "jvp", "hvp")


@pytest.fixture(scope="module")
def bowl() -> pullback.Bundle:
    return pullback.load(GOLDEN / "bowl.pullback")


@pytest.mark.parametrize("name", LACKS)
def test_what_was_not_exported_is_no_attribute(bowl: pullback.Bundle, net: pullback.Bundle, name: str) -> None:
    assert not hasattr(bowl, name)
    assert getattr(bowl, name, None) is None
    assert name not in dir(bowl)
    assert name in dir(net)
    assert hasattr(net, name)
    with pytest.raises(AttributeError, match=f"holds no function '{name}', only evaluate"):
        getattr(bowl, name)


def test_the_error_is_all_that_it_was(bowl: pullback.Bundle) -> None:
    with pytest.raises(NotExportedError) as caught:
        bowl.vjp([[1]], [1])
    assert isinstance(caught.value, (LookupError, pullback.PullbackError))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_inspection_survives(path: pathlib.Path) -> None:
    bundle = pullback.load(path)
    assert {"flat", "spec", "verify", *bundle.functions} - {"evaluate"} <= dict(inspect.getmembers(bundle)).keys()
    for function in bundle.functions.values():
        assert list(inspect.signature(function).parameters)[:-2] == [tensor.name for tensor in function.spec.inputs]
        assert inspect.getdoc(function)
        assert repr(function) == f"<pullback.Function {function.spec}>"
        inspect.getmembers(function)


def test_signatures(bowl: pullback.Bundle, net: pullback.Bundle) -> None:
    text = "(x: 'float32 (B, 1)', *, fetch: 'Iterable[str] | None' = None, chunk: 'int | None' = None)"
    result = " -> '(y: float32 (B, 1), dy_dx: float32 (B, 1))'"
    assert str(inspect.signature(bowl)) == str(inspect.signature(bowl.functions["evaluate"])) == text + result
    assert list(inspect.signature(net.vjp).parameters) == ["x", "adj_y", "fetch", "chunk"]
    inspect.signature(net.vjp).bind([[1, 2, 3]], adj_y=[1])
    inspect.signature(pullback.Bundle), inspect.signature(pullback.Function)  # the classes have their own
    bare = pullback.load(net.path / "vjp.onnx")
    assert "args" in inspect.signature(bare).parameters  # there is nothing to call


def test_results_complete(bowl: pullback.Bundle) -> None:
    assert {"y", "dy_dx"} <= set(dir(bowl([[0.5]])))


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_a_notebook_shows_it(path: pathlib.Path) -> None:
    bundle = pullback.load(path)
    text = bundle._repr_html_()
    xml.etree.ElementTree.fromstring(re.sub("&(nbsp|#\\d+);", "", text))  # every tag is closed
    for function in bundle.functions.values():
        for tensor in (*function.spec.inputs, *function.spec.outputs):
            assert f"<code>{tensor.name}</code>" in text
        for derivative in function.spec.derivatives:
            assert derivative.request in text
    assert "agrees with the trained model" in text
    assert ("<svg" in text) == (path.name == "bowl.pullback")
    assert len(text) < 40_000


def test_the_curve_is_the_function(bowl: pullback.Bundle) -> None:
    """The path of ``y`` goes through its values, scaled to the picture."""
    low, high = bowl.span("x")
    path = re.findall(r'd="([^"]+)"', bowl._repr_html_())[0]
    points = np.array([[float(n) for n in pair.split()] for pair in re.split("[ML]", path)[1:]])
    x = np.linspace(low, high, len(points))
    y = bowl(x[:, None]).y[:, 0]
    assert np.corrcoef(points[:, 1], y)[0, 1] < -0.9999  # pictures count downwards
    assert np.ptp(points[:, 0]) == pytest.approx(320, abs=0.2)


def test_names_in_files_are_no_markup(bowl: pullback.Bundle) -> None:
    page = notebook.page("<script>alert(1)</script>", "<b>", [bowl.spec], None, "")
    assert "<script>" not in page
    assert "<b>" not in page


def test_a_bare_file_and_a_failing_curve(net: pullback.Bundle, bowl: pullback.Bundle) -> None:
    assert "adj_y" in pullback.load(net.path / "vjp.onnx")._repr_html_()
    assert "<svg" in pullback.load(bowl.path / "evaluate.onnx")._repr_html_()  # from -1 to 1
    narrow = pullback.load(bowl.path, check_range="raise")
    assert "<svg" in narrow._repr_html_()  # its own range


def test_prepared_copies(net: pullback.Bundle) -> None:
    step = net.prepared(2, copy=True)
    first = step(np.ones((2, 3)))
    kept = first.dy_dx.copy()
    second = step(np.zeros((2, 3)))
    np.testing.assert_array_equal(first.dy_dx, kept)
    assert not np.array_equal(second.dy_dx, kept)
    assert type(first) is type(net(np.ones((2, 3), np.float32)))


def test_both_packages_are_typed() -> None:
    root = pathlib.Path(pullback.__file__).parent
    assert (root / "py.typed").exists()
    exporter = pathlib.Path(__file__).parents[2] / "exporter" / "pullback_export"
    assert not exporter.exists() or (exporter / "py.typed").exists()
