"""Writes a bundle beside its target and renames it: at the path there is a whole bundle or nothing."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import glob
import hashlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence

from pullback import features, golden
from pullback.features import Features
from pullback.manifest import FileSpec, FunctionSpec, GraphSpec, Manifest, Tolerance, parse, version_of
from pullback.parity import Report

from pullback_export.artifacts.onnx_model import BESIDE
from pullback_export.errors import ExportError
from pullback_export.gate.check import Checked

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Staging:
    """A folder beside the target that is being filled."""

    def __init__(self, path: pathlib.Path, name: str) -> None:
        self.path = path
        self.name = name

    def write_bytes(self, name: str, *pieces: bytes | memoryview) -> None:
        """The file ``name`` from its ``pieces``, one after the other."""
        with open(self.path / name, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())

    def finish(
        self,
        specs: Sequence[FunctionSpec],
        opsets: Mapping[str, int],
        tolerance: Tolerance,
        checked: Checked,
        producer: Mapping[str, str],
        columns: Features,
    ) -> None:
        """Writes ``golden.npz`` and, last of all, ``manifest.json``; ``opsets`` are those of the functions by name."""
        golden.write(self.path / "golden.npz", checked.golden)
        graphs = []
        for spec in specs:
            graph, weights = (self._file(self.path / f"{spec.name}{end}") for end in (".onnx", BESIDE))
            graphs.append(GraphSpec(spec, graph, opsets[spec.name], weights))
        folder = self.path / "saved_model"
        saved = [self._file(item) for item in sorted(folder.rglob("*")) if item.is_file()]
        golden_file = self._file(self.path / "golden.npz")
        assert golden_file is not None
        manifest = Manifest(
            self.name,
            dict(producer),
            tuple(graphs),
            tuple(item for item in saved if item is not None),
            golden_file,
            tolerance,
            checked.summary() | ({features.KEY: dict(columns)} if columns else {}),
            version_of(graph.function for graph in graphs),
            ranges=dict(checked.ranges),
        )
        self.write_bytes("manifest.json", manifest.to_json().encode())

    def take(self, bundle: pathlib.Path) -> None:
        """The files of a whole ``bundle`` that was written within this folder."""
        for item in bundle.iterdir():
            os.rename(item, self.path / item.name)
        bundle.rmdir()

    def add_to_report(self, report: Report) -> None:
        """The rows and notes of ``report`` beside those that the manifest has."""
        path = self.path / "manifest.json"
        manifest = parse(path.read_text(encoding="utf-8"))
        more = Checked(report, {}, {}).summary()
        parity = dict(manifest.parity)
        parity |= {key: [*_listed(parity.get(key)), *_listed(more[key])] for key in ("rows", "notes")}
        parity["ok"] = bool(parity.get("ok")) and report.ok
        self.write_bytes("manifest.json", dataclasses.replace(manifest, parity=parity).to_json().encode())

    def _file(self, path: pathlib.Path) -> FileSpec | None:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileSpec(path.relative_to(self.path).as_posix(), digest, path.stat().st_size)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def check_target(target: pathlib.Path, overwrite: bool) -> None:
    """Raises :class:`ExportError` before any work where the bundle could not be put."""
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise ExportError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
        if not (target / "manifest.json").is_file():
            raise ExportError(f"{target} exists and is not a bundle; overwrite=True replaces bundles only")
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent} is not a folder; create it first")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"{target.parent} cannot be written to; choose another path")


@contextlib.contextmanager
def staged(target: pathlib.Path, overwrite: bool) -> Iterator[Staging]:
    """A folder in the target's parent, renamed to the target at the end; removed on any failure.

    An old bundle changes places with the new one in one step where the system can do that (Linux). Elsewhere it is
    moved aside first; a process killed in between leaves it under ``.<name>.old-*``, and the next export puts it back.
    """
    _sweep(target)
    # Its name is known before it is made: Ctrl-C in between leaves nothing.
    work = target.parent / f".{target.name}.new-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        os.mkdir(work, 0o700)
        os.chmod(work, 0o755)
        yield Staging(work, target.name)
        _install(work, target, overwrite)
    except OSError as problem:
        raise ExportError(
            f"{target}: cannot write the bundle: {problem.strerror or problem}; nothing was left behind"
        ) from problem
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(work: pathlib.Path, target: pathlib.Path, overwrite: bool) -> None:
    if not overwrite:
        if target.exists():
            raise ExportError(
                f"{target} was created by another process during the export;"
                " nothing was changed. Choose another path, or export again with overwrite=True"
            )
        os.rename(work, target)
        return
    if not target.exists():
        os.rename(work, target)
    elif not _exchange(work, target):
        _replace(work, target)


def _exchange(work: pathlib.Path, target: pathlib.Path) -> bool:
    """Swaps two folders atomically; False where the system or the file system cannot (see renameat2(2))."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(work), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE) == 0)


def _replace(work: pathlib.Path, target: pathlib.Path) -> None:
    aside = target.parent / f".{target.name}.old-{os.getpid()}"
    os.rename(target, aside)
    try:
        os.rename(work, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(target: pathlib.Path) -> None:
    """Puts right what killed exports to this path left behind; their process number is in the name."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*-*"):
        kind, _, rest = left.name[len(target.name) + 2 :].partition("-")
        number = rest.split("-")[0]
        if kind not in ("new", "old") or not number.isdigit() or _alive(int(number)):
            continue
        if kind == "old" and not target.exists():
            os.rename(left, target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
