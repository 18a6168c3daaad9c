"""What lies at a path: a bundle folder, one of its ONNX files alone, or a SavedModel of ours; checked on the way in."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pullback import folder, manifest, onnx_file
from pullback.errors import BundleError
from pullback.manifest import FileSpec, FunctionSpec, Manifest, Tolerance

MANIFEST = "manifest.json"
SAVED_MODEL = "saved_model"
KERAS_SUFFIXES = (".keras", ".h5")

# Graphs up to this size stay in memory, so that a forked worker needs no file that may have been replaced.
_KEPT_BYTES = 16 * 2**20
_MANIFEST_BYTES = 16 * 2**20
_PATIENCE_SECONDS = 10.0  # with a bundle that is replaced again and again while it is read


@dataclasses.dataclass(frozen=True)
class GraphFile:
    """The ONNX file of a function: ``size`` bytes, which ``read`` gives.

    ``row_bytes``: bytes per row of its widest intermediate value; 0: unknown.
    """

    size: int
    read: Callable[[], bytes]
    row_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Opened:
    """A checked bundle, before a backend is chosen.

    ``digest`` changes whenever a byte of the bundle does. ``graphs`` are by name of the function,
    ``golden`` gives the bytes of ``golden.npz``; ``manifest`` and ``golden`` are None for a bare file.
    """

    path: Path
    digest: str
    functions: tuple[FunctionSpec, ...]
    tolerance: Tolerance
    graphs: Mapping[str, GraphFile]
    saved_model: Path | None
    manifest: Manifest | None = None
    golden: Callable[[], bytes] | None = None


def open_path(path: Path, saved_model: bool) -> Opened:
    """Read and check what ``path`` holds, the SavedModel too when ``saved_model`` is true.

    Raises:
        BundleError: it is missing, damaged, forged or not ours.
        FormatVersionError: it is of a version that this runtime does not read.
    """
    try:
        if path.is_file() and path.suffix in KERAS_SUFFIXES:
            raise BundleError(
                f"{path}: a Keras model, not a bundle; make one of it: pullback-export {path.name} BUNDLE"
            )
        if path.is_file():
            return _open_onnx(path)
        if not path.is_dir():
            raise BundleError(f"{path}: there is no such file or folder")
        if (path / "saved_model.pb").exists() and not (path / MANIFEST).exists():
            return _open_saved_model(path)
        return _open_bundle(path, saved_model)
    except (OSError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: cannot be read ({error})") from error


def _open_bundle(path: Path, saved_model: bool) -> Opened:
    """Try again while someone replaces the bundle under our eyes."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        before = _state(path)
        try:
            text = folder.read_limited(folder.resolve(path, MANIFEST), _MANIFEST_BYTES)
            return _check_bundle(path, text, saved_model)
        except BundleError:
            if _state(path) == before or time.monotonic() > end:
                raise


def _state(path: Path) -> tuple[int, ...]:
    """Changes when another folder takes the place, and when another manifest does; empty where there is none."""
    try:
        place, held = os.stat(path), os.stat(path / MANIFEST)
    except OSError:
        return ()
    return (place.st_ino, place.st_mtime_ns, held.st_ino, held.st_mtime_ns, held.st_size)


def _check_bundle(path: Path, text: bytes, saved_model: bool) -> Opened:
    found = manifest.parse(text, str(path / MANIFEST))
    graphs = {}
    for graph in found.functions:
        if graph.file is not None:
            content = folder.read(path, graph.file)
            name = graph.function.name
            row_bytes = _check_graph(content, graph.function, found.tolerance, str(path / graph.file.path))
            graphs[name] = GraphFile(graph.file.size, _reader(path, graph.file, content), row_bytes)
    folder.check(path, found.golden)
    for file in found.saved_model:
        folder.check(path, file)
    if found.saved_model and saved_model:
        extra = folder.listing(path, SAVED_MODEL) - {file.path for file in found.saved_model}
        if extra:
            raise BundleError(f"{path / min(extra)}: not listed in the manifest; it does not belong to the SavedModel")
    return Opened(
        path,
        hashlib.sha256(text).hexdigest(),
        tuple(graph.function for graph in found.functions),
        found.tolerance,
        graphs,
        path / SAVED_MODEL if found.saved_model else None,
        found,
        lambda: _read_again(path, found.golden),
    )


def _check_graph(content: bytes, spec: FunctionSpec, tolerance: Tolerance, where: str) -> int:
    """Bytes per row of the widest intermediate value of a graph that passed; raises ``BundleError``."""
    screened = onnx_file.screen(content, where)
    inside = manifest.from_metadata_props(screened.metadata, where)
    if inside != (spec, tolerance):
        raise BundleError(f"{where}: the specification inside of it differs from the manifest's; it belongs elsewhere")
    onnx_file.check_signature(screened, spec, where)
    return screened.row_bytes


def _open_onnx(path: Path) -> Opened:
    content = folder.read_limited(path, folder.MAX_GRAPH_BYTES)
    screened = onnx_file.screen(content, str(path))
    spec, tolerance = manifest.from_metadata_props(screened.metadata, str(path))
    onnx_file.check_signature(screened, spec, str(path))
    digest = hashlib.sha256(content).hexdigest()
    reader = _reader(path.parent, FileSpec(path.name, digest, len(content)), content)
    graph = GraphFile(len(content), reader, screened.row_bytes)
    return Opened(path, digest, (spec,), tolerance, {spec.name: graph}, None)


def _open_saved_model(path: Path) -> Opened:
    spec = path / manifest.SAVED_MODEL_SPEC
    if not spec.exists():
        raise BundleError(f"{path}: a SavedModel without {manifest.SAVED_MODEL_SPEC}; it is not one of ours")
    found = manifest.functions_from_json(
        folder.read_limited(folder.resolve(path, manifest.SAVED_MODEL_SPEC), _MANIFEST_BYTES), str(spec)
    )
    digest = hashlib.sha256()
    for name in sorted(folder.listing(path, ".")):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(folder.digest(path, name))
    return Opened(path, digest.hexdigest(), found.functions, found.tolerance, {}, path)


def _reader(root: Path, file: FileSpec, content: bytes) -> Callable[[], bytes]:
    """Gives ``content``; a large one only once, and from the file again after that."""
    kept = [content]

    def read() -> bytes:
        if len(content_size := kept[:1]) == 1:
            return content_size[0] if len(content_size[0]) <= _KEPT_BYTES else kept.pop()
        return _read_again(root, file)

    del content
    return read


def _read_again(root: Path, file: FileSpec) -> bytes:
    try:
        return folder.read(root, file)
    except BundleError as error:
        raise BundleError(f"{error}. If the bundle was replaced since it was loaded, load it again") from error
