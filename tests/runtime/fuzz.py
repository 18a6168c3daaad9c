"""A fast fuzzer for long runs: ``python -m tests.runtime.fuzz [CASES] [SEED]``; prints what is not a documented error.

Not a test module: ``test_fuzz.py`` runs some hundred cases with hypothesis, this runs hundreds of thousands. Every case
has a seed of its own, which a finding names: ``one(seed)`` runs that case again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pullback import PullbackError, cli, golden, load, manifest
from pullback.manifest import TensorSpec
from pullback.storage import onnx_file

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

NET = FIXTURES / "net.pullback"
BUNDLE, MIXED = load(NET), load(FIXTURES / "mixed.pullback")
FUNCTIONS = [function.spec for function in BUNDLE.functions.values()]
FILES = {path.name: path.read_bytes() for path in NET.iterdir()}
JUNK = [None, True, 0, -1, 2**70, 0.5, 1e308, "", "x", "../x", "B", "\x00", [], {}, [[]], [None], {"a": 1}]
NUMBERS = [0.0, -0.0, 1.0, -2.5, 1e-40, -3e38, 1e300, 1e-310, float("nan"), float("inf"), -float("inf"), 3.0]
ROWS = np.linspace(-2, 2, 36, dtype=np.float32).reshape(12, 3)
SPECS = manifest.functions_to_json(FUNCTIONS, BUNDLE.tolerance).encode()


class WrongAnswer(Exception):
    """No error, and not the right result either."""


def damage(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, insert and double."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, how = rng.randrange(len(data) + 1), rng.randrange(5)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at : at + rng.randint(1, 40)]
        elif how == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 12))
        elif how == 3:
            data[at:at] = data[at : at + rng.randint(1, 60)]
        elif at < len(data):
            data[at] = rng.choice((0, 1, 127, 128, 255))
    return bytes(data)


def junk_in_json(content: bytes, rng: random.Random) -> bytes:
    """One value replaced."""
    value: Any = json.loads(content)
    inside = value
    while True:
        key: Any = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], (dict, list)) or not inside[key] or rng.random() < 0.2:
            inside[key] = rng.choice(JUNK)
            return json.dumps(value).encode()
        inside = inside[key]


def graph(rng: random.Random) -> None:
    content = damage(FILES[rng.choice(("evaluate.onnx", "hvp.onnx"))], rng)
    found = onnx_file.screen(content, "graph")
    spec, _ = manifest.from_metadata_props(found.metadata, "graph")
    onnx_file.check_signature(found, spec, "graph")


def samples(rng: random.Random) -> None:
    golden.read(damage(FILES["golden.npz"], rng), FUNCTIONS, "golden")


def manifest_bytes(rng: random.Random) -> None:
    manifest.parse(damage(FILES["manifest.json"], rng))


def manifest_value(rng: random.Random) -> None:
    found = manifest.parse(junk_in_json(FILES["manifest.json"], rng))
    if manifest.parse(found.to_json()) != found:
        raise WrongAnswer("a manifest that is another one when it is written and read again")


def saved_model_specification(rng: random.Random) -> None:
    manifest.functions_from_json(junk_in_json(SPECS, rng) if rng.random() < 0.5 else damage(SPECS, rng))


def value(rng: random.Random, depth: int = 0) -> Any:
    """Some argument: more often than not an array that nearly fits."""
    kind = rng.randrange(8)
    if kind < 4:
        dtype = rng.choice(("f4", "f8", "f2", ">f4", "i8", "u1", "?", "c8", "O", "U3", "M8[s]", "g"))
        shape = [rng.choice((0, 1, 2, 3, 3, 3)) for _ in range(rng.choice((0, 1, 2, 2, 2, 3)))]
        array = np.arange(-2, int(np.prod(shape)) - 2).reshape(shape).astype(dtype)
        return array.T if rng.random() < 0.2 else array
    if kind < 6 and depth < 3:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice([*JUNK, float("nan"), float("inf"), 1j, b"x", np.float32(1), np.int64(3), (1.0, 2, 3), object()])


def fitting(tensor: TensorSpec, sizes: dict[str, int], rng: random.Random) -> Any:
    """An array of the right shape, of some dtype."""
    shape = [sizes.setdefault(dim, rng.randrange(4)) if isinstance(dim, str) else dim for dim in tensor.shape]
    dtype = rng.choice((tensor.dtype, tensor.dtype, "f4", "f8", "f2", ">f4", "i8", "u1", "?", "g"))
    array = np.asarray(np.array([rng.choice(NUMBERS) for _ in range(int(np.prod(shape)))], "f8").reshape(shape))
    return array.astype(dtype).tolist() if rng.random() < 0.2 else array.astype(dtype, order=rng.choice("CF"))


def call(rng: random.Random) -> None:
    """Positional, named, too many, too few, any value; what is accepted gives what a float32 array gives."""
    function: Any = rng.choice([*BUNDLE.functions.values(), *MIXED.functions.values()])
    names = [tensor.name for tensor in function.spec.inputs]
    sizes: dict[str, int] = {}
    named = {t.name: fitting(t, sizes, rng) if rng.random() < 0.8 else value(rng) for t in function.spec.inputs}
    if rng.random() < 0.1:
        named.pop(rng.choice(names))
    if rng.random() < 0.1:
        named[rng.choice(("z", "X", "fetch", "chunk"))] = value(rng)
    if rng.random() < 0.5 and len(names) == 1 and names[0] in named:
        result = function(named.pop(names[0]), **named)
        return
    result = function(**named)
    fetch, dtypes = named.pop("fetch", None), {tensor.name: tensor.dtype for tensor in function.spec.inputs}
    exact = {
        name: np.ascontiguousarray(np.asarray(array), dtypes[name]) for name, array in named.items() if name in names
    }
    exact = {name: array.reshape(np.shape(named[name])) for name, array in exact.items()}
    again = function(**exact, fetch=fetch)  # the same session, for the same outputs
    if not all(np.array_equal(got, want, equal_nan=True) for got, want in zip(result, again, strict=True)):
        raise WrongAnswer(f"{function.spec.name}: {named!r}")


def whole_bundle(rng: random.Random) -> None:
    """A damaged file with its checksum mended, or a damaged manifest: refused, or the model's numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in FILES.items():
            (folder / path).write_bytes(content)
        path = rng.choice(list(FILES))
        damaged = damage(FILES[path], rng)
        if path == "manifest.json" or rng.random() < 0.3:
            (folder / path).write_bytes(damaged)
        else:
            forge.replace(folder, path, damaged)
        load(folder).verify()


