"""``manifest.json``."""

from __future__ import annotations

import dataclasses

from pullback import schema
from pullback.errors import DamagedError
from pullback.manifest import checks
from pullback.manifest.reading import read
from pullback.manifest.specs import FORMAT_VERSION, FileSpec, GraphSpec, Tolerance


@dataclasses.dataclass(frozen=True)
class Manifest:
    """``manifest.json``: everything the runtime needs to know before it opens another file.

    ``ranges`` gives, for an input, the smallest and largest value among the samples that parity was
    measured on: outside of it the model extrapolates.
    """

    name: str
    producer: dict[str, str]
    functions: tuple[GraphSpec, ...]
    saved_model: tuple[FileSpec, ...]
    golden: FileSpec
    tolerance: Tolerance
    parity: dict[str, object]
    format_version: int = FORMAT_VERSION
    ranges: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """The text of ``manifest.json``: deterministic, sorted, readable; raises ``BundleError`` if invalid."""
        _check_manifest(self, "manifest.json")
        return schema.write_json(self)

    @property
    def files(self) -> tuple[FileSpec, ...]:
        """Every file of the bundle except the manifest itself."""
        both = (file for graph in self.functions for file in (graph.file, graph.weights))
        return (*(file for file in both if file is not None), self.golden, *self.saved_model)


def parse(text: str | bytes, where: str = "manifest.json") -> Manifest:
    """The manifest in ``text``.

    Raises:
        FormatVersionError: it was written in a version that this runtime does not read.
        BundleError: it breaks the format in any other way; the message names the place.
    """
    return read(Manifest, text, where, _check_manifest)


def _check_manifest(manifest: Manifest, where: str) -> None:
    if not manifest.name:
        raise DamagedError(f"{where}: 'name' is empty")
    functions = tuple(graph.function for graph in manifest.functions)
    checks.check_functions(functions, where)
    checks.check_points(functions, manifest.format_version, where)
    for graph in manifest.functions:
        place = f"{where}: {graph.function.name}"
        if graph.file is None and not manifest.saved_model:
            raise DamagedError(f"{place} has neither an ONNX file nor a SavedModel")
        if graph.file is None and graph.weights is not None:
            raise DamagedError(f"{place} has weights of an ONNX file, but no such file")
        if not 1 <= graph.opset <= 1000:
            raise DamagedError(f"{place}: opset {graph.opset} does not exist")
    for file in manifest.files:
        checks.check_file(file, where)
    paths = [file.path for file in manifest.files] + ["manifest.json"]
    repeated = {path for path in paths if paths.count(path) > 1} if len(paths) < 1000 else set()
    if repeated or len(set(paths)) < len(paths):
        raise DamagedError(f"{where}: file {min(repeated or paths)!r} is listed twice")
    if any(not file.path.startswith("saved_model/") for file in manifest.saved_model):
        raise DamagedError(f"{where}: a file of the SavedModel lies outside saved_model/")
    checks.check_tolerance(manifest.tolerance, where)
    _check_ranges(manifest, where)


def _check_ranges(manifest: Manifest, where: str) -> None:
    inputs = {spec.name for graph in manifest.functions for spec in graph.function.inputs if spec.dtype != "string"}
    for name, (low, high) in manifest.ranges.items():
        if name not in inputs:
            raise DamagedError(f"{where}: range of {name!r}, which is not an input of numbers")
        if not low <= high:
            raise DamagedError(f"{where}: range of {name!r} is empty: [{low}, {high}]")
