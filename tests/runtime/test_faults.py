"""Damaged, missing, swapped and disguised files, wrong paths and options: one row each."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pullback
import pytest
from pullback import BundleError, InputError, NotExportedError, PullbackError
from pullback.storage import opening

from tests.runtime import forge


def flip(path: str, position: int) -> Callable[[Path], Any]:
    """Flip one bit of a file."""

    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[position] ^= 4
        (folder / path).write_bytes(content)

    return change


def cut(path: str, size: int) -> Callable[[Path], Any]:
    """Keep the first ``size`` bytes (all but so many when negative)."""
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:size])


def link(path: str, target: str | Path) -> Callable[[Path], Any]:
    """Replace a file by a symbolic link."""

    def change(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).symlink_to(target)

    return change


def link_to_copy(path: str) -> Callable[[Path], Any]:
    """Replace a file by a symbolic link to the same bytes outside."""

    def change(folder: Path) -> None:
        shutil.copy(folder / path, folder.parent / "outside")
        link(path, folder.parent / "outside")(folder)

    return change


def link_to_other(path: str) -> Callable[[Path], Any]:
    """Replace a file by a symbolic link to as many other bytes outside."""

    def change(folder: Path) -> None:
        link_to_copy(path)(folder)
        flip("outside", 40)(folder.parent)

    return change


def link_to_pipe(path: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        os.mkfifo(folder.parent / "pipe")
        link(path, folder.parent / "pipe")(folder)

    return change


def in_blobs(path: str, place: str) -> Callable[[Path], Any]:
    """Replace a file by a link into a folder beside the bundle, which is no snapshot of the Hub."""

    def change(folder: Path) -> None:
        (folder.parent / place).mkdir(parents=True, exist_ok=True)
        shutil.move(folder / path, folder.parent / place / "blob")
        (folder / path).symlink_to(folder.parent / place / "blob")

    return change


def pointer(path: str) -> Callable[[Path], Any]:
    """What a clone without git-lfs has in a file's place."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    return lambda folder: (folder / path).write_text(text)


def swap(folder: Path) -> None:
    (folder / "vjp.onnx").rename(folder / "tmp")
    (folder / "jvp.onnx").rename(folder / "vjp.onnx")
    (folder / "tmp").rename(folder / "jvp.onnx")


def fifo(folder: Path) -> None:
    (folder / "evaluate.onnx").unlink()
    os.mkfifo(folder / "evaluate.onnx")


def in_linked_folder(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "elsewhere")
    (folder / "graphs").symlink_to(folder.parent / "elsewhere")
    forge.edit_manifest(folder, forge.setting("functions/0/file/path", "graphs/evaluate.onnx"))


def as_folder(path: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).mkdir()

    return change


