"""Whether a request can be computed from a source; each message says what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf
from pullback.selection import Selection

from pullback_export.derivatives.kinds.request import Request, Shape
from pullback_export.derivatives.selection import check_range, picked_shape, sample_index
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
            raise ExportError(f"{request}: a derivative with respect to a sum is not defined; name the input itself")


def _inner_layers(source: Source) -> str:
    """The end of a message: the first few layers that are neither input nor output."""
    border = {*(spec.name for spec in source.inputs), *source.outputs}
    names = [name for name in source.layers if name not in border]
    more = ", ..." if len(names) > SHOWN_LAYERS else ""
    return f"; inner layers: {', '.join(names[:SHOWN_LAYERS])}{more}" if names else ""


def check_result_names(source: Source, requests: Sequence[Request], layers: Sequence[str]) -> None:
    """Raises :class:`ExportError` where two results, or a result and an input or output, have one name."""
    taken = {spec.name: "an input" for spec in source.inputs} | dict.fromkeys((*source.outputs, *layers), "an output")
    added: set[tuple[str, str]] = set()
    for request in requests:
        shared = request.adds_up
        if request.name in taken and (taken[request.name] == str(request) or (str(request), request.name) in added):
            raise ExportError(f"{request}: requested twice; remove one")
        if request.name in taken and not (shared and taken[request.name] == request.function):
            raise ExportError(
                f"{request}: the name {request.name!r} is taken by {taken[request.name]};"
                " give the request another: name='...'"
            )
        taken[request.name] = request.function if shared else str(request)
        added |= {(str(request), request.name)} if shared else set()


def check_seeds(source: Source, requests: Sequence[Request]) -> None:
    """Raises :class:`ExportError` where a seed has the name of an input, of a result beside it, or of another seed."""
    inputs = {spec.name for spec in source.inputs}
    results = {(request.function, request.name): request for request in requests}
    owners: dict[tuple[str, str], tuple[Selection, Request]] = {}
    for request in requests:
        for seed in request.seeds:
            here = (request.function, seed.name)
            if seed.name in inputs:
                raise ExportError(
                    f"{request}: its seed {seed.name!r} has the name of an input; rename the input with inputs=[...]"
                )
            if here in results:
                raise ExportError(
                    f"{results[here]}: the name {seed.name!r} is that of a seed of {request};"
                    " give the request another: name='...'"
                )
            owner, first = owners.setdefault(here, (seed.owner, request))
            if owner != seed.owner:
                raise ExportError(
                    f"{request}: its seed {seed.name!r} is also that of {first}, with a different shape;"
                    " export one of them to another bundle"
                )


def check_outputs(specs: Mapping[str, tf.TensorSpec]) -> None:
    """Raises :class:`ExportError` where an output is no array of numbers, or nothing is known of its shape."""
    for name, spec in specs.items():
        if spec.dtype.is_complex:
            raise ExportError(f"output {name!r} is complex; return its real and imaginary part instead")
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
            raise ExportError(
                f"output {name!r} has dtype {spec.dtype.name}; outputs are floats, integers or bool, and outputs=[...]"
                " names those to keep"
            )
        check_rank(name, spec.shape)


class UnknownRank(ExportError):
    """TensorFlow does not know how many axes an output has: a call with real inputs tells."""


def check_rank(name: str, shape: tf.TensorShape) -> None:
    """Raises :class:`UnknownRank` where TensorFlow does not know how many axes the output or layer ``name`` has."""
    if shape.rank is None:
        raise UnknownRank(
            f"output {name!r} has an unknown number of axes; say it in the model: tf.ensure_shape(y, [None, ...])"
        )


def check_shared(request: Request, source: Source) -> None:
    """Raises :class:`ExportError` where an input that all rows, or all points, share has no such derivative."""
    shared = [item for item in request.wrt if source.missing(item.name)]
    if not shared:
        return
    of, wrt = request.of, ", ".join(map(str, dict.fromkeys(request.wrt)))
    lacks_rows = 0 in source.missing(shared[0].name)
    axis, (one, all_of_them) = ("batch", ("row", "rows")) if lacks_rows else ("points", ("point", "points"))
    what = f"{request}: {shared[0].name} has no {axis} axis, all {all_of_them} share it"
    if not request.by_shared:
        whole = "" if source.points else ", or export with batched=False, where derivatives are those of whole tensors"
        raise ExportError(
            f"{what}, and {request.kind} is defined by inputs of each {one} only: request hessian({of}, {wrt}), which"
            f" has one Hessian for each {one}{whole}"
        )
    if request.mode == "reverse":
        raise ExportError(
            f"{what}, and reverse mode gives the sum over the {all_of_them}: leave mode= out, or request"
            f" vjp({of}, {wrt})"
        )


def check_shapes(request: Request, specs: Mapping[Selection, tf.TensorSpec], source: Source) -> None:
    """Raises :class:`ExportError` where dtype or shape do not suit the request."""
    lead = source.batch_axes
    if source.points:
        _check_ends(request, source)
    for item in (request.of, *(Selection(wrt.name) for wrt in request.wrt)):
        if not specs[item].dtype.is_floating:
            raise ExportError(
                f"{request}: {item.name!r} is {specs[item].dtype.name}, and only floats have derivatives;"
                " for tokens, name the embedding layer instead"
            )
    out = specs[request.of].shape.as_list()
    whole = specs[Selection(request.of.name)].shape.as_list()
    if lead and (not whole or whole[0] is not None):
        raise ExportError(
            f"{request}: {request.of.name} has no batch axis; export with batched=False for whole-tensor derivatives"
        )
    if source.points and not _is_free(whole, lead):
        raise ExportError(
            f"{request}: {request.of.name} of shape {tuple(whole)} has no axis of the points after that of the"
            " functions; with batch_axes=2 a derivative is of what each function gives at each point, (B, N, ...)"
        )
    request.check_shapes(
        tuple(out[lead:]), [_picked(item, specs, source.depth(item.name)) for item in request.wrt], lead
    )


def _check_ends(request: Request, source: Source) -> None:
    """Raises :class:`ExportError` for an inner layer beside points: nobody could check that its points are apart."""
    if request.of.name not in source.outputs:
        raise ExportError(
            f"{request}: {request.of.name!r} is an inner layer, whose points may influence each other; with"
            " batch_axes=2, make it an output of the model"
        )
    inputs = {spec.name for spec in source.inputs}
    inner = next((item.name for item in request.wrt if item.name not in inputs), None)
    if inner is not None:
        raise ExportError(
            f"{request}: {inner!r} is an inner layer, whose points may influence each other; with batch_axes=2, name"
            f" an input, or start the bundle there: inputs=[{inner!r}, ...]"
        )


def _is_free(shape: Sequence[int | None], lead: int) -> bool:
    """Whether the first ``lead`` axes exist and are free, as batch axes are."""
    return len(shape) >= lead and all(size is None for size in shape[:lead])


def _picked(item: Selection, specs: Mapping[Selection, tf.TensorSpec], lead: int) -> Shape:
    """Shape of what ``item`` picks of a sample; raises :class:`ExportError` where that is nothing."""
    whole = tuple(specs[Selection(item.name)].shape.as_list())
    if lead and not _is_free(whole, lead):
        raise ExportError(
            f"{item.name!r} of shape {whole} has no batch axis: name the input that it is computed from, or export with"
            " batched=False, where derivatives are those of whole tensors"
        )
    sample = whole[lead:]
    if item.index:
        check_range(item, sample_index(item, len(sample) + lead, lead), sample)
    return picked_shape(item, sample, lead)
