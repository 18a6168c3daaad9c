"""At the path there is a whole, verified bundle or nothing: wrong lowerings, full disks, kills, failed overwrites."""

from __future__ import annotations

import pathlib
import signal
from typing import Any

import keras
import numpy as np
import pullback
import pytest
from pullback_export import export
from pullback_export.lowering import registry

from tests.warm_start import run

ROOT = pathlib.Path(__file__).parents[3]
REQUEST = ["gradient(y, x)"]


def model(seed: int = 0) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,), name="x"), *layers])


@pytest.fixture
def wrong_tanh_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """``dx = dy (1 - y)`` instead of ``dy (1 - y**2)``: no crash, only a wrong number."""
    registry.load_rules()
    monkeypatch.setitem(registry.RULES, "TanhGrad", lambda op, y, dy: dy * (1 - y))


def test_wrong_lowering_is_caught(wrong_tanh_gradient: None, tmp_path: pathlib.Path) -> None:
    with pytest.raises(pullback.ParityError, match="dy_dx") as caught:
        export(model(), tmp_path / "it.pullback", REQUEST)
    assert {row.output for row in caught.value.report.failures} == {"dy_dx"}
    assert list(tmp_path.iterdir()) == []


def test_wrong_value_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    registry.load_rules()
    monkeypatch.setitem(registry.RULES, "Tanh", lambda op, x: op.Tanh(x) * np.array(1 + 1e-3, np.float32))
    with pytest.raises(pullback.ParityError):
        export(model(), tmp_path / "it.pullback", REQUEST, formats="onnx")
    assert list(tmp_path.iterdir()) == []


def test_rule_that_crashes_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    def crash(op: Any, y: Any, dy: Any) -> Any:
        raise RuntimeError("no such luck")

    registry.load_rules()
    monkeypatch.setitem(registry.RULES, "TanhGrad", crash)
    with pytest.raises(Exception, match="no such luck"):
        export(model(), tmp_path / "it.pullback", REQUEST)
    assert list(tmp_path.iterdir()) == []


def test_failed_overwrite_keeps_the_old_bundle(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it.pullback"
    old = export(model(0), path, REQUEST)
    registry.load_rules()
    with monkeypatch.context() as patch:
        patch.setitem(registry.RULES, "TanhGrad", lambda op, y, dy: dy * (1 - y))
        with pytest.raises(pullback.ParityError):
            export(model(1), path, REQUEST, overwrite=True)
    assert pullback.load(path).digest == old.digest
    assert pullback.load(path).verify().ok
    assert list(tmp_path.iterdir()) == [path]
    new = export(model(1), path, REQUEST, overwrite=True)
    assert new.digest != old.digest
    assert list(tmp_path.iterdir()) == [path]


# A process whose files cannot grow beyond 2000 bytes: what a full disk looks like from inside.
FULL_DISK = """
import pathlib, resource, signal, sys
from pullback_export import ExportError, export
from tests.exporter.bundles.test_atomicity import REQUEST, model

it, path = model(), pathlib.Path(sys.argv[1]) / "it.pullback"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for formats in ("onnx", "saved_model"):
    try:
        export(it, path, REQUEST, formats=formats)
    except ExportError as problem:
        print(formats, problem)
    assert list(path.parent.iterdir()) == [], list(path.parent.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
export(it, path, REQUEST).verify()
"""


def test_full_disk_leaves_nothing(tmp_path: pathlib.Path) -> None:
    done = run(FULL_DISK, tmp_path, folder=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith(("onnx", "saved_model"))]
    assert [line.split()[0] for line in lines] == ["onnx", "saved_model"]
    assert all("cannot write" in line or "cannot be written" in line for line in lines), lines
    assert [path.name for path in tmp_path.iterdir()] == ["it.pullback"]


KILLED = """
import os, pathlib, signal, sys
from pullback_export import export
from tests.exporter.bundles.test_atomicity import REQUEST, model

def progress(line):
    if line.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

export(model(), pathlib.Path(sys.argv[1]) / "it.pullback", REQUEST, progress=progress, overwrite=True)
"""


@pytest.mark.parametrize("stage", ["writing the SavedModel", "comparing"])
def test_kill_leaves_no_bundle_and_the_next_export_works(stage: str, tmp_path: pathlib.Path) -> None:
    done = run(KILLED, tmp_path, stage, folder=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    path = tmp_path / "it.pullback"
    assert not path.exists()
    export(model(), path, REQUEST, formats="onnx")
    assert [item.name for item in tmp_path.iterdir()] == ["it.pullback"]


def test_kill_during_an_overwrite_keeps_the_old_bundle(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "it.pullback"
    old = export(model(5), path, REQUEST, formats="onnx")
    done = run(KILLED, tmp_path, "comparing", folder=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert pullback.load(path).digest == old.digest
