"""THE bundle format: frozen dataclasses, written by the exporter and checked by the runtime.

Format versions (a version never changes once it has been released; new ones are added below):

* 1 (2026-11-23): first version.
* 1 (2026-11-28): the kind and function ``weighted_hessian``, a second seed of ``hvp``, outputs of products besides
  the products. A reader of the first date refuses a bundle that holds a ``weighted_hessian``, and reads all others.
* 1 (2026-11-29): an ``hvp`` by two inputs, the direction of which is in the last one. Large weights in a file beside
  their graph, which readers of earlier dates refuse.
* 1 (2026-11-29): inputs of dtype ``string``. A reader of an earlier date refuses a bundle that has one, by its dtype,
  and reads all others.
* 2 (2026-11-29): functions with two batch axes, which name the second one in ``points``. Bundles without such a
  function are of version 1 as before.
"""

from __future__ import annotations

import dataclasses
import keyword
import math
import re
from collections.abc import Iterable, Sequence

from pullback import schema
from pullback.errors import BundleError, DamagedError, FormatVersionError, InputError
from pullback.selection import Selection, selections

FORMAT_VERSION = 1
POINTS_VERSION = 2  # of bundles whose functions have two batch axes
READABLE_VERSIONS = (1, 2)

FUNCTION_NAMES = ("evaluate", "vjp", "jvp", "hvp", "weighted_hessian")
KINDS = (
    *("gradient", "jacobian", "hessian", "laplacian", "derivative"),
    *("vjp", "jvp", "hvp", "weighted_hessian"),
)
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
INPUT_DTYPES = (*DTYPES, "string")
RESERVED_NAMES = ("fetch", "chunk")  # keywords of every call
MAX_RANK = 32
MAX_SIZE = 2**48

# Keys of an ONNX file's ``metadata_props``, and the file that plays their part in a SavedModel.
METADATA_FUNCTION = "pullback.function"
METADATA_FORMAT_VERSION = "pullback.format_version"
METADATA_TOLERANCE = "pullback.tolerance"
METADATA_WEIGHTS = "pullback.weights"  # only where large weights are in a file beside the graph
SAVED_MODEL_SPEC = "assets.extra/pullback.json"

# The batch among free sizes: "B" where rows are computed apart from each other, "N" where they may not be.
BATCH_NAMES = ("B", "N")
_BATCH_AXES = tuple((name,) for name in BATCH_NAMES)

# One dimension: a fixed size, or the name of a free one.
Dim = int | str


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A named array: ``dtype`` is NumPy's name; free dimensions of ``shape`` are names such as ``"B"``."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def is_batched(self) -> bool:
        """Whether the first axis is the batch."""
        return self.shape[:1] in _BATCH_AXES

    @property
    def sample(self) -> tuple[Dim, ...]:
        """The shape of one sample, without the batch axis where there is one."""
        return self.shape[1:] if self.is_batched else self.shape

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {shape_text(self.shape)}"


