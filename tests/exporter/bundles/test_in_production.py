"""A bundle while others use it, and numbers at the edge: NaN, infinities, subnormals, huge values on both backends."""

from __future__ import annotations

import math
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.bundle_writer import staged

ROOT = pathlib.Path(__file__).parents[3]

# Loads and calls whatever is at the path until it is told to stop, and says which bundles it saw.
LOADER = """
import pathlib, sys
import pullback
path, stop = map(pathlib.Path, sys.argv[1:])
seen = {}
while not stop.exists():
    bundle = pullback.load(path)
    answer = bundle([[0.25, 0.5, 1.0]])
    seen.setdefault(bundle.digest, set()).add((float(answer.y[0, 0]), *map(float, answer.dy_dx[0])))
    bundle.manifest.name
for digest, answers in seen.items():
    print(digest, *answers, sep="|")
"""


def dense(seed: int) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])


def test_replaced_while_processes_load_it(tmp_path: pathlib.Path) -> None:
    """Every load gives the old bundle or the new one as a whole, hundreds of times."""
    both = [export(dense(seed), tmp_path / f"{seed}", ["gradient(y, x)"], formats="onnx") for seed in (1, 2)]
    target, stop = tmp_path / "it.pullback", tmp_path / "stop"
    shutil.copytree(both[0].path, target)
    command = [sys.executable, "-c", LOADER, str(target), str(stop)]
    loaders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    end, swaps = time.monotonic() + 4, 0
    while time.monotonic() < end:
        with staged(target, overwrite=True) as staging:
            for path in both[swaps % 2].path.iterdir():
                staging.write_bytes(path.name, path.read_bytes())
        swaps += 1
    stop.touch()
    x = [[0.25, 0.5, 1.0]]
    want = {b.digest: (float(b(x).y[0, 0]), *map(float, b(x).dy_dx[0])) for b in both}
    for loader in loaders:
        printed, error = loader.communicate(timeout=60)
        assert loader.returncode == 0, error[-2000:]
        lines = [line.split("|") for line in printed.splitlines()]
        assert {line[0]: line[1:] for line in lines} == {digest: [str(answer)] for digest, answer in want.items()}
    assert swaps > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "it.pullback", "stop"]