FAULTS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no manifest", lambda f: (f / "manifest.json").unlink(), "manifest.json: missing"),
    ("no graph", lambda f: (f / "evaluate.onnx").unlink(), "evaluate.onnx: missing"),
    ("no other graph", lambda f: (f / "hvp.onnx").unlink(), "hvp.onnx: missing"),
    ("no golden samples", lambda f: (f / "golden.npz").unlink(), "golden.npz: missing"),
    ("empty folder", lambda f: [p.unlink() for p in f.iterdir()], "manifest.json: missing"),
    ("manifest cut", cut("manifest.json", -20), "not valid JSON"),
    ("graph cut", cut("evaluate.onnx", 100), "100 bytes, the manifest says"),
    ("graph emptied", cut("evaluate.onnx", 0), "0 bytes, the manifest says"),
    ("golden cut", cut("golden.npz", -1), "golden.npz"),
    ("a byte more", lambda f: (f / "vjp.onnx").write_bytes((f / "vjp.onnx").read_bytes() + b"."), "more than"),
    ("first bit of the graph", flip("evaluate.onnx", 0), "SHA-256 is not the one"),
    ("a bit of a weight", flip("evaluate.onnx", 500), "SHA-256 is not the one"),
    ("last bit of the graph", flip("evaluate.onnx", -1), "SHA-256 is not the one"),
    ("a bit of the golden samples", flip("golden.npz", 300), "SHA-256 is not the one"),
    ("graphs swapped", swap, "vjp.onnx"),
    ("link to /etc/passwd", link("evaluate.onnx", "/etc/passwd"), "leads out of the bundle"),
    ("manifest a link out", link_to_copy("manifest.json"), "leads out of the bundle"),
    ("a link out to other bytes", link_to_other("evaluate.onnx"), "SHA-256 is not the one in the manifest"),
    ("a link out to a larger file", link("golden.npz", __file__), "more than"),
    ("a link out to a folder", link("vjp.onnx", "/etc"), "leads out of the bundle"),
    ("a link out to a pipe", link_to_pipe("vjp.onnx"), "not a regular file"),
    ("manifest a link to blobs that are not the Hub's", in_blobs("manifest.json", "net"), "leads out of the bundle"),
    ("manifest a link past the Hub's blobs", in_blobs("manifest.json", "blobs/deeper"), "leads out of the bundle"),
    ("graph a git-lfs pointer", pointer("evaluate.onnx"), "a git-lfs pointer, not the file itself; run git lfs pull"),
    ("golden a git-lfs pointer", pointer("golden.npz"), "run git lfs pull"),
    ("manifest a git-lfs pointer", pointer("manifest.json"), "run git lfs pull"),
    ("folder a link out", in_linked_folder, "leads out of the bundle"),
    ("link to itself", link("evaluate.onnx", "evaluate.onnx"), "cannot be opened"),
    ("link to nothing", link("evaluate.onnx", "nothing"), "missing"),
    ("link to another graph", link("evaluate.onnx", "vjp.onnx"), "evaluate.onnx"),
    ("graph a folder", as_folder("evaluate.onnx"), "not a regular file"),
    ("manifest a folder", as_folder("manifest.json"), "not a regular file"),
    ("graph a pipe", fifo, "not a regular file"),
    ("graph a device", link("evaluate.onnx", "/dev/zero"), "leads out of the bundle"),
]


def keras_model(folder: Path) -> Path:
    path = folder / "net.keras"
    path.write_bytes(b"PK")
    return path


LOADS: list[tuple[str, Callable[[Path], Any], type[PullbackError], str]] = [
    ("nothing there", lambda f: pullback.load(f / "nothing"), BundleError, "no such file or folder"),
    ("a number", lambda f: pullback.load(7), InputError, "path must be"),  # type: ignore[arg-type]
    ("None", lambda f: pullback.load(None), InputError, "path must be"),  # type: ignore[arg-type]
    ("bytes", lambda f: pullback.load(b"x"), InputError, "path must be"),  # type: ignore[arg-type]
    ("a path with NUL", lambda f: pullback.load("a\0b"), BundleError, "no such file or folder"),
    ("the manifest itself", lambda f: pullback.load(f / "manifest.json"), BundleError, "damaged"),
    ("the golden samples", lambda f: pullback.load(f / "golden.npz"), BundleError, "damaged"),
    ("the parent folder", lambda f: pullback.load(f.parent), BundleError, "manifest.json: missing"),
    ("a device", lambda f: pullback.load("/dev/null"), BundleError, "no such file"),
    ("unknown backend", lambda f: pullback.load(f, backend="torch"), InputError, "backend must be"),
    (
        "a missing backend",
        lambda f: pullback.load(f, backend="saved_model"),
        NotExportedError,
        "no SavedModel",
    ),
    ("negative threads", lambda f: pullback.load(f, threads=-1), InputError, "threads must be"),
    ("half a thread", lambda f: pullback.load(f, threads=0.5), InputError, "threads must be"),  # type: ignore[arg-type]
    ("threads a flag", lambda f: pullback.load(f, threads=True), InputError, "threads must be"),
    ("unknown optimization", lambda f: pullback.load(f, optimization="max"), InputError, "optimization must be"),
    ("unknown provider", lambda f: pullback.load(f, providers=["AbacusProvider"]), InputError, "'AbacusProvider'"),
    ("no provider", lambda f: pullback.load(f, providers=[]), InputError, "providers must be"),
    (
        "provider a string",
        lambda f: pullback.load(f, providers="CPUExecutionProvider"),
        InputError,
        "must be a list",
    ),
    ("unknown check_range", lambda f: pullback.load(f, check_range="log"), InputError, "check_range must be"),
    (
        "a Keras model",
        lambda f: pullback.load(keras_model(f)),
        BundleError,
        "a Keras model, not a bundle; export it first",
    ),
    (
        "a bare git-lfs pointer",
        lambda f: (pointer("vjp.onnx")(f), pullback.load(f / "vjp.onnx")),
        BundleError,
        "git lfs",
    ),
    ("verify of a bare file", lambda f: pullback.load(f / "vjp.onnx").verify(), NotExportedError, "no golden samples"),
    ("call of a bare vjp", lambda f: pullback.load(f / "vjp.onnx")([[0, 0, 0]]), NotExportedError, "holds no function"),
]


