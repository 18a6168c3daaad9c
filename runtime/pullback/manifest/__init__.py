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

from pullback.manifest.checks import DTYPES, FUNCTION_NAMES, KINDS, READABLE_VERSIONS
from pullback.manifest.document import Manifest, parse
from pullback.manifest.metadata import (
    METADATA_FUNCTION,
    METADATA_WEIGHTS,
    SAVED_MODEL_SPEC,
    from_metadata_props,
    function_from_json,
    function_to_json,
    functions_from_json,
    functions_to_json,
    metadata_props,
    weights_from_metadata_props,
    weights_to_json,
)
from pullback.manifest.specs import (
    BATCH_NAMES,
    FORMAT_VERSION,
    DerivativeSpec,
    Dim,
    FileSpec,
    FunctionSpec,
    GraphSpec,
    TensorSpec,
    Tolerance,
    shape_text,
    version_of,
)

__all__ = [
    "BATCH_NAMES",
    "DTYPES",
    "FORMAT_VERSION",
    "FUNCTION_NAMES",
    "KINDS",
    "METADATA_FUNCTION",
    "METADATA_WEIGHTS",
    "READABLE_VERSIONS",
    "SAVED_MODEL_SPEC",
    "DerivativeSpec",
    "Dim",
    "FileSpec",
    "FunctionSpec",
    "GraphSpec",
    "Manifest",
    "TensorSpec",
    "Tolerance",
    "from_metadata_props",
    "function_from_json",
    "function_to_json",
    "functions_from_json",
    "functions_to_json",
    "metadata_props",
    "parse",
    "shape_text",
    "version_of",
    "weights_from_metadata_props",
    "weights_to_json",
]
