"""What lies at a path or URL: a bundle folder or zip file, one of its ONNX files, or a SavedModel of ours; checked."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from pullback import manifest
from pullback.errors import BundleError, NotExportedError
from pullback.manifest import FileSpec, FunctionSpec, GraphSpec, Manifest, Tolerance
from pullback.storage import Place, content, onnx_file
from pullback.storage.archive import MAGIC, MANIFEST, Archive, write
from pullback.storage.external import Weights
from pullback.storage.folder import Folder, open_regular
from pullback.storage.onnx_file import Screened
from pullback.storage.program import Program
from pullback.storage.remote import Remote

SAVED_MODEL = "saved_model"
KERAS_SUFFIXES = (".keras", ".h5")

# Graphs up to this size stay in memory, so that a forked worker needs no file that may have been replaced.
_KEPT_BYTES = 16 * 2**20
_MANIFEST_BYTES = 16 * 2**20
_PATIENCE_SECONDS = 10.0  # with a bundle that is replaced again and again while it is read


@dataclasses.dataclass(frozen=True)
class GraphFile:
    """The ONNX file of a function, which ``read`` gives: ``size`` bytes, those of the weights beside it among them.

    ``row_bytes``: bytes per row of its widest intermediate value; 0: unknown. ``shares_weights``: see
    :class:`~pullback.storage.onnx_file.Screened`. ``forget`` lets go of what is in memory
    for the first ``read`` alone, where there will be none. ``weights``: the file with its large weights, if any.
    """

    size: int
    read: Callable[[], bytes]
    row_bytes: int = 0
    forget: Callable[[], None] = lambda: None
    weights: Weights | None = None
    shares_weights: bool = False


@dataclasses.dataclass(frozen=True)
class Opened:
    """A checked bundle, before a backend is chosen.

    ``digest`` changes whenever a byte of the bundle does. ``graphs`` are by name of the function,
    ``golden`` gives the bytes of ``golden.npz``; ``manifest`` and ``golden`` are None for a bare file, and
    ``place`` too. ``url`` is empty where ``path`` says where it is.
    """

    path: Path
    digest: str
    functions: tuple[FunctionSpec, ...]
    tolerance: Tolerance
    graphs: Mapping[str, GraphFile]
    saved_model: Program | None
    manifest: Manifest | None = None
    golden: Callable[[], bytes] | None = None
    url: str = ""
    place: Place | None = None

    @property
    def source(self) -> str:
        """What loads it again."""
        return self.url or str(self.path)


def open_path(path: Path, saved_model: bool) -> Opened:
    """Read and check what ``path`` holds, the SavedModel too when ``saved_model`` is true.

    Raises:
        BundleError: it is missing, damaged, forged or not ours.
        FormatVersionError: it is of a version that this runtime does not read.
    """
    try:
        if path.is_file() and path.suffix in KERAS_SUFFIXES:
            raise BundleError(
                f"{path}: a Keras model, not a bundle; export it first: pullback-export {path.name} BUNDLE"
            )
        if path.is_file():
            with open_regular(path) as stream:
                start = stream.read(len(MAGIC))
            if start == MAGIC:
                archive = Archive(str(path), functools.partial(open_regular, path), functools.partial(_state, path))
                return _open_bundle(archive, path, saved_model)
            return _open_onnx(Folder(path.parent), path.name, path)
        if not path.is_dir():
            raise BundleError(f"{path}: there is no such file or folder; check the path")
        if (path / "saved_model.pb").exists() and not (path / MANIFEST).exists():
            return _open_saved_model(path)
        return _open_bundle(Folder(path), path, saved_model)
    except (OSError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: cannot be read ({error}); check its permissions") from error


def open_url(url: str, saved_model: bool) -> Opened:
    """The same for a URL: a bundle folder, a zip file of one, or one of its ONNX files.

    Raises:
        MissingDependencyError: fsspec, or what it needs for URLs of that kind, is not installed.
    """
    remote = Remote(url)
    if remote.local is not None:
        return open_path(remote.local, saved_model)
    if not remote.is_file():
        found = _open_bundle(remote, Path(url), saved_model)
    else:
        with contextlib.closing(remote.open("", promised=False)) as stream:
            start = stream.read(len(MAGIC))
        if start == MAGIC:
            archive = Archive(remote.url, functools.partial(remote.open, "", promised=False), remote.state)
            found = _open_bundle(archive, Path(url), saved_model)
        else:
            found = _open_onnx(remote, "", Path(url))
    return dataclasses.replace(found, url=url)


def _open_bundle(place: Place, path: Path, saved_model: bool) -> Opened:
    """Try again while someone replaces the bundle under our eyes."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        before = place.state()
        try:
            text = content.read_limited(place, MANIFEST, _MANIFEST_BYTES)
            return dataclasses.replace(_check_bundle(place, text, saved_model), path=path)
        except BundleError:
            if place.state() == before or time.monotonic() > end:
                raise


