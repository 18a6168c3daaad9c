"""Opening SavedModel folders, with a stand-in for TensorFlow: what is checked before TensorFlow is asked."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import BundleError, FormatVersionError, MissingDependencyError, NotExportedError, PullbackError, schema
from pullback.manifest import SAVED_MODEL_SPEC, functions_to_json

from tests.runtime import forge


class Tensor(np.ndarray[Any, Any]):
    def numpy(self) -> Any:
        return np.asarray(self)


class FakeTensorFlow:
    """Signatures computed by ONNX Runtime."""

    def __init__(self, bundle: pullback.Bundle) -> None:
        self.saved_model = SimpleNamespace(load=self.load)
        self.bundle = bundle
        self.loaded: list[str] = []

    def load(self, folder: str) -> Any:
        self.loaded.append(folder)
        if (Path(folder) / "broken").exists():
            raise OSError("not a SavedModel")
        names = [name for name in self.bundle.functions if name != "hvp"]
        return SimpleNamespace(signatures={name: self.signature(name) for name in names})

    def signature(self, name: str) -> Callable[..., Any]:
        function: Any = self.bundle.functions[name]
        return lambda **inputs: {key: value.view(Tensor) for key, value in function(**inputs)._asdict().items()}

    def constant(self, array: Any) -> Any:
        return array


@pytest.fixture
def tensorflow(net: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> FakeTensorFlow:
    fake = FakeTensorFlow(net)
    monkeypatch.setattr("pullback.backends.saved_model._tensorflow", lambda: fake)
    return fake


@pytest.fixture
def both(folder: Path, net: pullback.Bundle) -> Path:
    """``net`` with a SavedModel besides."""
    text = functions_to_json([function.spec for function in net.functions.values()], net.tolerance)
    files = {"saved_model/saved_model.pb": b"a program", f"saved_model/{SAVED_MODEL_SPEC}": text.encode()}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    entries = [{"path": p, "sha256": hashlib.sha256(c).hexdigest(), "size": len(c)} for p, c in files.items()]
    forge.edit_manifest(folder, forge.setting("saved_model", entries))
    return folder


def test_same_answers(both: Path, net: pullback.Bundle, tensorflow: FakeTensorFlow) -> None:
    inside = pullback.load(both, backend="saved_model")
    alone = pullback.load(both / "saved_model")
    assert tensorflow.loaded == []  # not before it is needed
    for bundle in (inside, alone):
        assert bundle.backend == "saved_model"
        np.testing.assert_array_equal(bundle([[1, 2, 3]]).dy_dx, net([[1, 2, 3]]).dy_dx)
        assert bundle([[1, 2, 3]], fetch="dy_dx")._fields == ("dy_dx",)
        np.testing.assert_array_equal(bundle.vjp([[1, 2, 3]], [2]).adj_x, net.vjp([[1, 2, 3]], [2]).adj_x)
    with pytest.raises(NotExportedError, match="no golden samples"):
        alone.verify()
    with pytest.raises(NotExportedError, match="no ONNX Runtime session"):
        inside.prepared(1)


def test_onnx_never_opens_it(both: Path, tensorflow: FakeTensorFlow) -> None:
    assert pullback.load(both).backend == "onnx"
    assert pullback.load(both).verify().ok
    assert tensorflow.loaded == []


def test_without_tensorflow(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pullback.backends import saved_model

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    saved_model._tensorflow.cache_clear()
    with pytest.raises(MissingDependencyError, match=r'pip install "pullback\[savedmodel\]"'):
        pullback.load(both, backend="saved_model")
    assert pullback.load(both).verify().ok


def test_onnx_omitted(both: Path, tensorflow: FakeTensorFlow) -> None:
    for i in range(4):
        forge.edit_manifest(both, forge.setting(f"functions/{i}/file", None))
    with pytest.raises(NotExportedError, match="load it with backend='saved_model'"):
        pullback.load(both)
    assert pullback.load(both, backend="saved_model")([[1, 2, 3]]).y.shape == (1,)


def extra(folder: Path) -> None:
    (folder / "saved_model/evil.txt").write_text("x")


def extra_link(folder: Path) -> None:
    (folder / "saved_model/variables").symlink_to("/etc")


FAULTS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a file too many", extra, "evil.txt: not listed"),
    ("a linked folder too many", extra_link, "variables: not listed"),
    ("the program changed", lambda f: (f / "saved_model/saved_model.pb").write_bytes(b"an evil!!"), "SHA-256"),
    ("the program gone", lambda f: (f / "saved_model/saved_model.pb").unlink(), "missing"),
]

ALONE: list[tuple[str, str | None, type[PullbackError], str]] = [
    ("no specification", None, BundleError, "which Pullback did not write"),
    ("no JSON", "x", BundleError, "not valid JSON"),
    ("a list", "[]", BundleError, "'format_version'"),
    ("another version", '{"format_version": 3}', FormatVersionError, "format version 3"),
    ("no functions", '{"format_version": 1, "functions": [], "tolerance": {}}', BundleError, "no function 'evaluate'"),
    ("an unknown key", '{"format_version": 1, "functions": [], "tolerance": {}, "a": 1}', BundleError, "unknown key"),
]


@pytest.mark.parametrize(("fault", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_fault(both: Path, tensorflow: FakeTensorFlow, fault: Callable[[Path], Any], message: str) -> None:
    fault(both)
    with pytest.raises(BundleError) as caught:
        pullback.load(both, backend="saved_model")
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "error", "message"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE])
def test_alone(both: Path, text: str | None, error: type[PullbackError], message: str) -> None:
    spec = both / "saved_model" / SAVED_MODEL_SPEC
    spec.unlink() if text is None else spec.write_text(text)
    with pytest.raises(error) as caught:
        pullback.load(both / "saved_model")
    assert message in str(caught.value)


def test_what_tensorflow_refuses_is_named(both: Path, tensorflow: FakeTensorFlow) -> None:
    with pytest.raises(NotExportedError, match="no signature 'hvp'"):
        pullback.load(both / "saved_model").hvp([[1, 2, 3]], [[1, 2, 3]])
    (both / "saved_model/broken").touch()
    with pytest.raises(BundleError, match="TensorFlow cannot load this SavedModel: not a SavedModel"):
        pullback.load(both / "saved_model")([[1, 2, 3]])


def test_specification_round_trip(net: pullback.Bundle) -> None:
    text = functions_to_json([net.spec], net.tolerance)
    assert schema.read_json(text, "")["format_version"] == 1