def command(rng: random.Random) -> None:
    """``pullback eval`` of a damaged file: exit code 0 or one line of error, and no half-written file."""
    kind = rng.choice((".csv", ".npy", ".npz"))
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / f"in{kind}", Path(name) / f"out{rng.choice(('.csv', '.npy', '.npz', '.txt'))}"
        source.write_bytes(damage(INPUTS[kind], rng))
        options = rng.choice(
            ([], ["--skip-bad"], ["--check-finite"], ["--skip-bad", "--check-finite"], ["--rows", "5"])
        )
        arguments = ["eval", str(NET), str(source), "-o", str(target), "--debug", *options]
        if rng.random() < 0.7:
            arguments += ["--fetch", rng.choice(("y", "dy_dx", "y,dy_dx", "z", ""))]
        try:
            code = cli.main(arguments)
        except argparse.ArgumentTypeError as error:
            code = 2
            raise PullbackError(str(error)) from error
        finally:
            left = sorted(path.name for path in Path(name).iterdir())
        if code != 0 or target.name not in left or any(".part" in path or ".new" in path for path in left):
            raise WrongAnswer(f"{arguments}: exit code {code}, {left}")
        if kind == ".npy" and target.suffix == ".npy" and arguments[-1] == "y" and not options:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                want = BUNDLE(np.load(source)).y
            if not np.allclose(np.load(target), want, atol=1e-6, equal_nan=True):
                raise WrongAnswer(f"{arguments}")


def _inputs() -> dict[str, bytes]:
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, ROWS)
    np.savez(npz, x=ROWS)
    lines = ["x[0],x[1],x[2]", *(",".join(f"{cell:.7g}" for cell in row) for row in ROWS)]
    return {".npy": npy.getvalue(), ".npz": npz.getvalue(), ".csv": "\n".join(lines).encode()}


INPUTS = _inputs()
TARGETS: dict[Callable[[random.Random], None], int] = {  # with weights: the last two open files
    **{graph: 20, samples: 15, manifest_bytes: 15, manifest_value: 15, saved_model_specification: 10, call: 20},
    **{whole_bundle: 4, command: 4},
}


def one(seed: int) -> tuple[str, BaseException | None]:
    """Run one case: "<target>: read" or "<target>: refused", and the finding if it is one."""
    rng = random.Random(seed)
    target = rng.choices(list(TARGETS), list(TARGETS.values()))[0]
    name = target.__name__.replace("_", " ")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            target(rng)
        return f"{name}: read", None
    except PullbackError as error:
        return (f"{name}: refused", None) if "\n" not in str(error) else (f"{name}: finding", error)
    except BaseException as error:
        return f"{name}: finding", error


def main(cases: int = 20_000, seed: int = 0) -> int:
    """Run so many cases; the number of findings."""
    found = collections.Counter[str]()
    findings = 0
    trace = os.environ.get("PULLBACK_FUZZ_TRACE")  # the file that holds the seed of the case that runs, for crashes
    for case in range(seed * 10**9, seed * 10**9 + cases):
        if trace:
            Path(trace).write_text(str(case), encoding="utf-8")
        outcome, error = one(case)
        found[outcome] += 1
        if error is not None:
            findings += 1
            print(f"FINDING: tests.runtime.fuzz.one({case}): {outcome}", flush=True)
            traceback.print_exception(error)
    print(f"{cases} cases, {findings} findings", dict(sorted(found.items())))
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
