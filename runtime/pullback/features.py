"""Names of the components of inputs and outputs, ``{"x": ("age", "income")}``, as passed to ``export(features=)``.

The manifest holds them below ``parity``, which readers of version 1 do not interpret; they would refuse a new key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pullback.errors import BundleError
from pullback.manifest import DerivativeSpec, FunctionSpec, Manifest, TensorSpec

KEY = "features"

Features = Mapping[str, tuple[str, ...]]


def of_manifest(found: Manifest | None) -> dict[str, tuple[str, ...]]:
    """The names in a manifest, by input and output; raises ``BundleError`` if they do not fit it."""
    if found is None or KEY not in found.parity:
        return {}
    spec = next(graph.function for graph in found.functions if graph.function.name == "evaluate")
    value = found.parity[KEY]
    if not isinstance(value, dict):
        raise BundleError(f"manifest.json: {KEY} must be names by input, got {type(value).__name__}")
    try:
        return {name: checked(spec, name, names) for name, names in value.items()}
    except ValueError as error:
        raise BundleError(f"manifest.json: {error}; the file is damaged or not ours") from error


def checked(spec: FunctionSpec, name: str, names: object) -> tuple[str, ...]:
    """``names`` of the components of one row of input or output ``name``, in C order; raises ``ValueError``."""
    derived = {derivative.name for derivative in spec.derivatives}
    known = {tensor.name: tensor for tensor in (*spec.inputs, *spec.outputs) if tensor.name not in derived}
    if name not in known:
        raise ValueError(f"features of {name!r}, which is not an input or output; there are {', '.join(known)}")
    listed = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else None
    if listed is None or not all(isinstance(item, str) and item for item in listed):
        raise ValueError(f"features of {name!r} must be a list of names, got {names!r}")
    size = row_size(known[name], spec.batched)
    if size is None or len(listed) != size:
        wanted = "needs rows of a fixed size" if size is None else f"has {size} components"
        raise ValueError(f"features of {name!r}: {len(listed)} names, and {known[name]} {wanted}")
    repeated = [item for item in listed if listed.count(item) > 1] if len(set(listed)) < len(listed) else []
    if repeated:
        raise ValueError(f"features of {name!r}: {repeated[0]!r} occurs twice")
    return tuple(listed)


def row_size(tensor: TensorSpec, batched: bool) -> int | None:
    """How many components one sample has; None if this depends on a free axis."""
    dims = tensor.sample if batched else tensor.shape
    fixed = [dim for dim in dims if isinstance(dim, int)]
    return math.prod(fixed) if len(fixed) == len(dims) else None


def derivative_of(spec: FunctionSpec, name: str) -> DerivativeSpec | None:
    """The derivative that the result ``name`` holds; None for a value."""
    return next((item for item in spec.derivatives if item.name == name), None)