def _state(path: Path) -> tuple[object, ...]:
    """Changes when another file takes the place; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _check_bundle(place: Place, text: bytes, saved_model: bool) -> Opened:
    found = manifest.parse(text, place.where(MANIFEST))
    graphs = {}
    for graph in found.functions:
        if graph.file is not None:
            whole = content.read(place, graph.file)
            screened = _check_graph(whole, graph, found.tolerance, place.where(graph.file.path))
            weights = Weights(place, graph.weights) if graph.weights is not None else None
            graphs[graph.function.name] = _graph_file(place, graph.file, whole, screened, weights)
    content.check(place, found.golden)
    for file in found.saved_model:
        content.check(place, file)
    if found.saved_model and saved_model:
        extra = place.listing(SAVED_MODEL) - {file.path for file in found.saved_model}
        if extra:
            raise BundleError(
                f"{place.where(min(extra))}: not listed in the manifest; remove it, or copy or export the bundle again"
            )
    return Opened(
        Path(),
        hashlib.sha256(text).hexdigest(),
        tuple(graph.function for graph in found.functions),
        found.tolerance,
        graphs,
        Program(place, SAVED_MODEL, Path(place.where(SAVED_MODEL)), found.saved_model) if found.saved_model else None,
        found,
        lambda: _read_again(place, found.golden),
        place=place,
    )


def _check_graph(whole: bytes, graph: GraphSpec, tolerance: Tolerance, where: str) -> Screened:
    """What a graph that passed says of itself; raises ``BundleError``."""
    screened = onnx_file.screen(whole, where)
    inside = manifest.from_metadata_props(screened.metadata, where)
    beside = screened.beside
    if beside is not None and graph.file is not None:
        beside = dataclasses.replace(beside, path=str(PurePosixPath(graph.file.path).parent / beside.path))
    if inside != (graph.function, tolerance) or beside != graph.weights:
        raise BundleError(
            f"{where}: its specification differs from the manifest's, so it belongs to another bundle;"
            " copy or export the bundle again"
        )
    onnx_file.check_signature(screened, graph.function, where)
    return screened


def _open_onnx(place: Place, name: str, path: Path) -> Opened:
    where = place.where(name)
    whole = content.read_limited(place, name, content.MAX_GRAPH_BYTES, named=True)
    screened = onnx_file.screen(whole, where)
    spec, tolerance = manifest.from_metadata_props(screened.metadata, where)
    onnx_file.check_signature(screened, spec, where)
    file = FileSpec(name, hashlib.sha256(whole).hexdigest(), len(whole))
    if screened.beside is not None and not name:
        raise BundleError(f"{where}: its weights are in another file; load the bundle that it belongs to")
    weights = Weights(place, screened.beside) if screened.beside is not None else None
    graph = _graph_file(place, file, whole, screened, weights)
    return Opened(path, file.sha256, (spec,), tolerance, {spec.name: graph}, None)


def _open_saved_model(path: Path) -> Opened:
    place, spec = Folder(path), path / manifest.SAVED_MODEL_SPEC
    if not spec.exists():
        raise BundleError(
            f"{path}: a SavedModel without {manifest.SAVED_MODEL_SPEC}, which Pullback did not write; export the model:"
            f" pullback-export {path.name} BUNDLE"
        )
    found = manifest.functions_from_json(
        content.read_limited(place, manifest.SAVED_MODEL_SPEC, _MANIFEST_BYTES), str(spec)
    )
    files = [content.described(place, name) for name in sorted(place.listing("."))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.path.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(bytes.fromhex(file.sha256))
    program = Program(place, ".", path, files)
    return Opened(path, digest.hexdigest(), found.functions, found.tolerance, {}, program)


def _graph_file(place: Place, file: FileSpec, whole: bytes, screened: Screened, weights: Weights | None) -> GraphFile:
    """Gives ``whole``; a large one only once, and from the file again after that."""
    kept = [whole]

    def read() -> bytes:
        if len(found := kept[:1]) == 1:
            return found[0] if len(found[0]) <= _KEPT_BYTES else kept.pop()
        return _read_again(place, file)

    def forget() -> None:
        if file.size > _KEPT_BYTES:
            kept.clear()

    del whole
    size = file.size + (weights.file.size if weights is not None else 0)
    return GraphFile(size, read, screened.row_bytes, forget, weights, screened.shares_weights)


def _read_again(place: Place, file: FileSpec) -> bytes:
    try:
        return content.read(place, file)
    except BundleError as error:
        raise BundleError(f"{error}. If the bundle was replaced after it was loaded, load it again") from error


def pack(opened: Opened, target: Path) -> None:
    """Write a bundle as one zip file; raises ``BundleError`` when it was changed since it was loaded."""
    if opened.place is None or opened.manifest is None:
        raise NotExportedError(f"{opened.path}: a bare file, not a bundle; load the bundle folder to pack it")
    text = content.read_limited(opened.place, MANIFEST, _MANIFEST_BYTES)
    if hashlib.sha256(text).hexdigest() != opened.digest:
        raise BundleError(f"{opened.path}: the bundle was replaced after it was loaded; load it again")
    write(target, text, opened.place, opened.manifest.files)
