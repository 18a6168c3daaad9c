"""All the steps of an export on one page: source -> derivatives -> graphs -> parity -> bundle."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import platform
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pullback
from pullback.manifest import FunctionSpec, Tolerance
from pullback.parity import Report

from pullback_export import bundle_writer
from pullback_export.artifacts import onnx_model, saved_model
from pullback_export.derivatives.kinds import Request
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.errors import ExportError, ParityWarning
from pullback_export.failures import as_export_errors
from pullback_export.gate.check import check
from pullback_export.gate.declared_inputs import rejected_calls
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.other_backends.elsewhere import Elsewhere, on_tensorflow
from pullback_export.gate.samples import open_samples, seen_inputs
from pullback_export.gate.sampling.aborting_kernels import aborting_kernel
from pullback_export.gate.supervision import limits
from pullback_export.gate.target_precision import check_precision, in_precision
from pullback_export.gate.verdicts.bounds import Bounds, checked_tolerance
from pullback_export.graph.dims import Shape
from pullback_export.overrides import overrides
from pullback_export.sources.axes import axis_names, with_axes
from pullback_export.sources.features import features_of
from pullback_export.sources.inside.behind_strings import way_out
from pullback_export.sources.names import Outputs
from pullback_export.sources.opening import Batched, open_source
from pullback_export.sources.scaling import with_scaling

FORMATS = ("onnx", "saved_model")


def _elsewhere(call: Elsewhere) -> pullback.Bundle:
    """The export in a process whose Keras runs on TensorFlow; a live model of another backend has to confirm it."""
    told = call.arguments
    target, overwrite = pathlib.Path(told["path"]), told.get("overwrite", False)
    bundle_writer.check_target(target, overwrite)
    call.say("handing the model to a process with Keras on TensorFlow")
    with bundle_writer.staged(target, overwrite) as staging:
        made = staging.path / target.name
        call.run(staging.path, path=made.resolve(), overwrite=False)
        staging.take(made)
        if call.is_live:
            backend = _first(told.get("formats", FORMATS))
            written = pullback.load(staging.path, backend=backend)
            checked = call.confirmed(written, Bounds(checked_tolerance(told.get("tolerance"))).of)
            staging.add_to_report(checked)
            checked.require(f"export of {target.name}")
    call.say(f"wrote {target}")
    return pullback.load(target, backend=_first(told.get("formats", FORMATS)))


@as_export_errors
@on_tensorflow(_elsewhere)
def export(
    model: Any,
    path: str | os.PathLike[str],
    derivatives: Iterable[str | Request] = (),
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    outputs: Outputs = None,
    samples: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    batched: Batched = None,
    batch_axes: int = 1,
    training: bool = False,
    formats: Sequence[str] = FORMATS,
    unconnected: str = "error",
    opset: int = 18,
    tolerance: float | Tolerance | None = None,
    scaling: Mapping[str, tuple[Any, Any]] | None = None,
    axes: Mapping[str, Mapping[int, str]] | None = None,
    features: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    precision: str | None = None,
    signature: str | None = None,
    overwrite: bool = False,
    external_data: bool | None = None,
    time_limit: float = limits.SECONDS,
    progress: Callable[[str], None] | None = None,
) -> pullback.Bundle:
    """Writes ``model`` with ``derivatives`` to the bundle ``path`` and returns it loaded and verified.

    Args:
        model: a ``keras.Model``, the path of a ``.keras`` or ``.h5`` file, a SavedModel folder, a
            ``tf.Module``, a ``tf.function`` or a plain function of tensors. Where Keras runs on JAX or torch here, a
            process with Keras on TensorFlow does the work, and a live model's own outputs are compared, too.
        path: the folder to write, by custom ``<name>.pullback``.
        derivatives: requests such as ``Gradient("y", "x")`` or ``"gradient(y, x)"``; the kinds are ``gradient``,
            ``jacobian``, ``hessian``, ``laplacian``, ``derivative``, and with seeds ``vjp``, ``jvp``, ``hvp`` and
            ``weighted_hessian`` (see :data:`pullback_export.derivatives.kinds.KINDS` for their results).
        inputs: ``tf.TensorSpec`` with names; needed for a plain function, else it renames. A dictionary of them for
            what takes its inputs as one dictionary. Names start inside of a Keras model, ``["embedding", "t"]``, at
            inner layers or one call of them, ``"conv#1"``; inputs that outputs still depend on, by way of a mask say,
            stay beside them, and others are dropped.
        outputs: which outputs to keep, by their names; ``{name: new name}`` keeps and renames, and a list of as many
            new names as there are outputs renames all. A dropped output may be anything: a text, a sparse tensor.
        samples: real inputs for parity, arrays by input name, or a list of such dictionaries where sizes differ. More
            are drawn from them; where omitted, from a domain that the model takes.
        batched: None takes the leading free axis for the batch; False means whole-tensor derivatives. Inputs without a
            batch axis may stand beside batched ones, one value for all rows: True takes those with a free first axis
            for batched, and names, ``["x"]``, say which are. With ``batch_axes=2`` it may be a dictionary, see there.
        batch_axes: 2 where functions meet points, ``u (B, m)`` and ``x (B, N, d)`` or ``(N, d)``, and give
            ``y (B, N, ...)``: derivatives are those of each function at each point, ``(B, N, ...)``. Inputs with two
            free axes in front have both, others with one that of the functions;
            ``batched={"u": "functions", "x": "points", "z": "both"}`` says it where that is not so.
        training: exports the training-mode function, which must not draw random numbers.
        formats: ``"onnx"``, ``"saved_model"`` or both; parity checks each that is written.
        unconnected: ``"error"``, or ``"zero"`` for a derivative of something that does not depend on the input.
        opset: ONNX opset, 18 to 23; a function whose operators came later (strings that are split or joined: 20) is
            written with the opset that has them, and the manifest says so.
        tolerance: largest error relative to the largest reference value; None for the defaults of
            :class:`pullback.manifest.Tolerance`.
        scaling: ``{name: (offset, scale)}`` for inputs and outputs that the model takes or returns scaled, with
            ``physical = offset + scale * model``; values and derivatives are then in physical units.
        axes: names of free axes, ``{"positions": {0: "atoms"}, "species": {0: "atoms"}}``: axes of one name have one
            size, which the runtime checks. What is not named and belongs together is found where samples show it.
        features: names of the components of inputs and outputs, ``{"x": ["age", "income"]}``, or those of the only
            input; ``pullback.integrations.tables`` finds the columns of tables by them.
        precision: ``"float64"`` writes a float32 model as a float64 bundle, ``"float32"`` one that computes in half
            precision as a float32 bundle; None keeps the model's own. Values and derivatives are then those of the
            trained weights in that precision.
        signature: which signature of a SavedModel, or which ``tf.function`` of the saved object; None for
            ``serving_default``, or the only one.
        overwrite: replaces a bundle at ``path``; without it an existing path is an error.
        external_data: True writes weights from 1 MB on into a file beside each ONNX graph, which is mapped into memory,
            not copied; None does so where one ONNX file cannot hold them (2 GB), and False never.
        time_limit: seconds for one evaluation of a sample by the live model or by a written file; each may also take
            half of the free memory. A drawn sample that exceeds either is skipped; one of the caller's is an error.
        progress: called with one line at each stage.

    Raises:
        ExportError: the model or a request cannot be exported; the message says what to do instead. A failure of
            TensorFlow, Keras, ONNX or the model itself is its ``__cause__``.
        UnsupportedOpsError: operators cannot be converted exactly; the message names each with its layer.
        PrecisionError: the model computes in half precision and ``precision`` is None, or an operator cannot compute in
            ``precision``.
        pullback.ParityError: an artifact differs from the live model; nothing was written.
    """
    say = progress or (lambda line: None)
    target = pathlib.Path(path)
    bundle_writer.check_target(target, overwrite)
    chosen = _formats(formats)
    if unconnected not in ("error", "zero"):
        raise ExportError(f"unconnected={unconnected!r}: write 'error' or 'zero'")
    check_precision(precision)
    limit = checked_tolerance(tolerance)
    with overrides(), limits.limited(time_limit):
        half = precision is not None
        opened = open_source(model, inputs, outputs, batched, training, signature, half=half, batch_axes=batch_axes)
        source = with_scaling(opened, scaling or {})
        source = with_axes(source, axes)
        requests = [
            parse_request(item) for item in ([derivatives] if isinstance(derivatives, str | Request) else derivatives)
        ]
        seen = functools.partial(seen_inputs, source, samples)
        planned = Derivatives(source, requests, unconnected, seen)
        source, functions = planned.source, planned.functions()
        say(f"tracing {', '.join(function.name for function in functions)}")
        first = [trace(function) for function in functions]
        conventions = Conventions(first[0])
        retyped = in_precision(source, first, precision)
        traced = retyped.traced
        if "saved_model" in chosen:
            saved_model.check_size(traced)
        drawn = open_samples(retyped.source, samples, aborting_kernel(traced[0].concrete.graph))
        source = drawn.source
        say("lowering to ONNX")
        with bundle_writer.staged(target, overwrite) as staging:
            specs: list[FunctionSpec] = []
            # In training mode rows may depend on each other: the batch must not be split.
            batch = "N" if training else "B"
            named = axis_names(source, batch)
            owners: dict[str, Shape] = {}
            foreign: dict[str, str] = {}
            opsets: dict[str, int] = {}
            columns: dict[str, tuple[str, ...]] = {}
            for one in traced:
                with way_out(opened, bool(inputs)):
                    built = onnx_model.build(
                        one, source.batched, opset, limit, batch, named, owners, external_data, source.points_axis
                    )
                owners = {**built.shapes, **owners}  # ``evaluate`` comes first and has all that seeds belong to
                foreign |= built.foreign
                specs.append(built.spec)
                opsets[built.spec.name] = built.opset
                columns = features_of(specs[0], features)
                if "onnx" in chosen:
                    staging.write_bytes(f"{built.spec.name}.onnx", *built.pieces)
                    if built.beside.pieces:
                        staging.write_bytes(built.beside.name, *built.beside.pieces)
            del built  # as large as the weights
            if "saved_model" in chosen:
                say("writing the SavedModel")
                saved_model.write(staging.path / "saved_model", traced, specs, limit, source.trackable)
            say("comparing with the live model")
            checked = check(
                source, traced, staging.path, chosen, drawn, Bounds(limit), training, conventions, retyped.witness
            )
            told = Report(notes=source.notes) + _converted_by(foreign) + rejected_calls(specs, checked.golden)
            checked = dataclasses.replace(checked, report=checked.report + told)
            _tell(checked.report, progress)
            checked.report.require(f"export of {target.name}")
            staging.finish(specs, opsets, limit, checked, producer(), columns)
    say(f"wrote {target}")
    return pullback.load(target, backend=_first(chosen))


def _tell(report: Report, progress: Callable[[str], None] | None) -> None:
    """Says what the report warns of, once for each result, and which samples were skipped."""
    lines = dict.fromkeys(f"{row.output}: {row.warning}" for row in report.rows if row.warning)
    for line in lines:
        if progress is None:
            warnings.warn(line, ParityWarning, stacklevel=4)  # behind as_export_errors
        else:
            progress(f"warning: {line}")
    if progress is not None:
        for note in report.notes:
            progress(f"note: {note}")


def _converted_by(foreign: Mapping[str, str]) -> Report:
    """Notes that name each operator which no rule of ours converted, for the report and the manifest."""
    return Report(notes=tuple(f"{name}: converted by {other}" for name, other in sorted(foreign.items())))


def producer() -> dict[str, str]:
    """Versions of everything that had a part in the bundle."""
    packages = ("pullback", "tensorflow", "keras", "onnx", "onnxruntime", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _first(formats: Sequence[str]) -> str:
    """The runtime's backend for what was written."""
    return "onnx" if "onnx" in _formats(formats) else "saved_model"


def _formats(formats: Sequence[str]) -> tuple[str, ...]:
    chosen = (formats,) if isinstance(formats, str) else tuple(formats)
    if not chosen or any(item not in FORMATS for item in chosen):
        raise ExportError(f"formats={formats!r}: write ('onnx',), ('saved_model',) or both")
    return chosen
