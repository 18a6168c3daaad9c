"""The C++ example of docs/howto/cpp.md, compiled and run on golden bundles: ONNX Runtime's library, no Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pullback
import pytest
from pullback.manifest import FunctionSpec, shape_text
from pullback.parity import compare

from tests.anywhere.conftest import BUNDLES, GOLDEN

SOURCES = Path(__file__).parents[2] / "docs" / "cpp"
FILES = [(path, name) for path in BUNDLES for name in pullback.load(path).functions]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as the page says; ``make test-anywhere`` brings ONNX Runtime's headers."""
    headers = Path(os.environ.get("PULLBACK_ONNXRUNTIME_HEADERS", "none")).absolute()
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not (headers / "onnxruntime_cxx_api.h").is_file():
        pytest.skip(
            "ONNX Runtime's headers are not here (PULLBACK_ONNXRUNTIME_HEADERS); make test-anywhere brings them"
        )
    if compiler is None or not libraries:
        pytest.skip("there is no C++ compiler, or no shared library of ONNX Runtime in its wheel (Linux has one)")
    folder = tmp_path_factory.mktemp("cpp")
    library = folder / "libonnxruntime.so.1"  # the name by which a program asks for it
    library.symlink_to(libraries[-1])
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", headers, f"-Wl,-rpath,{folder}"]
    command = [compiler, *options, SOURCES / "derivatives.cpp", library, "-o", folder / "derivatives"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "derivatives"


def run(program: Path, graph: Path, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, graph, *given], capture_output=True, text=True, timeout=60, cwd=program.parent)


def signature(spec: FunctionSpec) -> list[str]:
    kinds = {item.name: (item.kind, f" = {item.request}") for item in spec.derivatives}
    lines = [f"function {spec.name}"]
    lines += [f"input {tensor.name} {tensor.dtype} {listed(tensor.shape)}" for tensor in spec.inputs]
    for tensor in spec.outputs:
        kind, request = kinds.get(tensor.name, ("value", ""))
        lines.append(f"{kind} {tensor.name} {tensor.dtype} {listed(tensor.shape)}{request}")
    return lines


def listed(shape: tuple[int | str, ...]) -> str:
    return shape_text(shape).replace(",)", ")")


def numbers(text: str, spec: FunctionSpec) -> dict[str, np.ndarray]:
    """The arrays that the program printed, by name."""
    found = {}
    for tensor in spec.outputs:
        (line,) = re.findall(rf"^{tensor.name} \((.*)\):(.*)$", text, re.M)
        shape = [int(size) for size in line[0].split(",") if size]
        found[tensor.name] = np.array(line[1].split(), tensor.dtype).reshape(shape)
    return found


def given(inputs: Mapping[str, np.ndarray]) -> list[str]:
    return [f"{name}={','.join(map(repr, array.ravel().tolist()))}" for name, array in inputs.items()]


@pytest.mark.parametrize(("path", "name"), FILES, ids=[f"{path.stem}-{name}" for path, name in FILES])
def test_golden_numbers(program: Path, path: Path, name: str) -> None:
    bundle = pullback.load(path)
    spec = bundle.functions[name].spec
    alone = run(program, path / f"{name}.onnx")
    assert (alone.returncode, alone.stdout.splitlines()) == (0, signature(spec)), alone.stderr
    free = max(sum(isinstance(size, str) for size in tensor.shape) for tensor in spec.inputs)
    for case in bundle.samples()[name]:
        if any(array.size == 0 for array in case.inputs.values()):
            continue  # a command line has no way to say "no rows"
        done = run(program, path / f"{name}.onnx", *given(case.inputs))
        if free > 1:
            assert done.returncode == 1 and "does not fill" in done.stderr
            continue
        assert done.returncode == 0, done.stderr
        report = compare(case.outputs, numbers(done.stdout, spec), bundle.tolerance, stage=name)
        assert report.rows and report.ok, report


def test_the_slope_of_the_bowl(program: Path) -> None:
    bundle = GOLDEN / "bowl.pullback"
    done = run(program, bundle / "evaluate.onnx", "x=0.5")
    (slope,) = re.findall(r"^dy_dx \(1, 1\): (\S+)$", done.stdout, re.M)
    assert abs(float(slope) + 0.36) < 0.1
    exact = pullback.load(bundle)(np.array([[0.5]], np.float32)).dy_dx
    np.testing.assert_allclose(float(slope), exact[0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["x=1,2,3"], "input fwd_x is missing"),
        (["x=1,2", "fwd_x=1,2,3"], "1,2 does not fill x (B, 3)"),
        (["x=a", "fwd_x=1,2,3"], "stod"),
    ],
)
def test_what_is_wrong_is_said(program: Path, inputs: list[str], says: str) -> None:
    done = run(program, GOLDEN / "field.pullback" / "hvp.onnx", *inputs)
    assert done.returncode == 1
    assert says in done.stderr


def test_a_file_of_someone_else_is_refused(program: Path, tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"")
    assert run(program, tmp_path / "none.onnx").returncode == 1
