"""Weights in a file beside their graph: mapped, checked, and nothing else is let through."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.serving import triton
from pullback.web import description

from tests.runtime import forge
from tests.runtime.forge import GRAPH, INITIALIZER, METADATA, field

PAGE = 2**16
DATA = "evaluate.onnx.data"
DIMS, TYPE, NAME, RAW, ENTRY, LOCATION = 1, 2, 8, 9, 13, 14
Entries = dict[str, str]
Tensor = list[tuple[int, Any]]


def entry(key: str, value: str) -> tuple[int, bytes]:
    return ENTRY, field(1, key) + field(2, value)


def move_weights(folder: Path) -> None:
    """Moves the weights of ``evaluate`` into a file of their own, as an export with ``external_data=True`` does."""
    data = bytearray()

    def moved(content: bytes) -> bytes:
        items = forge.fields(content)
        raw = next((value for number, value in items if number == RAW), b"")
        if not isinstance(raw, bytes) or (TYPE, 1) not in items:
            return content
        data.extend(bytes(-len(data) % PAGE))
        places = {"location": DATA, "offset": str(len(data)), "length": str(len(raw))}
        data.extend(raw)
        kept = [item for item in items if item[0] != RAW]
        return forge.message([*kept, *(entry(*pair) for pair in places.items()), (LOCATION, 1)])

    path = folder / "evaluate.onnx"
    content = forge.edit(path.read_bytes(), GRAPH, lambda graph: forge.edit(graph, INITIALIZER, moved))
    (folder / DATA).write_bytes(data)
    assert len(data) > PAGE, "two weights at least"
    promise(folder, content)


def promise(folder: Path, content: bytes, path: str = DATA) -> None:
    """Writes the graph and promises the file with its weights, in the metadata and in the manifest."""
    spec = {"path": path, "sha256": forge.sha256((folder / DATA).read_bytes()), "size": (folder / DATA).stat().st_size}
    items = [item for item in forge.fields(content) if not (item[0] == METADATA and b"pullback.weights" in item[1])]  # type: ignore[operator]
    props = field(METADATA, [field(1, "pullback.weights"), field(2, json.dumps(spec))])
    forge.edit_manifest(folder, forge.setting("functions/0/weights", spec | {"path": DATA}))
    forge.replace(folder, "evaluate.onnx", forge.message(items) + props)


@pytest.fixture
def moved(folder: Path) -> Path:
    move_weights(folder)
    return folder


def assert_same_numbers(place: Any, net: pullback.Bundle, cache: Path) -> None:
    """Opened without a cache, with an empty one and with a full one."""
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    expected = net(x=x)
    for where in (None, cache, cache):
        bundle = pullback.load(place, cache=where)
        for name, array in bundle(x=x)._asdict().items():
            np.testing.assert_array_equal(array, getattr(expected, name))
        np.testing.assert_array_equal(bundle(x=x, fetch=("y",)).y, expected.y)


def test_same_numbers(moved: Path, net: pullback.Bundle, tmp_path: Path) -> None:
    pullback.load(moved).pack(tmp_path / "net.zip")
    for place in (moved, moved / "evaluate.onnx", tmp_path / "net.zip"):
        assert_same_numbers(place, net, tmp_path / "cache")
    assert pullback.load(moved).verify().ok
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    copied = pickle.loads(pickle.dumps(pullback.load(moved)))
    np.testing.assert_array_equal(copied(x=x).y, net(x=x).y)


def test_same_numbers_from_a_url(moved: Path, net: pullback.Bundle, tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is an extra: pullback[remote]")
    assert_same_numbers(moved.as_uri(), net, tmp_path / "cache")


def test_a_link_is_copied(moved: Path, tmp_path: Path) -> None:
    """As in the cache of the Hugging Face Hub: ONNX Runtime is not pointed at a link."""
    shutil.move(moved / DATA, tmp_path / "blob")
    (moved / DATA).symlink_to(tmp_path / "blob")
    bundle = pullback.load(moved)
    assert bundle.verify().ok
    (tmp_path / "blob").write_bytes(bytes((tmp_path / "blob").stat().st_size))
    assert bundle.verify().ok, "the copy was checked"
    with pytest.raises(pullback.BundleError, match="SHA-256"):
        pullback.load(moved)


def test_one_file_is_refused_by_name(moved: Path) -> None:
    bundle = pullback.load(moved)
    with pytest.raises(
        pullback.NotExportedError, match=r"has its weights beside it \(evaluate.onnx.data, .*external_data"
    ):
        bundle.graph()
    assert bundle.graph("vjp")
    with pytest.raises(pullback.NotExportedError, match="has its weights beside it"):
        triton.write(bundle, moved.parent / "repository")
    assert not (moved.parent / "repository").exists()
    with pytest.raises(pullback.NotExportedError, match="has its weights beside it"):
        description.describe(bundle)


def test_changed_after_load(moved: Path) -> None:
    bundle = pullback.load(moved)
    content = (moved / DATA).read_bytes()
    os.utime(moved / DATA, (1, 1))
    assert bundle(x=np.zeros((1, 3), np.float32)), "touched and the same"
    (moved / DATA).write_bytes(bytes(len(content)))
    with pytest.raises(pullback.BundleError, match=r"SHA-256.*load it again"):
        bundle(x=np.zeros((1, 3), np.float32), fetch=("y",))


FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("missing", lambda folder: (folder / DATA).unlink(), "missing"),
    ("cut off", lambda folder: (folder / DATA).write_bytes((folder / DATA).read_bytes()[:-1]), "the manifest says"),
    ("longer", lambda folder: (folder / DATA).write_bytes((folder / DATA).read_bytes() + b"\0"), "more than"),
    ("other numbers", lambda folder: (folder / DATA).write_bytes(bytes((folder / DATA).stat().st_size)), "SHA-256"),
    ("a folder", lambda folder: ((folder / DATA).unlink(), (folder / DATA).mkdir()), "not a regular file"),
    ("a pipe", lambda folder: ((folder / DATA).unlink(), os.mkfifo(folder / DATA)), "not a regular file"),
    (
        "not in the manifest",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights", ...)),
        "differs from the manifest's",
    ),
    (
        "another file in the manifest",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights/path", "vjp.onnx.data")),
        "differs from the manifest's",
    ),
    (
        "another size in the manifest",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights/size", 7)),
        "differs from the manifest's",
    ),
    (
        "the graph itself",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights/path", "evaluate.onnx")),
        "listed twice",
    ),
    (
        "outside of the bundle",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights/path", "../secret")),
        "not a plain relative path",
    ),
    (
        "weights without a graph",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/file", None)),
        "neither an ONNX file nor a SavedModel",
    ),
    (
        "an unknown key",
        lambda folder: forge.edit_manifest(folder, forge.setting("functions/0/weights/color", "red")),
        "unknown key 'color'",
    ),
]


@pytest.mark.parametrize(("attack", "message"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_wrong_file(moved: Path, attack: Callable[[Path], Any], message: str) -> None:
    attack(moved)
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(moved)
    assert message in str(caught.value)


def entries(**changes: str | None) -> Callable[[Tensor], Tensor]:
    """Other entries of external data; None leaves one out."""

    def change(tensor: Tensor) -> Tensor:
        found = [(forge.fields(value)) for number, value in tensor if number == ENTRY]
        pairs = {key.decode(): value.decode() for (_, key), (_, value) in found} | changes  # type: ignore[union-attr]
        rest = [item for item in tensor if item[0] != ENTRY]
        return [*rest, *(entry(key, value) for key, value in pairs.items() if value is not None)]

    return change


def without(number: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: [item for item in tensor if item[0] != number]


def plus(*items: tuple[int, Any]) -> Callable[[Tensor], Tensor]:
    return lambda tensor: [*tensor, *items]


def retyped(code: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: [(TYPE, code) if item[0] == TYPE else item for item in tensor]


# What a weight says of its place, and a piece of the message; every checksum is right.
PLACES: list[tuple[str, Callable[[Tensor], Tensor], str]] = [
    ("in a file of the system", entries(location="/etc/passwd"), "only 'evaluate.onnx.data' is read"),
    ("in a file of the parent", entries(location="../evaluate.onnx.data"), "only 'evaluate.onnx.data' is read"),
    ("in another spelling of the file", entries(location="./evaluate.onnx.data"), "only 'evaluate.onnx.data' is read"),
    ("in another file of the bundle", entries(location="manifest.json"), "only 'evaluate.onnx.data' is read"),
    ("in a name with NUL", entries(location="evaluate.onnx.data\0"), "only 'evaluate.onnx.data' is read"),
    ("in memory", entries(location="*/_ORT_MEM_ADDR_/*"), "only 'evaluate.onnx.data' is read"),
    ("no location", entries(location=None), "does not say which bytes"),
    ("no offset", entries(offset=None), "does not say which bytes"),
    ("no length", entries(length=None), "does not say which bytes"),
    ("a checksum too", entries(checksum="0"), "does not say which bytes"),
    ("an offset twice", plus(entry("offset", "0")), "states its 'offset' twice"),
    ("a negative offset", entries(offset="-65536"), "is no offset"),
    ("a signed offset", entries(offset="+0"), "is no offset"),
    ("a padded offset", entries(offset=" 0"), "is no offset"),
    ("an octal offset", entries(offset="00"), "is no offset"),
    ("a hexadecimal offset", entries(offset="0x0"), "is no offset"),
    ("an offset in other digits", entries(offset="٠"), "is no offset"),
    ("an offset of 64 bits", entries(offset=str(2**64)), "is no offset"),
    ("an offset inside of a page", entries(offset="4"), "start at multiples"),
    ("an offset behind the end", entries(offset=str(64 * PAGE)), "ends after"),
    ("the place of another", entries(offset=str(PAGE)), "overlap"),
    ("a length too short", entries(length="1"), "is said to take 1 from"),
    ("a length too long", entries(length=str(2**40)), "is said to take"),
    ("a negative length", entries(length="-1"), "is no length"),
    ("a larger shape", plus((DIMS, 1000)), "is said to take"),
    ("a huge shape", plus((DIMS, 2**62), (DIMS, 2**62)), "is said to take"),
    ("a negative shape", plus((DIMS, 2**64 - 1)), "no dtype and shape"),
    ("of strings", retyped(8), "no dtype and shape"),
    ("of an unknown dtype", retyped(99), "no dtype and shape"),
    ("of a wider dtype", retyped(11), "is said to take"),
    ("no flag", without(LOCATION), "does not say which bytes"),
    ("a flag taken back", plus((LOCATION, 0)), "does not say which bytes"),
    ("numbers of its own too", plus((RAW, b"\0" * 4)), "has other contents too (field 9)"),
    ("floats of its own too", plus((4, b"\0" * 4)), "has other contents too (field 4)"),
    ("a segment", plus((3, b"")), "has other contents too (field 3)"),
]


@pytest.mark.parametrize(("attack", "message"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
@pytest.mark.parametrize("bare", [False, True], ids=["bundle", "bare file"])
def test_a_wrong_place(
    moved: Path, attack: Callable[[Tensor], Tensor], message: str, bare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", None)  # refused before ONNX Runtime sees it
    done = False

    def first(content: bytes) -> bytes:
        nonlocal done
        items = forge.fields(content)
        if done or not any(number == ENTRY for number, _ in items):
            return content
        done = True
        return forge.message(attack(items))

    content = (moved / "evaluate.onnx").read_bytes()
    promise(moved, forge.edit(content, GRAPH, lambda graph: forge.edit(graph, INITIALIZER, first)))
    assert done
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(moved / "evaluate.onnx" if bare else moved)
    assert message in str(caught.value)


def test_a_file_that_ends_too_early_with_the_right_checksum(moved: Path) -> None:
    (moved / DATA).write_bytes((moved / DATA).read_bytes()[:-1])
    promise(moved, (moved / "evaluate.onnx").read_bytes())
    with pytest.raises(pullback.BundleError, match=r"a weight ends after 'evaluate.onnx.data' does"):
        pullback.load(moved)


@pytest.mark.parametrize("path", ["a/evaluate.onnx.data", "../evaluate.onnx.data", "/etc/passwd", "", ".", "x\\y"])
def test_metadata_that_name_no_file_beside(moved: Path, path: str) -> None:
    promise(moved, (moved / "evaluate.onnx").read_bytes(), path)
    for place in (moved, moved / "evaluate.onnx"):
        with pytest.raises(pullback.BundleError, match=r"no file beside it|not a plain relative path"):
            pullback.load(place)


@pytest.mark.parametrize("where", ["in a branch", "in a constant"])
def test_promised_weights_are_at_the_top_of_the_graph_alone(moved: Path, where: str) -> None:
    tensor = forge.message([(NAME, b"w"), entry("location", DATA), (LOCATION, 1)])
    inner = field(6, field(INITIALIZER, tensor)) if where == "in a branch" else field(5, tensor)
    kind = "If" if where == "in a branch" else "Constant"
    promise(moved, forge.in_graph(forge.node(kind, attributes=[inner]))((moved / "evaluate.onnx").read_bytes()))
    with pytest.raises(pullback.BundleError, match="weights in another file"):
        pullback.load(moved)
