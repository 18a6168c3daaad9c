"""Writes a bundle beside its target and renames it: at the path there is a whole bundle or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from pullback import golden
from pullback.manifest import FileSpec, GraphSpec, Manifest, Tolerance
from pullback_export.errors import ExportError
from pullback_export.onnx_graph import OnnxFunction
from pullback_export.parity import Checked


class Staging:
    """A folder beside the target that is being filled."""

    def __init__(self, path: pathlib.Path, name: str) -> None:
        self.path = path
        self.name = name

    def write_bytes(self, name: str, content: bytes) -> None:
        with open(self.path / name, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def finish(
        self, built: Sequence[OnnxFunction], opset: int, tolerance: Tolerance, checked: Checked, producer: Mapping[str, str]
    ) -> None:
        """Writes ``golden.npz`` and, last of all, ``manifest.json``."""
        golden.write(self.path / "golden.npz", checked.golden)
        graphs = []
        for one in built:
            file = self._file(self.path / f"{one.spec.name}.onnx")
            graphs.append(GraphSpec(one.spec, file, opset))
        folder = self.path / "saved_model"
        saved = [self._file(item) for item in sorted(folder.rglob("*")) if item.is_file()]
        golden_file = self._file(self.path / "golden.npz")
        assert golden_file is not None
        manifest = Manifest(
            self.name, dict(producer), tuple(graphs), tuple(item for item in saved if item is not None), golden_file,
            tolerance, checked.summary(), ranges=dict(checked.ranges),
        )
        self.write_bytes("manifest.json", manifest.to_json().encode())

    def _file(self, path: pathlib.Path) -> FileSpec | None:
        if not path.is_file():
            return None
        content = path.read_bytes()
        return FileSpec(path.relative_to(self.path).as_posix(), hashlib.sha256(content).hexdigest(), len(content))


def check_target(target: pathlib.Path, overwrite: bool) -> None:
    """Raises :class:`ExportError` before any work where the bundle could not be put."""
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise ExportError(f"{target} exists already; choose another path or pass overwrite=True")
        if not (target / "manifest.json").is_file():
            raise ExportError(f"{target} exists and is not a bundle; overwrite=True replaces bundles only")
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent} is not a folder; make it first")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"{target.parent} cannot be written to; choose another path")


@contextlib.contextmanager
def staged(target: pathlib.Path, overwrite: bool) -> Iterator[Staging]:
    """A folder in the target's parent, renamed to the target at the end; removed on any failure.

    An old bundle is moved aside first and removed after the new one is in place, so that a process that is killed in
    between leaves the old or the new one whole (the old one then under the name ``.<name>.old-*``).
    """
    _sweep(target)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.new-{os.getpid()}-", dir=target.parent))
    try:
        os.chmod(work, 0o755)
        yield Staging(work, target.name)
        _install(work, target, overwrite)
    except OSError as problem:
        raise ExportError(f"{target}: cannot write the bundle: {problem.strerror or problem}; nothing was left behind") from problem
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(work: pathlib.Path, target: pathlib.Path, overwrite: bool) -> None:
    if not overwrite:
        if target.exists():
            raise ExportError(f"{target} appeared while it was being exported; nothing was changed")
        os.rename(work, target)
        return
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.old-{os.getpid()}-", dir=target.parent)) / "bundle"
    try:
        if target.exists():
            os.rename(target, aside)
        try:
            os.rename(work, target)
        except OSError:
            if aside.exists():
                os.rename(aside, target)
            raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _sweep(target: pathlib.Path) -> None:
    """Removes what exports to this path left behind that were killed; their process number is in the name."""
    for left in target.parent.glob(f".{target.name}.new-*"):
        number = left.name.split(".new-")[1].split("-")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
