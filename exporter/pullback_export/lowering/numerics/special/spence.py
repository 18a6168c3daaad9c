"""Spence's function, the dilogarithm of ``1 - x``; coefficients of Cephes, as in TensorFlow."""

from __future__ import annotations

import math

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import log1p, polynomial, undefined

_SPENCE_A = (
    4.6512858607399003e-05,
    0.007315890452380947,
    0.13384763957830903,
    0.8796913117545303,
    2.7114985119655346,
    4.256971560081218,
    3.297713409852251,
    1.0,
)
_SPENCE_B = (
    0.0006909904889125533,
    0.02540437639325444,
    0.2829748606025681,
    1.4117259775183106,
    3.6380053334513707,
    5.03278880143317,
    3.547713409852251,
    1.0,
)


def spence(op: OpContext, x: Value) -> Value:
    """``-integral of log(t) / (t - 1) from 1 to x``."""
    y = op.Where(x < 2, x, 1.0 / x)
    w = op.Where(y > 1.5, 1.0 / y - 1, op.Where(y < 0.5, -y, y - 1))
    z = op.Log(y)
    result = -w * polynomial(w, _SPENCE_A) / polynomial(w, _SPENCE_B)
    result = op.Where(y < 0.5, -z * log1p(op, -y) + math.pi**2 / 6 - result, result)
    result = op.Where(x > 1.5, -0.5 * z * z - result, result)
    result = op.Where(x.equals(0), op.const(math.pi**2 / 6, x.dtype), result)
    return undefined(op, result, x < 0)
