"""A fast fuzzer for long runs: ``python -m tests.runtime.fuzz [CASES] [SEED]``; prints what is not a documented error.

Not a test module: ``test_fuzz.py`` runs some hundred cases with hypothesis, this runs hundreds of thousands.
"""

from __future__ import annotations

import collections
import json
import random
import sys
import traceback
from collections.abc import Callable
from typing import Any

from pullback import PullbackError, golden, load, manifest, onnx_file

from tests.runtime.conftest import FIXTURES

NET = FIXTURES / "net.pullback"
BUNDLE = load(NET)
FUNCTIONS = [function.spec for function in BUNDLE.functions.values()]
JUNK = [None, True, 0, -1, 2**70, 0.5, 1e308, "", "x", "../x", "B", "\x00", [], {}, [[]], [None], {"a": 1}]


def graph(content: bytes) -> None:
    found = onnx_file.screen(content, "graph")
    spec, _ = manifest.from_metadata_props(found.metadata, "graph")
    onnx_file.check_signature(found, spec, "graph")


def samples(content: bytes) -> None:
    golden.read(content, FUNCTIONS, "golden")


def manifest_text(content: bytes) -> None:
    manifest.parse(content)


TARGETS: list[tuple[str, bytes, Callable[[bytes], None]]] = [
    ("graph", (NET / "evaluate.onnx").read_bytes(), graph),
    ("hvp graph", (NET / "hvp.onnx").read_bytes(), graph),
    ("golden", (NET / "golden.npz").read_bytes(), samples),
    ("manifest bytes", (NET / "manifest.json").read_bytes(), manifest_text),
]


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


def junk_in_json(rng: random.Random) -> bytes:
    """One value of the manifest replaced."""
    value: Any = json.loads((NET / "manifest.json").read_text(encoding="utf-8"))
    inside = value
    while True:
        key: Any = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], (dict, list)) or not inside[key] or rng.random() < 0.2:
            inside[key] = rng.choice(JUNK)
            return json.dumps(value).encode()
        inside = inside[key]


def main(cases: int, seed: int) -> int:
    """Run so many cases; the number of findings."""
    rng, found = random.Random(seed), collections.Counter[str]()
    findings = 0
    for _ in range(cases):
        name, content, read = rng.choice([*TARGETS, ("manifest value", b"", manifest_text)])
        forged = damage(content, rng) if content else junk_in_json(rng)
        try:
            read(forged)
            found[f"{name}: read"] += 1
        except PullbackError:
            found[f"{name}: refused"] += 1
        except BaseException:
            findings += 1
            print(f"FINDING in {name}: {forged!r}"[:2000], flush=True)
            traceback.print_exc()
    print(f"{cases} cases, {findings} findings", dict(sorted(found.items())))
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, [*sys.argv[1:], *("20000", "0")[len(sys.argv) - 1 :]]))))