TWO_EXPORTS = """
import pathlib, sys, time
from pullback_export import ExportError, export
from tests.exporter.bundles.test_in_production import dense
folder, seed, overwrite = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "overwrite"
model = dense(seed)
(folder / f"ready-{seed}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.01)
(folder / "targets").mkdir(exist_ok=True)
try:
    export(model, folder / "targets" / "it.pullback", ["gradient(y, x)"], overwrite=overwrite)
    print("\\nwritten")
except ExportError as error:
    print("\\nrefused", error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", ["overwrite", "new"])
def test_two_exports_to_one_path(tmp_path: pathlib.Path, overwrite: str) -> None:
    """One of them wins, whole; the other wins after it or says that it came too late."""
    command = [sys.executable, "-c", TWO_EXPORTS, str(tmp_path)]
    both = [
        subprocess.Popen(
            [*command, str(seed), overwrite], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for seed in (1, 2)
    ]
    said = []
    for process in both:
        printed, error = process.communicate(timeout=180)
        assert process.returncode == 0, error[-2000:]
        said.append(printed.splitlines()[-1].split()[0])
    assert sorted(said) == (["written", "written"] if overwrite == "overwrite" else ["refused", "written"])
    assert [path.name for path in (tmp_path / "targets").iterdir()] == ["it.pullback"]
    assert pullback.load(tmp_path / "targets" / "it.pullback").verify().ok


@pytest.mark.parametrize("name", ["Kübel ∂y∕∂x.pullback", "x" * 180 + ".pullback"])
def test_strange_paths(tmp_path: pathlib.Path, name: str) -> None:
    place = tmp_path / ("ordner-" + "ä" * 100) / ("b" * 200)
    place.mkdir(parents=True)
    export(dense(1), place / name, ["gradient(y, x)"])
    for backend in ("onnx", "saved_model"):
        assert pullback.load(place / name, backend=backend).verify().ok
    assert [path.name for path in place.iterdir()] == [name]


def test_saved_models_of_version_1_stay_readable() -> None:
    bowl = pullback.load(ROOT / "tests" / "golden" / "v1" / "bowl.pullback", backend="saved_model")
    assert bowl.verify().ok
    alone = pullback.load(bowl.path / "saved_model")
    np.testing.assert_array_equal(alone([[0.5]]).dy_dx, bowl([[0.5]]).dy_dx)


EDGES = {
    "float32": [math.nan, math.inf, -math.inf, 1e-40, -1e-45, 3.4e38, -3.4e38, 1e20, 0.0, -0.0, 1.0, 88.8, -104.0],
    "float64": [
        math.nan,
        math.inf,
        -math.inf,
        1e-310,
        -5e-324,
        1.7e308,
        -1.7e308,
        1e160,
        0.0,
        -0.0,
        1.0,
        709.9,
        -746.0,
    ],
}


def edge_function(x: Any) -> Mapping[str, Any]:
    """One formula for each way to leave the finite numbers, or to fall below the normal ones."""
    return {
        "square": x * x,
        "wave": tf.tanh(x) + tf.sigmoid(-x),
        "power": tf.exp(x),
        "root": tf.sqrt(x),
        "logarithm": tf.math.log(x),
        "inverse": 1 / x,
        "kink": tf.nn.relu(x) - tf.abs(x) / 2,
        "half": x / 2,
    }


@pytest.mark.parametrize("dtype", EDGES)
def test_edges_of_the_numbers(tmp_path: pathlib.Path, dtype: str) -> None:
    """NaN and infinities stand where they stand in the live model, huge numbers are the same.

    TensorFlow's kernels take subnormal numbers for zero, and so does the SavedModel. ONNX Runtime computes with them.
    """
    names = list(edge_function(tf.constant(1.0)))
    signature = [tf.TensorSpec([None], dtype, name="x")]
    positive = np.linspace(0.5, 2, 6).astype(dtype)
    path, requests = tmp_path / "edges.pullback", [f"gradient({name}, x)" for name in names]
    export(edge_function, path, requests, inputs=signature, samples={"x": positive})
    x = np.array(EDGES[dtype], dtype)
    live, flushed = _live(x, names), _live(np.where(_subnormal(x), np.copysign(x.dtype.type(0), x), x), names)
    for name, want in pullback.load(path, backend="saved_model")(x)._asdict().items():
        _agree(f"saved_model: {name}", want, live[name])
    found = pullback.load(path)(x)._asdict()
    for name in live:
        _agree(f"live model: {name}", live[name], flushed[name])
        _agree(f"onnx: {name}", found[name][~_subnormal(x)], live[name][~_subnormal(x)])
    small = x[_subnormal(x)].astype(np.longdouble)
    with np.errstate(all="ignore"):
        formulas = {"root": np.sqrt(small), "logarithm": np.log(small), "inverse": 1 / small, "power": np.exp(small)}
        wanted = {name: values.astype(dtype) for name, values in formulas.items()}
    for name, want in wanted.items():
        _agree(f"onnx, subnormal: {name}", found[name][_subnormal(x)], want)
    strict = pullback.load(path, check_finite=True)
    for value in x[:3]:
        with pytest.raises(pullback.InputError, match="check_finite is on"):
            strict([value])
    with pytest.raises(pullback.InputError, match=r"output '[a-z]+' is inf"):
        strict([x[5]])


def _subnormal(x: Any) -> Any:
    return (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny)


def _agree(what: str, got: Any, want: Any) -> None:
    """NaN and infinities in the same places, the rest within the tolerance or below the normal numbers."""
    tiny, bound = np.finfo(want.dtype).tiny, {"float32": 2e-5, "float64": 1e-11}[str(want.dtype)]
    message = f"{what}: {got} instead of {want}"
    finite = np.isfinite(want)
    assert np.array_equal(np.isnan(got), np.isnan(want)), message
    assert np.array_equal(got[np.isinf(want)], want[np.isinf(want)]), message
    assert np.all(np.abs(got[finite] - want[finite]) <= bound * np.abs(want[finite]) + tiny), message


def _live(x: Any, names: list[str]) -> dict[str, Any]:
    constant = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(constant)
        values = edge_function(constant)
    slopes = {f"d{name}_dx": tape.gradient(values[name], constant).numpy() for name in names}
    return {name: values[name].numpy() for name in names} | slopes
