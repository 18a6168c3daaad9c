"""What a single ONNX file and a SavedModel carry about themselves, so that they load without their bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pullback import schema
from pullback.errors import DamagedError
from pullback.manifest import checks
from pullback.manifest.reading import read
from pullback.manifest.specs import FORMAT_VERSION, FileSpec, FunctionSpec, Tolerance, version_of

# Keys of an ONNX file's ``metadata_props``, and the file that plays their part in a SavedModel.
METADATA_FUNCTION = "pullback.function"
METADATA_FORMAT_VERSION = "pullback.format_version"
METADATA_TOLERANCE = "pullback.tolerance"
METADATA_WEIGHTS = "pullback.weights"  # only where large weights are in a file beside the graph
SAVED_MODEL_SPEC = "assets.extra/pullback.json"


@dataclasses.dataclass(frozen=True)
class FunctionSet:
    """What a SavedModel carries about itself, in ``assets.extra/pullback.json``."""

    functions: tuple[FunctionSpec, ...]
    tolerance: Tolerance
    format_version: int = FORMAT_VERSION


def function_to_json(spec: FunctionSpec) -> str:
    """One line of JSON, for ``metadata_props[METADATA_FUNCTION]``."""
    checks.check_function(spec, METADATA_FUNCTION)
    return schema.write_compact_json(spec)


def function_from_json(text: str | bytes, where: str = METADATA_FUNCTION) -> FunctionSpec:
    """The inverse of ``function_to_json``; raises ``BundleError``."""
    spec = schema.decode(FunctionSpec, schema.read_json(text, where), where)
    checks.check_function(spec, where)
    return spec


def tolerance_to_json(tolerance: Tolerance) -> str:
    """One line of JSON, for ``metadata_props[METADATA_TOLERANCE]``."""
    return schema.write_compact_json(tolerance)


def tolerance_from_json(text: str | bytes, where: str = METADATA_TOLERANCE) -> Tolerance:
    """The inverse of ``tolerance_to_json``; raises ``BundleError``."""
    tolerance = schema.decode(Tolerance, schema.read_json(text, where), where)
    checks.check_tolerance(tolerance, where)
    return tolerance


def metadata_props(spec: FunctionSpec, tolerance: Tolerance) -> dict[str, str]:
    """What an ONNX file must carry in ``metadata_props`` so that the bare file loads."""
    return {
        METADATA_FORMAT_VERSION: str(version_of([spec])),
        METADATA_FUNCTION: function_to_json(spec),
        METADATA_TOLERANCE: tolerance_to_json(tolerance),
    }


def from_metadata_props(props: dict[str, str], where: str) -> tuple[FunctionSpec, Tolerance]:
    """The inverse of ``metadata_props``; raises ``BundleError`` for a file that Pullback did not write."""
    missing = [k for k in (METADATA_FORMAT_VERSION, METADATA_FUNCTION, METADATA_TOLERANCE) if k not in props]
    if missing:
        raise DamagedError(f"{where}: no {missing[0]!r} in its metadata; Pullback did not write it")
    version = schema.read_json(props[METADATA_FORMAT_VERSION], f"{where}: {METADATA_FORMAT_VERSION}")
    checks.check_version({"format_version": version}, where)
    spec = function_from_json(props[METADATA_FUNCTION], f"{where}: {METADATA_FUNCTION}")
    checks.check_points([spec], version, where)
    return spec, tolerance_from_json(props[METADATA_TOLERANCE], f"{where}: {METADATA_TOLERANCE}")


def weights_to_json(file: FileSpec) -> str:
    """One line of JSON, for ``metadata_props[METADATA_WEIGHTS]``; the path is relative to the graph's folder."""
    checks.check_file(file, METADATA_WEIGHTS)
    return schema.write_compact_json(file)


def weights_from_metadata_props(props: dict[str, str], where: str) -> FileSpec | None:
    """The file with a graph's large weights, None where it has none; raises ``BundleError``."""
    if METADATA_WEIGHTS not in props:
        return None
    place = f"{where}: {METADATA_WEIGHTS}"
    file = schema.decode(FileSpec, schema.read_json(props[METADATA_WEIGHTS], place), place)
    checks.check_file(file, place)
    return file


def functions_to_json(functions: Iterable[FunctionSpec], tolerance: Tolerance) -> str:
    """The text of a SavedModel's ``assets.extra/pullback.json``."""
    given = tuple(functions)
    found = FunctionSet(given, tolerance, version_of(given))
    _check_function_set(found, SAVED_MODEL_SPEC)
    return schema.write_json(found)


def functions_from_json(text: str | bytes, where: str = SAVED_MODEL_SPEC) -> FunctionSet:
    """The inverse of ``functions_to_json``; raises ``BundleError``."""
    return read(FunctionSet, text, where, _check_function_set)


def _check_function_set(found: FunctionSet, where: str) -> None:
    checks.check_functions(found.functions, where)
    checks.check_points(found.functions, found.format_version, where)
    checks.check_tolerance(found.tolerance, where)
