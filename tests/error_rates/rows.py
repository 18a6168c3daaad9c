"""A row of the tables as a user would bring it: a plain function, exported with cotangents of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pullback
import tensorflow as tf
from pullback_export import export

from tests.lowering.case import Case, draw_inputs


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
    function = named_outputs(case.function)
    found = function(*map(tf.constant, arrays))
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


def _tolerance(case: Case) -> pullback.manifest.Tolerance | None:
    """A row that states a looser tolerance, with its reason, has it here too."""
    return pullback.manifest.Tolerance(**case.tolerance) if case.tolerance else None
