"""What holds for every bundle that Pullback wrote: names, dtypes, shapes and paths of what was read."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence

from pullback.errors import BundleError, DamagedError, FormatVersionError
from pullback.manifest.specs import (
    DerivativeSpec,
    FileSpec,
    FunctionSpec,
    TensorSpec,
    Tolerance,
    shape_text,
    version_of,
)

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


def check_version(value: object, where: str) -> None:
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


def check_points(functions: Sequence[FunctionSpec], version: int, where: str) -> None:
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


def check_functions(functions: tuple[FunctionSpec, ...], where: str) -> None:
    names = [function.name for function in functions]
    if "evaluate" not in names:
        raise DamagedError(f"{where}: there is no function 'evaluate'")
    if len(set(names)) < len(names):
        raise DamagedError(f"{where}: a function is listed twice: {', '.join(names)}")
    for function in functions:
        check_function(function, f"{where}: {function.name}")


def check_function(spec: FunctionSpec, where: str) -> None:
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


def check_tolerance(tolerance: Tolerance, where: str) -> None:
    for name, bound in (("float32", tolerance.float32), ("float64", tolerance.float64)):
        if not 0 < bound < 1:
            raise DamagedError(f"{where}: tolerance {name} must lie between 0 and 1, got {bound}")


def check_file(file: FileSpec, where: str) -> None:
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
