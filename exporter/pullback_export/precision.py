"""Half precision is refused, wherever it is found: in tensors, and in the layers of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.errors import PrecisionError

REMEDY = "export it with precision='float32' (--precision float32), or rebuild it with dtype='float32' and its weights"
# What a graph can be rewritten from, value by value; quantised weights and float8 cannot.
REWRITABLE = ("float16", "bfloat16", "half")


def check_dtype(dtype: Any) -> None:
    """Raises :class:`PrecisionError` for a NumPy or TensorFlow dtype below float32."""
    name = np.dtype(dtype).name if not hasattr(dtype, "name") else dtype.name
    if name in ("float16", "bfloat16", "half") or name.startswith("float8"):
        raise PrecisionError(f"the model computes in {name}; bundles are in float32 or float64: {REMEDY}")


def check_layers(model: Any, half: bool = False) -> None:
    """Raises :class:`PrecisionError` for a Keras model with a layer that computes, or stores, below float32.

    ``half``: float16 and bfloat16 may be, as the graph will be rewritten.
    """
    for layer in model._flatten_layers():
        policy = layer.dtype_policy
        for dtype in (policy.compute_dtype, policy.variable_dtype):
            if half and dtype in REWRITABLE:
                continue
            if dtype in ("float16", "bfloat16") or str(dtype).startswith(("float8", "int8", "int4")):
                raise PrecisionError(
                    f"layer {layer.name!r} computes in {dtype} (policy {policy.name!r}); bundles are in float32 or"
                    f" float64: {REMEDY}"
                )
