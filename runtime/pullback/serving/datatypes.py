"""The Open Inference Protocol's names of dtypes, and models as both servers (ours and Triton) name them.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.manifest import Dim

DATATYPES = {
    **{"bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64"},
    **{"uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64"},
    **{"float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES"},
}


def sizes(shape: Sequence[Dim]) -> list[int]:
    """A shape with -1 for each free axis."""
    return [dim if isinstance(dim, int) else -1 for dim in shape]


def models(bundle: Bundle, name: str | None = None) -> dict[str, str]:
    """The functions by the names of their models: ``bowl_evaluate``, ``bowl_vjp``; ``name`` stands for ``bowl``.

    Raises:
        InputError: ``name`` is none that a folder and a URL can have.
    """
    found = bundle.manifest
    base = name or re.sub(r"\W+", "_", (found.name if found else bundle.path.name).removesuffix(".pullback")).strip("_")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", base):
        raise InputError(f"{base!r} is not a valid model name; use letters, digits, '_', '-' and '.'")
    return {f"{base}_{function}": function for function in bundle.functions}
