"""Physical units: an affine pair for an input or output that the model only knows in scaled form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source

Pair = tuple[Any, Any]


def with_scaling(source: Source, scaling: Mapping[str, Pair]) -> Source:
    """``source`` in physical units: ``scaling[name] = (offset, scale)``, ``physical = offset + scale * model``.

    Inputs are brought to the model's units, ``(x - offset) / scale``, before the call, outputs to physical ones after
    it, so that every derivative comes in physical units too. Offsets and scales broadcast against one sample.
    """
    if not scaling:
        return source
    pairs = {name: _checked(source, name, pair) for name, pair in scaling.items()}

    def wrapped(call: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        def scaled(*tensors: Any) -> tuple[Any, ...]:
            inputs = [
                _to_model(pairs.get(spec.name), tensor) for spec, tensor in zip(source.inputs, tensors, strict=True)
            ]
            return tuple(
                _to_physical(pairs.get(name), result)
                for name, result in zip(source.outputs, call(*inputs), strict=True)
            )

        return scaled

    spreads = {name: pairs[name] for name in pairs if name in {spec.name for spec in source.inputs}}
    return dataclasses.replace(source, call=wrapped(source.call), spreads=spreads)


def _to_model(pair: Pair | None, tensor: Any) -> Any:
    if pair is None:
        return tensor
    offset, scale = (tf.constant(item, tensor.dtype) for item in pair)
    return (tensor - offset) / scale


def _to_physical(pair: Pair | None, tensor: Any) -> Any:
    if pair is None:
        return tensor
    offset, scale = (tf.constant(item, tensor.dtype) for item in pair)
    return offset + scale * tensor


def _checked(source: Source, name: str, pair: Any) -> Pair:
    known = [spec.name for spec in source.inputs] + list(source.outputs)
    if name not in known:
        raise ExportError(f"scaling: there is no {name!r}; inputs and outputs: {', '.join(known)}")
    spec = next((spec for spec in source.inputs if spec.name == name), None)
    if spec is not None and not spec.dtype.is_floating:
        raise ExportError(f"scaling: {name!r} is {spec.dtype.name}; only float inputs have units")
    try:
        offset, scale = (np.asarray(item, np.float64) for item in pair)
    except (TypeError, ValueError) as problem:
        raise ExportError(f"scaling[{name!r}] must be a pair (offset, scale) of numbers or arrays") from problem
    if not (np.isfinite(offset).all() and np.isfinite(scale).all() and (scale != 0).all()):
        raise ExportError(f"scaling[{name!r}]: offset and scale must be finite and the scale not zero")
    return offset, scale
