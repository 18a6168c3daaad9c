"""Bundles elsewhere than in a plain folder: the cache of the Hub, a zip file, a URL; the same numbers, or refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import BundleError, MissingDependencyError

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES
from tests.runtime.test_saved_model import FakeTensorFlow, both, tensorflow  # noqa: F401  # fixtures

NET = FIXTURES / "net.pullback"
X = np.array([[0.5, -1.0, 2.0]], np.float32)


def hub(folder: Path, home: Path, name: str = "net.pullback") -> Path:
    """``folder`` as ``snapshot_download`` lays it: every file a relative link into ``blobs/``."""
    blobs, snapshot = home / "models--us--net" / "blobs", home / "models--us--net" / "snapshots" / "abc" / name
    blobs.mkdir(parents=True)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            blob, link = blobs / hashlib.sha256(file.read_bytes()).hexdigest(), snapshot / file.relative_to(folder)
            shutil.copy(file, blob)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


@pytest.mark.parametrize("name", ["net.pullback", ".", "bundles/net.pullback"])
def test_the_cache_of_the_hub(tmp_path: Path, net: pullback.Bundle, name: str) -> None:
    path = hub(NET, tmp_path, name)
    bundle = pullback.load(path)
    assert bundle.verify().ok
    assert bundle.digest == net.digest
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(bundle))(X).y, net(X).y)
    np.testing.assert_array_equal(pullback.load(path / "vjp.onnx").vjp(X, [1]).adj_x, net.vjp(X, [1]).adj_x)
    (tmp_path / "mine").symlink_to(path)
    assert pullback.load(tmp_path / "mine").verify().ok


def test_a_listed_file_may_be_a_link_to_anywhere(folder: Path) -> None:
    """What it holds is promised; where it lies does not matter."""
    for name in ("evaluate.onnx", "golden.npz"):
        shutil.move(folder / name, folder.parent / f"elsewhere-{name}")
        (folder / name).symlink_to(folder.parent / f"elsewhere-{name}")
    bundle = pullback.load(folder)
    assert bundle.verify().ok
    (folder.parent / "elsewhere-golden.npz").write_bytes(b"other")
    with pytest.raises(
        BundleError,
        match=r"a symbolic link leads out of the bundle to it; copy or export .*\. If the bundle was replaced",
    ):
        bundle.verify()


HUB: list[tuple[str, Callable[[Path], Any], str]] = [
    ("another blob", lambda f: relink(f / "vjp.onnx", (f / "jvp.onnx").resolve()), "vjp.onnx"),
    ("a blob that is gone", lambda f: (f / "vjp.onnx").resolve().unlink(), "missing"),
    ("manifest a link past the blobs", lambda f: relink(f / "manifest.json", outside(f)), "leads out of the bundle"),
    ("a folder that is a link", lambda f: linked_folder(f), "leads out of the bundle"),
    ("a blob that is a pointer", lambda f: (f / "vjp.onnx").resolve().write_bytes(POINTER), "run git lfs pull"),
    ("the manifest's blob a pointer", lambda f: (f / "manifest.json").resolve().write_bytes(POINTER), "git lfs pull"),
]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def relink(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def outside(folder: Path) -> Path:
    target = folder.parents[3] / "manifest.json"
    shutil.copy(folder / "manifest.json", target)
    return target


def linked_folder(folder: Path) -> None:
    shutil.copytree(folder, folder.parents[3] / "elsewhere")
    (folder / "graphs").symlink_to(folder.parents[3] / "elsewhere")
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_bytes(content)
    forge.edit_manifest(folder, forge.setting("functions/0/file/path", "graphs/evaluate.onnx"))


@pytest.mark.parametrize(("fault", "message"), [row[1:] for row in HUB], ids=[row[0] for row in HUB])
def test_faults_of_the_hub(tmp_path: Path, fault: Callable[[Path], Any], message: str) -> None:
    path = hub(NET, tmp_path)
    fault(path)
    with pytest.raises(BundleError) as caught:
        pullback.load(path)
    assert message in str(caught.value)


def packed(folder: Path, target: Path, top: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
    return target


@pytest.mark.parametrize("top", ["", "net.pullback/"])
def test_one_file(tmp_path: Path, net: pullback.Bundle, top: str) -> None:
    bundle = pullback.load(packed(NET, tmp_path / "net.pullback.zip", top))
    assert bundle.verify().ok
    assert bundle.digest == net.digest
    assert [function.spec for function in bundle.functions.values()] == [f.spec for f in net.functions.values()]
    np.testing.assert_array_equal(bundle.hvp(X, X).hvp_y_x, net.hvp(X, X).hvp_y_x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(bundle))(X).y, net(X).y)
    forked = bundle.flat("y", "x")
    np.testing.assert_array_equal(forked.gradient(X[0]), net(X).dy_dx[0])


def test_packed(folder: Path, tmp_path: Path, both: Path, net: pullback.Bundle) -> None:  # noqa: F811
    """With what the manifest lists and nothing else; the same bytes each time."""
    (folder / "notes.txt").write_text("not ours")
    for number in range(2):
        pullback.load(folder).pack(tmp_path / f"{number}.zip")
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.namelist()[0] == "manifest.json"
        assert "notes.txt" not in archive.namelist()
    again = pullback.load(tmp_path / "0.zip")
    assert again.digest == pullback.load(folder).digest
    assert again.verify().ok
    again.pack(tmp_path / "2.zip")
    assert (tmp_path / "2.zip").read_bytes() == (tmp_path / "0.zip").read_bytes()
    with pytest.raises(pullback.NotExportedError, match="a bare file, not a bundle"):
        pullback.load(net.path / "vjp.onnx").pack(tmp_path / "3.zip")
    bundle = pullback.load(folder)
    (folder / "vjp.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="the manifest says"):
        bundle.pack(tmp_path / "4.zip")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["0.zip", "1.zip", "2.zip", "net.pullback"]


def rewritten(change: Callable[[list[tuple[zipfile.ZipInfo, bytes]]], Any]) -> Callable[[Path], Any]:
    """Change the members of an archive, as data."""

    def edit(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        change(members)
        with zipfile.ZipFile(path, "w") as archive:
            for info, content in members:
                archive.writestr(info, content)

    return edit


def added(name: str, mode: int = 0o644, content: bytes = b"x") -> Callable[[Path], Any]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return rewritten(lambda members: members.append((info, content)))


def edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def edit(members: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        members[:] = [(info, change(content) if info.filename == name else content) for info, content in members]

    return rewritten(edit)


def dropped(name: str) -> Callable[[Path], Any]:
    return rewritten(lambda members: members.remove(next(item for item in members if item[0].filename == name)))


def in_directory(name: str, offset: int, form: str, value: int) -> Callable[[Path], Any]:
    """Change a field of a member in the archive's directory; ``offset`` as in APPNOTE.TXT, 4.3.12."""

    def edit(path: Path) -> None:
        content = bytearray(path.read_bytes())
        entry = next(
            i
            for i in range(len(content))
            if content[i : i + 4] == b"PK\x01\x02" and content[i + 46 :].startswith(name.encode())
        )
        struct.pack_into(form, content, entry + offset, value)
        path.write_bytes(bytes(content))

    return edit


