"""Half precision is refused, wherever it is found: in tensors, and in the layers of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.errors import PrecisionError


def check_dtype(dtype: Any) -> None:
    """Raises :class:`PrecisionError` for a NumPy or TensorFlow dtype below float32."""
    name = np.dtype(dtype).name if not hasattr(dtype, "name") else dtype.name
    if name in ("float16", "bfloat16", "half") or name.startswith("float8"):
        raise PrecisionError(
            f"the model computes in {name}; export needs float32 or float64: rebuild it with"
            " keras.config.set_dtype_policy('float32') (or dtype='float32' on the layers) and load its weights"
        )


def check_layers(model: Any) -> None:
    """Raises :class:`PrecisionError` for a Keras model with a layer that computes, or stores, below float32."""
    for layer in model._flatten_layers():
        policy = layer.dtype_policy
        for dtype in (policy.compute_dtype, policy.variable_dtype):
            if dtype in ("float16", "bfloat16") or str(dtype).startswith(("float8", "int8", "int4")):
                raise PrecisionError(
                    f"layer {layer.name!r} computes in {dtype} (policy {policy.name!r});"
                    " export needs float32 or float64:"
                    " rebuild the model with dtype='float32' and load its weights"
                )
