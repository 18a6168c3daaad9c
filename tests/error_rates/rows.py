"""A row of the tables as a user would bring it: a plain function, exported with cotangents of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pullback
import tensorflow as tf
from pullback_export import export

from tests.lowering.case import Case, draw_inputs

# TensorFlow has these operators in graphs only: a model that uses them is a tf.function.
GRAPH_ONLY = frozenset({"accumulate", "parallel_concat", "xla_sharding"})
# Rows whose export with cotangents is not right, so that the gate has to refuse it; each with its reason.
NOT_RIGHT = {
    "pad_v2_of_data": "TensorFlow's gradient omits the number that is padded with",
    "dynamic_stitch": "TensorFlow's gradient counts rows that a later index overwrote",
    "list_gather": "in graphs TensorFlow's gradient keeps one of several reads of an element",
    "batchnorm_inference": "TensorFlow has no gradient by the mean and the variance that are given",
    "batchnorm_inference_nchw": "TensorFlow has no gradient by the mean and the variance that are given",
    **dict.fromkeys(
        (
            "crop_nearest",
            "crop_nearest_outside",
            *(f"crop_and_resize_nearest_size_of_data_{name}" for name in ("larger", "one_row", "one_column")),
        ),
        "TensorFlow's gradient by the boxes of a nearest crop is that of a bilinear one, as its `image_grad.py` says",
    ),
    "cholesky_lower_only": "TensorFlow's gradient is that of a symmetric matrix, and the row's is none",
    "eigh_lower_only": "the sign of eigenvectors is arbitrary: the row itself compares up to it",
    "eigh_three": "the sign of eigenvectors is arbitrary: the row itself compares up to it",
}


def export_row(case: Case, dtype: str, free: bool, path: pathlib.Path, formats: tuple[str, ...] = ("onnx",)) -> None:
    """Exports the row's function with every vjp that it has, on the row's own inputs as samples.

    Raises what :func:`pullback_export.export` raises.
    """
    arrays = draw_inputs(case, dtype)
    samples = {f"x{index}": array for index, array in enumerate(arrays)}
    inputs = [
        tf.TensorSpec(
            [None if free and axis in arg.free else size for axis, size in enumerate(arg.shape)],
            array.dtype,
            name=f"x{index}",
        )
        for index, (arg, array) in enumerate(zip(case.args, arrays, strict=True))
    ]
    function = function_of(case)
    found = function(*map(tf.constant, arrays))
    function = with_ranks(function, found)
    requests = [
        f"vjp({of}, {name})"
        for of, output in found.items()
        for name, array in samples.items()
        if case.order and output.dtype.is_floating and array.dtype.kind == "f"
    ]
    export(
        function,
        path,
        requests,
        inputs=inputs,
        samples=samples,
        batched=False,
        unconnected="zero",
        formats=formats,
        tolerance=_tolerance(case),
    )


def function_of(case: Case) -> Callable[..., Any]:
    """The row's function with named outputs, as a user would have it."""
    function = named_outputs(case.function)
    return tf.function(function) if case.name in GRAPH_ONLY else function


def named_outputs(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """``function`` with its outputs by name, complex ones as their two parts."""

    def named(*tensors: Any) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        for index, output in enumerate(tf.nest.flatten(function(*tensors))):
            tensor = tf.convert_to_tensor(output)
            if tensor.dtype.is_complex:
                outputs |= {f"y{index}_real": tf.math.real(tensor), f"y{index}_imag": tf.math.imag(tensor)}
            else:
                outputs[f"y{index}"] = tensor
        return outputs

    return named


def with_ranks(function: Callable[..., Any], found: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """``function`` that says how many axes its outputs have, as exports ask for where TensorFlow does not know."""

    def ranked(*tensors: Any) -> dict[str, Any]:
        outputs = function(*tensors)
        return {
            name: tf.ensure_shape(output, [None] * found[name].shape.rank) if output.shape.rank is None else output
            for name, output in outputs.items()
        }

    return ranked


def _tolerance(case: Case) -> pullback.manifest.Tolerance | None:
    """A row that states a looser tolerance, with its reason, has it here too; where it allows nothing, the default."""
    looser = {dtype: bound for dtype, bound in (case.tolerance or {}).items() if bound}
    return pullback.manifest.Tolerance(**looser) if looser else None