def compressed(path: Path) -> None:
    packed(NET, path, method=zipfile.ZIP_DEFLATED)


def many_tops(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for top in ("a", "b"):
            archive.write(NET / "manifest.json", f"{top}/manifest.json")


ARCHIVES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("cut", lambda p: p.write_bytes(p.read_bytes()[:-30]), "it is damaged"),
    (
        "no archive behind its first bytes",
        lambda p: p.write_bytes(b"PK\x03\x04" + bytes(100)),
        "not a readable zip file",
    ),
    ("a pointer", lambda p: p.write_bytes(POINTER), "run git lfs pull"),
    ("no manifest", dropped("manifest.json"), "no manifest.json in it"),
    ("two bundles", many_tops, "no manifest.json in it, or several"),
    ("no graph", dropped("vjp.onnx"), "vjp.onnx: missing"),
    ("a bit of a graph", edited("vjp.onnx", lambda c: c[:100] + bytes([c[100] ^ 4]) + c[101:]), "SHA-256"),
    ("a graph cut", edited("vjp.onnx", lambda c: c[:-1]), "bytes, the manifest says"),
    ("a byte more", edited("golden.npz", lambda c: c + b"."), "more than"),
    ("compressed", compressed, "is compressed; store it uncompressed"),
    ("out of the folder", added("../evil"), "not a plain relative path"),
    ("an absolute path", added("/etc/passwd"), "not a plain relative path"),
    ("a path of Windows", added("C:\\evil"), "not a plain relative path"),
    ("a step back within", added("a/../b"), "not a plain relative path"),
    ("a symbolic link", added("link", 0o120777, b"/etc/passwd"), "is a symbolic link"),
    ("a member twice", added("vjp.onnx"), "occurs twice"),
    ("encrypted", in_directory("vjp.onnx", 8, "<H", 1), "is encrypted"),
    ("an unknown method", in_directory("vjp.onnx", 10, "<H", 99), "is compressed"),
    ("a size that is not there", in_directory("vjp.onnx", 24, "<I", 2**31), "is compressed"),
    ("members that overlap", in_directory("vjp.onnx", 42, "<I", 0), "overlaps another"),
    ("a checksum of the archive", in_directory("vjp.onnx", 16, "<I", 7), "cannot be read"),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("fault", "message"), [row[1:] for row in ARCHIVES], ids=[row[0] for row in ARCHIVES])
