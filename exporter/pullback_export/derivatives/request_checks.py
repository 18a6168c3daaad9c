"""Whether a request can be computed from a source; each message says what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.requests import Request, Selection
from pullback_export.errors import ExportError
from pullback_export.sources.source import Source

# Of the inner layers, a message names so many.
SHOWN_LAYERS = 12


def check_names(request: Request, source: Source, layers: Sequence[str]) -> None:
    """Raises :class:`ExportError` for a name that is neither an input, an output nor one of the inner ``layers``."""
    inputs = [spec.name for spec in source.inputs]
    known = [*inputs, *source.outputs, *layers]
    others = _inner_layers(source)
    for item in (request.of, *request.wrt):
        if item.name not in known:
            raise ExportError(
                f"{request}: there is no {item.name!r}; outputs: {', '.join(source.outputs)};"
                f" inputs: {', '.join(inputs)}{others}"
            )
    for item in request.wrt:
        if item.name in source.outputs and item.name not in inputs:
            raise ExportError(
                f"{request}: {item.name!r} is an output; differentiate with respect to {', '.join(inputs)}{others}"
            )
        if item.summed:
            raise ExportError(f"{request}: a derivative with respect to a sum has no meaning; name the input itself")


def _inner_layers(source: Source) -> str:
    """The end of a message: the first few layers that are neither input nor output."""
    border = {*(spec.name for spec in source.inputs), *source.outputs}
    names = [name for name in source.layers if name not in border]
    more = ", ..." if len(names) > SHOWN_LAYERS else ""
    return f"; inner layers: {', '.join(names[:SHOWN_LAYERS])}{more}" if names else ""


def check_result_names(source: Source, requests: Sequence[Request], layers: Sequence[str]) -> None:
    """Raises :class:`ExportError` where two results, or a result and an input or output, have one name."""
    taken = {spec.name: "an input" for spec in source.inputs} | dict.fromkeys((*source.outputs, *layers), "an output")
    for request in requests:
        shared = request.function in ("vjp", "jvp")
        if request.name in taken and taken[request.name] == str(request):
            raise ExportError(f"{request}: it is asked for twice; leave one out")
        if request.name in taken and not (shared and taken[request.name] == request.function):
            raise ExportError(
                f"{request}: the name {request.name!r} is taken by {taken[request.name]};"
                " give the request another: name='...'"
            )
        taken[request.name] = request.function if shared else str(request)


def check_outputs(specs: Mapping[str, tf.TensorSpec]) -> None:
    """Raises :class:`ExportError` where an output is no array of numbers, or nothing is known of its shape."""
    for name, spec in specs.items():
        if spec.dtype.is_complex:
            raise ExportError(f"output {name!r} is complex; return its real and imaginary part instead")
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
            raise ExportError(f"output {name!r} has dtype {spec.dtype.name}; outputs are floats, integers or bool")
        if spec.shape.rank is None:
            raise ExportError(
                f"output {name!r} has an unknown number of axes; say it in the model: tf.ensure_shape(y, [None, ...])"
            )


def check_shapes(request: Request, specs: Mapping[Selection, tf.TensorSpec], lead: int) -> None:
    """Raises :class:`ExportError` where dtype or shape do not suit the request; ``lead`` counts the batch axes."""
    for item in (request.of, *(Selection(wrt.name) for wrt in request.wrt)):
        if not specs[item].dtype.is_floating:
            raise ExportError(
                f"{request}: {item.name!r} is {specs[item].dtype.name}, and only floats have derivatives;"
                " for tokens, name the embedding layer instead"
            )
    out = specs[request.of].shape.as_list()
    if lead and not out:
        raise ExportError(
            f"{request}: {request.of} has no batch axis; export with batched=False for whole-tensor derivatives"
        )
    if request.kind in ("gradient", "hvp") and any(size != 1 for size in out[lead:]):
        _refuse_non_scalar(request, out, lead)
    if request.kind in ("jvp", "hvp") and request.wrt[0].index:
        raise ExportError(
            f"{request}: a tangent belongs to a whole input; write {request.wrt[0].name} and pass zeros elsewhere"
        )
    for item in request.wrt:
        _check_coordinate(request, item, specs[Selection(item.name)].shape.as_list(), lead)


def _refuse_non_scalar(request: Request, out: Sequence[int | None], lead: int) -> None:
    of, wrt = request.of, ", ".join(map(str, request.wrt[:1]))
    shape = tuple("B" if axis < lead else size for axis, size in enumerate(out))
    zeros = ", ".join("0" for _ in out[lead:])
    raise ExportError(
        f"{request}: {of} has shape {shape}, not one scalar per sample;"
        f" pick a component {request.kind}({of.name}[{zeros}], {wrt}), "
        + (
            f"ask for all of them jacobian({of}, {wrt}), or give the weights at run time vjp({of}, {wrt})"
            if request.kind == "gradient"
            else f"or ask for all second derivatives hessian({of}, {wrt})"
        )
        + ("" if lead else "; batched=False: if the leading axis is the batch, give it a free size (None)")
    )


def _check_coordinate(request: Request, item: Selection, shape: Sequence[int | None], lead: int) -> None:
    """What an index picks exists, and is one number where the request is a chain of coordinates."""
    sample = tuple(shape[lead:])
    if item.index:
        index = item.sample_index(len(shape), lead)
        item.check_range(index, sample)
        sample = np.empty([1 if size is None else size for size in sample])[index].shape
    if request.kind == "derivative" and any(size != 1 for size in sample):
        raise ExportError(
            f"{request}: {item} has shape {sample} per sample; a chain takes one scalar coordinate each: {item.name}[0]"
        )
