"""Does an existing bundle still say what a live model says? The gate of the export, without writing anything."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pullback
import tensorflow as tf
from pullback.manifest import DerivativeSpec, FunctionSpec, Manifest
from pullback.parity import Report

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.errors import ExportError
from pullback_export.gate import limits
from pullback_export.gate.check import check
from pullback_export.gate.finite_differences import surrogate_ops
from pullback_export.gate.samples import open_samples
from pullback_export.overrides import overrides
from pullback_export.sources.opening import open_source
from pullback_export.sources.source import Source


def compare_with_bundle(
    model: Any,
    bundle: str | os.PathLike[str],
    samples: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    *,
    training: bool = False,
    signature: str | None = None,
    time_limit: float = limits.SECONDS,
) -> Report:
    """Compares the bundle's artifacts with ``model`` (anything :func:`export` takes) on new samples.

    ``time_limit``: seconds for one evaluation of a sample, as in :func:`export`.

    Returns the report; ``report.require("...")`` raises :class:`pullback.ParityError` where it failed.

    Raises:
        ExportError: the model has not the inputs and outputs that the bundle was made from.
        pullback.BundleError: the bundle is damaged.
    """
    manifest = _load(bundle).manifest
    if manifest is None:
        raise ExportError(f"{bundle}: a bare file has no manifest; give the bundle's folder")
    with overrides(), limits.limited(time_limit):
        evaluate = manifest.functions[0].function
        derived = {item.name for item in evaluate.derivatives}
        plain = [spec.name for spec in evaluate.outputs if spec.name not in derived]
        requests = [_request(item) for graph in manifest.functions for item in graph.function.requested]
        source = open_source(model, None, None, evaluate.batched, training, signature)
        source = _renamed(source, [spec.name for spec in evaluate.inputs], plain)
        traced = [trace(function) for function in Derivatives(source, requests, "zero").functions()]
        formats = _formats(manifest)
        drawn = open_samples(_with_names(source, evaluate), samples)
        surrogates = surrogate_ops(traced[0].concrete.graph)
        return check(
            drawn.source, traced, pathlib.Path(bundle), formats, drawn, manifest.tolerance, training, surrogates
        ).report


def _with_names(source: Source, evaluate: FunctionSpec) -> Source:
    """The source whose free axes have the bundle's names."""
    start = 1 if source.batched else 0
    names = {
        spec.name: {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str) and axis >= start}
        for spec in evaluate.inputs
    }
    return dataclasses.replace(source, axes=names)


def _load(bundle: str | os.PathLike[str]) -> pullback.Bundle:
    try:
        return pullback.load(bundle)
    except pullback.NotExportedError:  # there is only a SavedModel
        return pullback.load(bundle, backend="saved_model")


def _request(spec: DerivativeSpec) -> Request:
    return parse_request(spec.request).again(spec.scale, spec.name)


def _formats(manifest: Manifest) -> tuple[str, ...]:
    onnx = ("onnx",) if all(graph.file is not None for graph in manifest.functions) else ()
    return onnx + (("saved_model",) if manifest.saved_model else ())


def _renamed(source: Source, inputs: list[str], plain: list[str]) -> Source:
    """The source under the bundle's names, which the caller of :func:`export` may have chosen."""
    outputs = [name for name in plain if name not in source.layers or name in source.outputs]
    if len(inputs) != len(source.inputs) or len(outputs) != len(source.outputs):
        raise ExportError(
            f"the bundle has inputs {inputs} and outputs {outputs}, the model {[s.name for s in source.inputs]} and"
            f" {list(source.outputs)}: it is another model"
        )
    specs = tuple(tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(source.inputs, inputs, strict=True))
    return dataclasses.replace(source, inputs=specs, outputs=tuple(outputs))