@dataclasses.dataclass(frozen=True)
class DerivativeSpec:
    """One requested derivative: ``request`` as written (``"gradient(y, x)"``), ``name`` of its result.

    ``of`` and ``wrt`` are names of outputs and inputs; ``wrt`` has one entry for each order.
    ``seed`` is the extra input (``adj_y``, ``fwd_x``) or None. ``scale`` multiplies the derivative
    (forces are a gradient with -1).

    ``of_selection`` and ``wrt_selections`` (one for each of ``wrt``) say what ``request`` says, without text: the name,
    the picked components or slices, and whether they are summed. No file holds them.
    """

    request: str
    kind: str
    name: str
    of: str
    wrt: tuple[str, ...]
    seed: str | None = None
    scale: float = 1.0
    of_selection: Selection = dataclasses.field(init=False, compare=False, repr=False)
    wrt_selections: tuple[Selection, ...] = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Reads ``request``; raises ``BundleError`` where it says something else than ``of`` and ``wrt``."""
        try:
            of, wrt = selections(self.request)
        except ValueError as problem:
            raise DamagedError(
                f"request {self.request[:200]!r}: {problem}; the file is damaged, or Pullback did not write it"
            ) from problem
        wrt = wrt * len(self.wrt) if len(wrt) == 1 else wrt
        if self.of and self.wrt and (of.name, *(item.name for item in wrt)) != (self.of, *self.wrt):
            raise DamagedError(
                f"derivative {self.name!r}: the request {self.request!r} is not of {self.of!r} with respect to"
                f" {', '.join(map(repr, self.wrt))}; the file is damaged, or Pullback did not write it"
            )
        object.__setattr__(self, "of_selection", of)
        object.__setattr__(self, "wrt_selections", wrt)


@dataclasses.dataclass(frozen=True)
class FunctionSpec:
    """One graph, ``evaluate`` or one of products (:data:`FUNCTION_NAMES`); its inputs and results in calling order.

    ``points`` names the second batch axis, behind the rows, where derivatives are those of each row at each point.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    derivatives: tuple[DerivativeSpec, ...]
    batched: bool
    points: str | None = dataclasses.field(default=None, metadata=schema.OMITTED_WHERE_NONE)

    @property
    def batch_axes(self) -> int:
        """The number of batch axes, 0 to 2; two where rows meet points."""
        return int(self.batched) + (self.points is not None)

    @property
    def granularity(self) -> str:
        """What derivatives belong to, in words."""
        names = ("of the whole arrays", "per sample", f"per sample and each of its {self.points}")
        return names[self.batch_axes]

    def refuse_points(self, what: str) -> None:
        """Raises ``InputError`` for ``what`` takes samples of one batch, where there are two batch axes."""
        if self.points is not None:
            raise InputError(
                f"{what}: derivatives here are those of each row at each of its {self.points} (batch_axes=2), and this"
                " takes rows alone; call the bundle itself, take bundle.flat for one row at one point, or export pairs"
                " as the rows of one batch (docs/howto/points.md)"
            )

    def batch_of(self, tensor: TensorSpec) -> tuple[Dim, ...]:
        """The batch axes of an input or output: the first axes of its shape that are the rows and the points."""
        rows = int(self.batched and tensor.is_batched)
        points = self.points is not None and tensor.shape[rows : rows + 1] == (self.points,)
        return tensor.shape[: rows + points]

    @property
    def seeds(self) -> frozenset[str]:
        """Names of the inputs that carry a direction or an adjoint."""
        adjoints = {f"adj_{d.of_selection.label}" for d in self.derivatives if d.kind == "hvp"}
        inputs = {tensor.name for tensor in self.inputs}
        return frozenset(d.seed for d in self.derivatives if d.seed is not None) | (adjoints & inputs)

    @property
    def requested(self) -> tuple[DerivativeSpec, ...]:
        """The derivatives that were requested; a function of products may hold others at no extra cost."""
        return tuple(d for d in self.derivatives if self.name in (d.kind, "evaluate"))

    @property
    def byproducts(self) -> tuple[DerivativeSpec, ...]:
        """The first derivatives that a function of second-order products gives from the same passes."""
        return tuple(d for d in self.derivatives if self.name not in (d.kind, "evaluate"))

    @property
    def default_outputs(self) -> tuple[str, ...]:
        """The outputs of a call without ``fetch``. Of a function of products, the products; otherwise every output."""
        names = tuple(tensor.name for tensor in self.outputs)
        products = {d.name for d in self.requested} if self.name != "evaluate" else set()
        return tuple(name for name in names if name in products) or names

    @property
    def rowwise(self) -> bool:
        """Whether every array has the batch axis first, so that rows may be computed separately."""
        return self.batched and all(tensor.shape[:1] == ("B",) for tensor in (*self.inputs, *self.outputs))

    @property
    def shared_inputs(self) -> frozenset[str]:
        """Names of the inputs and seeds without a batch axis of what is batched; all rows share their values."""
        if not self.batched:
            return frozenset()
        return frozenset(tensor.name for tensor in self.inputs if not tensor.is_batched)

    @property
    def divisible(self) -> bool:
        """Whether rows may be computed separately, each with the whole of what all share.

        Every array has the batch axis first, except for :attr:`shared_inputs`.
        """
        shared = self.shared_inputs
        apart = [tensor for tensor in self.inputs if tensor.name not in shared]
        return bool(apart) and self.batched and all(tensor.shape[:1] == ("B",) for tensor in (*apart, *self.outputs))

    def __str__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"{self.name}({inputs}) -> ({', '.join(map(str, self.outputs))})"