@pytest.mark.parametrize(("fault", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_fault(folder: Path, fault: Callable[[Path], Any], message: str) -> None:
    fault(folder)
    with pytest.raises(BundleError) as caught:
        pullback.load(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(("load", "error", "message"), [row[1:] for row in LOADS], ids=[row[0] for row in LOADS])
def test_load(folder: Path, load: Callable[[Path], Any], error: type[PullbackError], message: str) -> None:
    with pytest.raises(error) as caught:
        load(folder)
    assert message in str(caught.value)


def test_unreadable_file(folder: Path) -> None:
    (folder / "evaluate.onnx").chmod(0)
    if os.access(folder / "evaluate.onnx", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(BundleError, match="cannot be read"):
        pullback.load(folder)


@pytest.mark.parametrize("name", ["Kübel über ∂y∕∂x", "a b'c\"d", "x" * 200, "-o"])
def test_strange_folders(folder: Path, name: str) -> None:
    place = folder.parent / name / name
    place.parent.mkdir()
    shutil.move(folder, place)
    bundle = pullback.load(place)
    assert bundle.verify().ok
    assert pickle.loads(pickle.dumps(bundle)).digest == bundle.digest


def test_read_only_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert pullback.load(folder).verify().ok
    finally:
        folder.chmod(0o755)


def test_replaced_after_load(folder: Path) -> None:
    """What was loaded goes on; what was pickled says that it is not the same any more."""
    bundle = pullback.load(folder)
    pickled, before = pickle.dumps(bundle), bundle([[1, 2, 3]])
    forge.edit_manifest(folder, forge.setting("name", "another"))
    assert bundle([[1, 2, 3]]).y == before.y
    assert bundle.vjp([[1, 2, 3]], [1]).adj_x.shape == (1, 3)  # first used now, from what was checked at load
    with pytest.raises(BundleError, match="replaced after it was pickled"):
        pickle.loads(pickled)


def test_golden_replaced_after_load(folder: Path) -> None:
    bundle = pullback.load(folder)
    flip("golden.npz", 300)(folder)
    with pytest.raises(BundleError, match="If the bundle was replaced after it was loaded"):
        bundle.verify()


def test_wrong_numbers_are_found(folder: Path) -> None:
    """A weight changed by someone who mends the checksum: only the samples can tell."""
    content = bytearray((folder / "evaluate.onnx").read_bytes())
    start = bytes(content).index(b"\x42\x01b")  # the name of the bias; its values are near
    content[start + 8] ^= 0x40
    forge.replace(folder, "evaluate.onnx", bytes(content))
    bundle = pullback.load(folder)
    with pytest.raises(pullback.ParityError) as caught:
        bundle.verify()
    assert not caught.value.report.ok
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.report == caught.value.report


def test_replaced_while_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is of the old bundle, a graph already of the new one: it is read again."""
    check, seen = opening._check_bundle, list[bytes]()

    def slow(path: Path, text: bytes, saved_model: bool) -> opening.Opened:
        seen.append(text)
        if len(seen) == 1:
            content = (folder / "golden.npz").read_bytes()
            forge.replace(folder, "golden.npz", content)
            forge.edit_manifest(folder, forge.setting("name", "new"))
            raise BundleError("evaluate.onnx: its SHA-256 is not the one in the manifest")
        return check(path, text, saved_model)

    monkeypatch.setattr(opening, "_check_bundle", slow)
    found = pullback.load(folder).manifest
    assert found is not None
    assert found.name == "new"
    assert len(seen) == 2