def test_faults_of_archives(tmp_path: Path, fault: Callable[[Path], Any], message: str) -> None:
    path = packed(NET, tmp_path / "net.pullback.zip")
    fault(path)
    with pytest.raises(BundleError) as caught:
        pullback.load(path)
    assert message in str(caught.value)
    assert not (tmp_path.parent / "evil").exists()


def test_what_is_not_listed_is_not_read(tmp_path: Path) -> None:
    path = packed(NET, tmp_path / "net.zip")
    added("README.md", content=b"x" * 1000)(path)
    assert pullback.load(path).verify().ok


def test_replaced_archive(tmp_path: Path) -> None:
    bundle = pullback.load(packed(NET, tmp_path / "net.zip"))
    edited("golden.npz", lambda content: content[:-1])(tmp_path / "net.zip")
    with pytest.raises(BundleError, match="If the bundle was replaced after it was loaded"):
        bundle.verify()
    assert bundle(X).y.shape == (1,)


def test_tensorflow_is_not_pointed_at_links(both: Path, tensorflow: FakeTensorFlow, tmp_path: Path) -> None:  # noqa: F811
    """Links and members are checked once more while they are copied; the copy is ours and goes with the bundle."""
    want = pullback.load(both)(X).y
    for path in (hub(both, tmp_path), packed(both, tmp_path / "net.zip")):
        bundle = pullback.load(path, backend="saved_model")
        np.testing.assert_array_equal(bundle(X).y, want)
        place = Path(tensorflow.loaded[-1])
        assert not place.is_relative_to(path)
        assert not any(file.is_symlink() for file in place.rglob("*"))
        assert (place / "saved_model.pb").read_bytes() == b"a program"
        if hasattr(os, "getuid"):
            assert place.parent.stat().st_mode & 0o077 == 0
        del bundle
        import gc

        gc.collect()
        assert not place.exists()


def test_a_program_that_changes_behind_a_link(both: Path, tensorflow: FakeTensorFlow, tmp_path: Path) -> None:  # noqa: F811
    path = hub(both, tmp_path)
    bundle = pullback.load(path, backend="saved_model")
    (path / "saved_model" / "saved_model.pb").resolve().write_bytes(b"an evil!!")
    with pytest.raises(BundleError, match="SHA-256"):
        bundle(X)
    assert tensorflow.loaded == []


def test_plain_programs_are_opened_in_place(both: Path, tensorflow: FakeTensorFlow) -> None:  # noqa: F811
    pullback.load(both, backend="saved_model")(X)
    assert tensorflow.loaded == [str(both / "saved_model")]


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is an extra: pullback[remote]")
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_urls(memory: Any, tmp_path: Path, net: pullback.Bundle) -> None:
    memory.put(str(NET), "/net.pullback", recursive=True)
    memory.put(str(packed(NET, tmp_path / "net.zip")), "/net.zip")
    for url in ("memory://net.pullback", "memory://net.zip", "memory://net.pullback/", f"file://{NET}"):
        bundle = pullback.load(url)
        assert bundle.verify().ok
        assert bundle.digest == net.digest
        again = pickle.loads(pickle.dumps(bundle))
        np.testing.assert_array_equal(again(X).y, net(X).y)
    assert pullback.load("memory://net.zip").source == "memory://net.zip"
    np.testing.assert_array_equal(pullback.load("memory://net.pullback/vjp.onnx").vjp(X, [1]), net.vjp(X, [1]))


def test_faults_of_urls(memory: Any, tmp_path: Path) -> None:
    memory.put(str(NET), "/net.pullback", recursive=True)
    with pytest.raises(BundleError, match="no such file or folder"):
        pullback.load("memory://nothing.pullback")
    with pytest.raises(BundleError, match="Protocol not known: nothing"):
        pullback.load("nothing://net.pullback")
    memory.pipe("/net.pullback/vjp.onnx", b"other")
    with pytest.raises(BundleError, match=r"memory://net\.pullback/vjp\.onnx: 5 bytes, the manifest says"):
        pullback.load("memory://net.pullback")
    memory.rm("/net.pullback/vjp.onnx")
    with pytest.raises(BundleError, match=r"vjp\.onnx: missing"):
        pullback.load("memory://net.pullback")


def test_links_behind_a_file_url(memory: Any, folder: Path) -> None:
    shutil.move(folder / "manifest.json", folder.parent / "manifest.json")
    (folder / "manifest.json").symlink_to(folder.parent / "manifest.json")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        pullback.load(f"file://{folder}")


def test_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    from pullback.storage import remote

    monkeypatch.setitem(sys.modules, "fsspec", None)
    remote._fsspec.cache_clear()
    with pytest.raises(MissingDependencyError, match=r'pip install "pullback\[remote\]"'):
        pullback.load("s3://bucket/net.pullback")
    remote._fsspec.cache_clear()