@dataclasses.dataclass(frozen=True)
class FileSpec:
    """A file of the bundle: POSIX path relative to the bundle, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """A function together with the ONNX file that computes it (None: SavedModel only) and its opset.

    ``weights``: the file beside it that holds its large weights; None where they are in the graph.
    """

    function: FunctionSpec
    file: FileSpec | None
    opset: int
    weights: FileSpec | None = dataclasses.field(default=None, metadata=schema.OMITTED_WHERE_NONE)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Largest ``|actual - expected|``, relative to ``max|expected|`` of the array."""

    float32: float = 2e-5
    float64: float = 1e-11

    def of(self, dtype: str) -> float:
        """The bound for an array of ``dtype``: whole numbers and booleans must agree exactly."""
        return {"float16": 2e-3, "float32": self.float32, "float64": self.float64}.get(dtype, 0.0)


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


@dataclasses.dataclass(frozen=True)
class FunctionSet:
    """What a SavedModel carries about itself, in ``assets.extra/pullback.json``."""

    functions: tuple[FunctionSpec, ...]
    tolerance: Tolerance
    format_version: int = FORMAT_VERSION


def version_of(functions: Iterable[FunctionSpec]) -> int:
    """The format version that a bundle of these functions has."""
    return POINTS_VERSION if any(function.points is not None for function in functions) else FORMAT_VERSION


def shape_text(shape: Sequence[Dim]) -> str:
    """The shape as text, such as ``(B, 3)``."""
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def parse(text: str | bytes, where: str = "manifest.json") -> Manifest:
    """The manifest in ``text``.

    Raises:
        FormatVersionError: it was written in a version that this runtime does not read.
        BundleError: it breaks the format in any other way; the message names the place.
    """
    value = schema.read_json(text, where)
    _check_version(value, where)
    manifest = schema.decode(Manifest, value, where)
    _check_manifest(manifest, where)
    return manifest


def function_to_json(spec: FunctionSpec) -> str:
    """One line of JSON, for ``metadata_props[METADATA_FUNCTION]``."""
    _check_function(spec, METADATA_FUNCTION)
    return schema.write_compact_json(spec)


def function_from_json(text: str | bytes, where: str = METADATA_FUNCTION) -> FunctionSpec:
    """The inverse of ``function_to_json``; raises ``BundleError``."""
    spec = schema.decode(FunctionSpec, schema.read_json(text, where), where)
    _check_function(spec, where)
    return spec


def tolerance_to_json(tolerance: Tolerance) -> str:
    """One line of JSON, for ``metadata_props[METADATA_TOLERANCE]``."""
    return schema.write_compact_json(tolerance)


def tolerance_from_json(text: str | bytes, where: str = METADATA_TOLERANCE) -> Tolerance:
    """The inverse of ``tolerance_to_json``; raises ``BundleError``."""
    tolerance = schema.decode(Tolerance, schema.read_json(text, where), where)
    _check_tolerance(tolerance, where)
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
    _check_version({"format_version": version}, where)
    spec = function_from_json(props[METADATA_FUNCTION], f"{where}: {METADATA_FUNCTION}")
    _check_points([spec], version, where)
    return spec, tolerance_from_json(props[METADATA_TOLERANCE], f"{where}: {METADATA_TOLERANCE}")


def weights_to_json(file: FileSpec) -> str:
    """One line of JSON, for ``metadata_props[METADATA_WEIGHTS]``; the path is relative to the graph's folder."""
    _check_file(file, METADATA_WEIGHTS)
    return schema.write_compact_json(file)


def weights_from_metadata_props(props: dict[str, str], where: str) -> FileSpec | None:
    """The file with a graph's large weights, None where it has none; raises ``BundleError``."""
    if METADATA_WEIGHTS not in props:
        return None
    place = f"{where}: {METADATA_WEIGHTS}"
    file = schema.decode(FileSpec, schema.read_json(props[METADATA_WEIGHTS], place), place)
    _check_file(file, place)
    return file


def functions_to_json(functions: Iterable[FunctionSpec], tolerance: Tolerance) -> str:
    """The text of a SavedModel's ``assets.extra/pullback.json``."""
    given = tuple(functions)
    found = FunctionSet(given, tolerance, version_of(given))
    _check_function_set(found, SAVED_MODEL_SPEC)
    return schema.write_json(found)


