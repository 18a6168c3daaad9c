"""SavedModels as sources: one of their signatures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source, readable, rename


def saved_model_source(loaded: Any, outputs: Sequence[str] | None, chosen: str | None) -> Source:
    signatures = loaded.signatures
    if not signatures:
        raise ExportError("the SavedModel has no signature; save it with signatures=... (Keras: model.export(path))")
    names = ", ".join(sorted(signatures))
    if chosen is None and "serving_default" not in signatures and len(signatures) > 1:
        raise ExportError(
            f"the SavedModel has the signatures {names} and no serving_default: choose one,"
            f" signature={min(signatures)!r}"
        )
    name = chosen or ("serving_default" if "serving_default" in signatures else min(signatures))
    if name not in signatures:
        raise ExportError(f"the SavedModel has no signature {name!r}; it has {names}")
    return _signature_source(loaded, signatures[name], outputs)


def _signature_source(loaded: Any, signature: Any, outputs: Sequence[str] | None) -> Source:
    """A signature takes its inputs by name and returns a dictionary, whose order TensorFlow leaves to chance."""
    specs = signature.structured_input_signature[1]
    keys = [key for key in signature._arg_keywords if key in specs]
    results = sorted(signature.structured_outputs, key=_in_counting_order)
    chosen = rename(outputs, readable(results, "y"))

    def call(*tensors: Any) -> tuple[Any, ...]:
        values = signature(**dict(zip(keys, tensors, strict=True)))
        return tuple(values[key] for key in results)

    named = zip(keys, readable(keys, "x"), strict=True)
    inputs = tuple(tf.TensorSpec(specs[key].shape, specs[key].dtype, label) for key, label in named)
    return Source("saved_model", inputs, chosen, call, True, loaded)


def _in_counting_order(name: str) -> tuple[str, int, str]:
    """``output_2`` before ``output_10``."""
    stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or -1), name
