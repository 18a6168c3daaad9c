"""The bits of a float as an integer, by arithmetic: ONNX has no operator for that before opset 26."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import sign_bit
from pullback_export.lowering.registry import lowers


def _magnitude_bits(op: OpContext, x: Value) -> Value:
    """``(exponent - lowest) * 2**m + |x| * 2**(m - exponent)`` with ``m`` bits of mantissa, as int64; NaN quiet."""
    info = np.finfo(x.dtype)
    top = op.const(info.max, x.dtype)
    a = op.cast(op.Min(op.Abs(x), top), np.float64)
    guess = op.Floor(op.Log(a) * (1 / math.log(2)))
    two = op.const(2.0)
    up = op.cast(a >= op.Pow(two, guess + 1), np.float64)
    down = op.cast(a < op.Pow(two, guess), np.float64)
    exponent = op.Max(guess + up - down, op.const(float(info.minexp)))
    mantissa = a * op.Pow(two, -exponent) * 2.0**info.nmant
    bits = op.cast(exponent - info.minexp, np.int64) * (1 << info.nmant) + op.cast(mantissa, np.int64)
    infinity = (info.maxexp - info.minexp + 1) << info.nmant
    bits = op.Where(op.IsInf(x), op.const(infinity, np.int64), bits)
    return op.Where(op.IsNaN(x), op.const(infinity + (1 << info.nmant >> 1), np.int64), bits)


@lowers("Bitcast")
def bitcast(op: OpContext, x: Any) -> Any:
    """The same bits as another dtype: of a float as an integer of its width, or where that changes nothing."""
    if op.tf_op.inputs[0].dtype == op.tf_op.outputs[0].dtype:
        return x
    dtype = op.output_dtype()
    if not isinstance(x, Value) or dtype.itemsize != x.dtype.itemsize or dtype.kind not in "iu":
        raise op.unsupported(f"the bits of {op.tf_op.inputs[0].dtype.name} as {op.tf_op.outputs[0].dtype.name}")
    if x.dtype.kind in "iu":
        return op.cast(x, dtype)
    lowest = op.const(-(1 << 63 if x.dtype == np.float64 else 1 << 31), np.int64)
    bits = _magnitude_bits(op, x)
    return op.cast(op.Where(sign_bit(x), bits + lowest, bits), dtype)
