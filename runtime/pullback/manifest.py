"""THE bundle format: frozen dataclasses, written by the exporter and checked by the runtime.

Format versions (a version is never changed once it was released; a new one is added below):

* 1 (2026-11-23): first version.
"""

from __future__ import annotations

import dataclasses

FORMAT_VERSION = 1
READABLE_VERSIONS = (1,)

# One dimension: a fixed size, or the name of a free one ("B" is the batch).
Dim = int | str


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A named array: ``dtype`` is NumPy's name; free dimensions of ``shape`` are names such as ``"B"``."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]


@dataclasses.dataclass(frozen=True)
class DerivativeSpec:
    """One requested derivative: ``request`` as written (``"gradient(y, x)"``), ``name`` of its result.

    ``of`` and ``wrt`` are names of outputs and inputs; ``wrt`` has one entry for each order.
    ``seed`` is the extra input (``adj_y``, ``fwd_x``) or None.
    """

    request: str
    kind: str
    name: str
    of: str
    wrt: tuple[str, ...]
    seed: str | None = None


@dataclasses.dataclass(frozen=True)
class FunctionSpec:
    """One graph: ``evaluate``, ``vjp``, ``jvp`` or ``hvp``; its inputs and results in calling order."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    derivatives: tuple[DerivativeSpec, ...]
    batched: bool


@dataclasses.dataclass(frozen=True)
class FileSpec:
    """A file of the bundle: POSIX path relative to the bundle, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """A function together with the ONNX file that computes it (None: SavedModel only) and its opset."""

    function: FunctionSpec
    file: FileSpec | None
    opset: int


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Largest ``|actual - expected|``, relative to ``max|expected|`` of the array."""

    float32: float = 2e-5
    float64: float = 1e-11


@dataclasses.dataclass(frozen=True)
class Manifest:
    """``manifest.json``: everything the runtime needs to know before it opens another file."""

    name: str
    producer: dict[str, str]
    functions: tuple[GraphSpec, ...]
    saved_model: tuple[FileSpec, ...]
    golden: FileSpec
    tolerance: Tolerance
    parity: dict[str, object]
    format_version: int = FORMAT_VERSION
