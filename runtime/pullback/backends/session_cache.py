"""Optimised graphs of ONNX Runtime in a folder, so that the next process need not optimise them again.

ONNX Runtime writes a graph as it runs it: folded, fused, in the memory layout of this processor. Such a graph is right
for one bundle, one ONNX Runtime and one kind of processor only, so that all of these are its key
(https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html, "Online/Offline Mode"). It is
opened without any further optimisation, and gives the same numbers to the last bit. Large weights are a file of their
own, which is mapped into memory, not copied.

``<hash of the key>.json`` holds the key, sizes and SHA-256, and names the folder with the two files. A folder is never
changed once it is named; a new one takes its place at once. An entry that is missing, cut off, damaged, of another key
or not to be read is the same as none: the graph is optimised again, as without a cache, and stored again where that is
possible. Only what takes the place of an entry, or was left by a killed process, is removed; the whole folder can be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pullback.errors import BundleError, InputError
from pullback.storage.folder import open_regular

FORMAT = 1  # raised when another graph is stored for the same key: entries differ, or graphs are cut otherwise
GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
_FOLDER = re.compile("[0-9a-f]+-[0-9a-f]+")
_MOST_ENTRY_BYTES = 2**20
_LEFT_BEHIND_SECONDS = 3600.0  # no process takes so long to write a graph


@dataclasses.dataclass(frozen=True)
class Stored:
    """An optimised graph, and the folder with its large weights; ``size``: bytes of the graph it was made of."""

    graph: bytes
    folder: Path
    size: int


class SessionCache:
    """The optimised graphs of one bundle in ``folder``; safe to share between threads and processes."""

    def __init__(self, folder: Path, common: Mapping[str, Any]) -> None:
        """``common``: what all graphs of the bundle have in their keys; a JSON object."""
        self.folder = folder
        self._common = dict(common)

    def read(self, function: str, outputs: Collection[str] | None) -> Stored | None:
        """What is stored for some outputs of ``function`` (None: for all of it); None where nothing usable is."""
        key = self._key(function, outputs)
        try:
            with open_regular(self._entry(key)) as stream:
                stated = json.loads(stream.read(_MOST_ENTRY_BYTES))
            if stated["key"] != key or not _FOLDER.fullmatch(stated["folder"]):
                return None
            folder, files = self.folder / stated["folder"], stated["files"]
            with open_regular(folder / GRAPH) as stream:
                graph = stream.read()
            whole = [len(graph), hashlib.sha256(graph).hexdigest()] == files[GRAPH]
            if not whole or (WEIGHTS in files and _described(folder / WEIGHTS) != files[WEIGHTS]):
                return None
            return Stored(graph, folder, int(stated["size"]))
        except (OSError, BundleError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, function: str, outputs: Collection[str] | None, size: int, save: Callable[[Path], None]) -> None:
        """Store what ``save`` writes as ``GRAPH`` and ``WEIGHTS`` into a folder; without a word where that fails.

        Args:
            function: whose graph it is.
            outputs: as for ``read``.
            size: bytes of the graph before it was optimised.
            save: writes the files and makes sure that they can be opened; may raise anything.
        """
        key = self._key(function, outputs)
        entry, unique = self._entry(key), secrets.token_hex(8)
        folder = self.folder / f"{entry.stem}-{unique}"
        with _made(folder.with_name(f"{folder.name}.new")) as new, _made(self.folder / f"{unique}.json.new") as text:
            self._tidy()
            new.mkdir(mode=0o700)
            save(new)
            files = {path.name: _described(path) for path in new.iterdir()}
            stated = {"key": key, "folder": folder.name, "files": files, "size": size}
            text.write_text(json.dumps(stated), encoding="utf-8")
            with _alone(entry.with_suffix(".lock.new")):
                new.rename(folder)
                os.replace(text, entry)
                for other in self.folder.glob(f"{entry.stem}-*"):
                    if other != folder and _FOLDER.fullmatch(other.name):
                        shutil.rmtree(other, ignore_errors=True)

    def _key(self, function: str, outputs: Collection[str] | None) -> dict[str, Any]:
        return {**self._common, "function": function, "outputs": None if outputs is None else sorted(outputs)}

    def _entry(self, key: Mapping[str, Any]) -> Path:
        return self.folder / (hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest() + ".json")

    def _tidy(self) -> None:
        """Remove what processes that were killed left half written."""
        for path in self.folder.glob("*.new"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                    _remove(path)


@contextlib.contextmanager
def _made(path: Path) -> Iterator[Path]:
    """Something that must be gone in the end; errors too: of a read-only folder, a full disk, a provider."""
    try:
        with contextlib.suppress(Exception):
            yield path
    finally:
        _remove(path)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Raises ``FileExistsError`` where another process is here: it stores the same graph.

    Else it could remove a folder that this one is about to name.
    """
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield
    finally:
        _remove(lock)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _described(path: Path) -> list[object]:
    """Bytes and SHA-256 of a file."""
    with open_regular(path) as opened:
        stream: Any = opened
        digest = hashlib.file_digest(stream, "sha256")
        return [stream.tell(), digest.hexdigest()]


def open_cache(
    folder: str | None, bundle: Path, digest: str, providers: Sequence[Any], optimization: str
) -> SessionCache | None:
    """The cache in ``folder``, which is made where there is none; None for None.

    Args:
        folder: where it is; not inside of the bundle, whose files are those that its manifest lists.
        bundle: where the bundle is.
        digest: of the bundle.
        providers: execution providers, with their options where they have some.
        optimization: ONNX Runtime's level.

    Raises:
        InputError: ``folder`` is a file, cannot be made, or lies inside of the bundle.
    """
    if folder is None:
        return None
    place = Path(folder)
    root = bundle if bundle.is_dir() else bundle.parent
    try:
        inside = (root / "manifest.json").exists() and place.resolve().is_relative_to(root.resolve())
        if not inside:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cache: {place} cannot be made a folder ({error}); choose another one") from error
    if inside:
        raise InputError(f"cache: {place} lies inside of the bundle {root}; choose a folder outside of it")
    import onnxruntime

    common = {
        "format": FORMAT,
        "onnxruntime": [onnxruntime.__version__, onnxruntime.get_build_info()],
        "bundle": digest,
        # Numbers of threads are no part of it: they do not change the graph.
        "providers": json.loads(json.dumps(list(providers), default=repr)),
        "optimization": optimization,
        "processor": processor(),
    }
    return SessionCache(place, common)


@functools.cache
def processor() -> list[str]:
    """What tells apart kinds of processors that get different graphs or kernels: of Linux, their lists of features.

    Other systems do not list them: there the name of the machine stands for them, so that no other one takes its files.
    """
    found = [platform.system(), platform.machine()]
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return [*found, platform.processor(), platform.node()]
    wanted = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    named = {" ".join(line.split()) for line in lines if line.split(":")[0].strip() in wanted}
    return [*found, *sorted(named)] if named else [*found, platform.processor(), platform.node()]