def functions_from_json(text: str | bytes, where: str = SAVED_MODEL_SPEC) -> FunctionSet:
    """The inverse of ``functions_to_json``; raises ``BundleError``."""
    value = schema.read_json(text, where)
    _check_version(value, where)
    found = schema.decode(FunctionSet, value, where)
    _check_function_set(found, where)
    return found


def _check_version(value: object, where: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if type(version) is not int:
        raise DamagedError(
            f"{where}: 'format_version' must be a whole number, got {version!r}; Pullback did not write it"
        )
    if version not in READABLE_VERSIONS:
        known = ", ".join(map(str, READABLE_VERSIONS))
        raise FormatVersionError(
            f"{where}: format version {version}; this runtime reads {known}. "
            "Upgrade pullback, or export the model again with the version installed here"
        )


def _check_manifest(manifest: Manifest, where: str) -> None:
    if not manifest.name:
        raise DamagedError(f"{where}: 'name' is empty")
    functions = tuple(graph.function for graph in manifest.functions)
    _check_functions(functions, where)
    _check_points(functions, manifest.format_version, where)
    for graph in manifest.functions:
        place = f"{where}: {graph.function.name}"
        if graph.file is None and not manifest.saved_model:
            raise DamagedError(f"{place} has neither an ONNX file nor a SavedModel")
        if graph.file is None and graph.weights is not None:
            raise DamagedError(f"{place} has weights of an ONNX file, but no such file")
        if not 1 <= graph.opset <= 1000:
            raise DamagedError(f"{place}: opset {graph.opset} does not exist")
    for file in manifest.files:
        _check_file(file, where)
    paths = [file.path for file in manifest.files] + ["manifest.json"]
    repeated = {path for path in paths if paths.count(path) > 1} if len(paths) < 1000 else set()
    if repeated or len(set(paths)) < len(paths):
        raise DamagedError(f"{where}: file {min(repeated or paths)!r} is listed twice")
    if any(not file.path.startswith("saved_model/") for file in manifest.saved_model):
        raise DamagedError(f"{where}: a file of the SavedModel lies outside saved_model/")
    _check_tolerance(manifest.tolerance, where)
    _check_ranges(manifest, where)


def _check_ranges(manifest: Manifest, where: str) -> None:
    inputs = {spec.name for graph in manifest.functions for spec in graph.function.inputs if spec.dtype != "string"}
    for name, (low, high) in manifest.ranges.items():
        if name not in inputs:
            raise DamagedError(f"{where}: range of {name!r}, which is not an input of numbers")
        if not low <= high:
            raise DamagedError(f"{where}: range of {name!r} is empty: [{low}, {high}]")


def _check_function_set(found: FunctionSet, where: str) -> None:
    _check_functions(found.functions, where)
    _check_points(found.functions, found.format_version, where)
    _check_tolerance(found.tolerance, where)


def _check_points(functions: Sequence[FunctionSpec], version: int, where: str) -> None:
    """Two batch axes are of version 2, and of all functions of a bundle or of none."""
    names = {function.points for function in functions}
    if version_of(functions) != version or len(names) > 1:
        raise DamagedError(
            f"{where}: format version {version} with points {', '.join(sorted(map(str, names)))}; the file is damaged,"
            " or Pullback did not write it"
        )
    for function in functions:
        tensors = (*function.inputs, *function.outputs)
        if function.points is not None and not any(len(function.batch_of(tensor)) == 2 for tensor in tensors):
            raise DamagedError(f"{where}: {function.name}: no array has the axes of rows and of {function.points!r}")


def _check_functions(functions: tuple[FunctionSpec, ...], where: str) -> None:
    names = [function.name for function in functions]
    if "evaluate" not in names:
        raise DamagedError(f"{where}: there is no function 'evaluate'")
    if len(set(names)) < len(names):
        raise DamagedError(f"{where}: a function is listed twice: {', '.join(names)}")
    for function in functions:
        _check_function(function, f"{where}: {function.name}")


def _check_function(spec: FunctionSpec, where: str) -> None:
    if spec.name not in FUNCTION_NAMES:
        raise DamagedError(f"{where}: function {spec.name!r} is not one of {', '.join(FUNCTION_NAMES)}")
    if not spec.inputs or not spec.outputs:
        raise DamagedError(f"{where}: a function needs an input and an output")
    for tensors, dtypes in ((spec.inputs, INPUT_DTYPES), (spec.outputs, DTYPES)):
        names = [tensor.name for tensor in tensors]
        if len(set(names)) < len(names):
            raise DamagedError(f"{where}: two arrays share a name: {', '.join(names)}")
        for tensor in tensors:
            _check_tensor(tensor, dtypes, where)
    for derivative in spec.derivatives:
        _check_derivative(derivative, spec, where)


def _check_derivative(derivative: DerivativeSpec, spec: FunctionSpec, where: str) -> None:
    if derivative.kind not in KINDS:
        raise DamagedError(f"{where}: derivative kind {derivative.kind!r} is not one of {', '.join(KINDS)}")
    if derivative.name not in {tensor.name for tensor in spec.outputs}:
        raise DamagedError(f"{where}: derivative {derivative.name!r} is not among the outputs")
    dtypes = {tensor.name: tensor.dtype for tensor in spec.inputs}
    if derivative.seed is not None and derivative.seed not in dtypes:
        raise DamagedError(f"{where}: seed {derivative.seed!r} is not among the inputs")
    for name in (*derivative.wrt, derivative.seed):
        if name is not None and dtypes.get(name) == "string":
            raise DamagedError(f"{where}: derivative {derivative.name!r} is by {name!r}, which holds strings")
    if not derivative.of or not derivative.wrt:
        raise DamagedError(f"{where}: derivative {derivative.name!r} must say of what and with respect to what")


def _check_tensor(tensor: TensorSpec, dtypes: Sequence[str], where: str) -> None:
    check_name(tensor.name, where)
    if tensor.dtype not in dtypes:
        raise DamagedError(f"{where}: {tensor.name!r} has dtype {tensor.dtype!r}; known are {', '.join(dtypes)}")
    if len(tensor.shape) > MAX_RANK:
        raise DamagedError(f"{where}: {tensor.name!r} has {len(tensor.shape)} axes; at most {MAX_RANK} are read")
    fixed = [dim for dim in tensor.shape if isinstance(dim, int)]
    if any(dim < 0 for dim in fixed) or math.prod(fixed) > MAX_SIZE:
        raise DamagedError(f"{where}: {tensor.name!r} cannot have shape {shape_text(tensor.shape)}")
    if any(isinstance(dim, str) and not re.fullmatch(r"[A-Za-z_]\w{0,63}", dim, re.ASCII) for dim in tensor.shape):
        raise DamagedError(f"{where}: {tensor.name!r} has a free axis that is not named: {tensor.shape!r}")


def check_name(name: str, where: str) -> None:
    """Refuse a name that cannot be a keyword argument and a field of a named tuple; raises ``BundleError``."""
    if not re.fullmatch(r"[A-Za-z]\w{0,127}", name, re.ASCII) or keyword.iskeyword(name) or name in RESERVED_NAMES:
        raise BundleError(
            f"{where}: {name!r} cannot name an array; it must be a Python identifier of ASCII letters, digits and "
            f"underscores that starts with a letter and is neither a keyword nor one of {', '.join(RESERVED_NAMES)}"
        )


def _check_tolerance(tolerance: Tolerance, where: str) -> None:
    for name, bound in (("float32", tolerance.float32), ("float64", tolerance.float64)):
        if not 0 < bound < 1:
            raise DamagedError(f"{where}: tolerance {name} must lie between 0 and 1, got {bound}")


def _check_file(file: FileSpec, where: str) -> None:
    parts = file.path.split("/")
    bad = (
        any(part in ("", ".", "..") for part in parts) or any(c in file.path for c in "\\:\0") or len(file.path) > 1024
    )
    if bad:
        raise DamagedError(f"{where}: file path {file.path!r} is not a plain relative path inside the bundle")
    if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise DamagedError(f"{where}: {file.path}: sha256 must be 64 hexadecimal digits")
    if file.size < 0:
        raise DamagedError(f"{where}: {file.path}: size {file.size} is negative")
