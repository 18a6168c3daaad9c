"""Fresnel integrals; coefficients of Cephes, as in TensorFlow."""

from __future__ import annotations

import math

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import piecewise, rational

_FRESNEL_CN = (
    -4.9884311457357354e-08,
    9.504280628298596e-06,
    -0.0006451914356839651,
    0.018884331939670384,
    -0.20552590095501388,
    1.0,
)
_FRESNEL_CD = (
    3.99982968972496e-12,
    9.154392157746574e-10,
    1.2500186247959882e-07,
    1.2226278902417902e-05,
    0.0008680295429417843,
    0.04121420907221998,
    1.0,
)
_FRESNEL_SN = (
    -2991.8191940101983,
    708840.0452577386,
    -62974148.62058625,
    2548908805.7337637,
    -44297951805.96978,
    318016297876.5678,
)
_FRESNEL_SD = (
    1.0,
    281.3762688899943,
    45584.78108065326,
    5173438.887700964,
    419320245.8981112,
    22441179564.534092,
    607366389490.0846,
)
_FRESNEL_FN = (
    0.4215435550436775,
    0.1434079197807589,
    0.011522095507358577,
    0.000345017939782574,
    4.6361374928786735e-06,
    3.055689837902576e-08,
    1.0230451416490724e-10,
    1.7201074326816183e-13,
    1.3428327623306275e-16,
    3.763297112699879e-20,
)
_FRESNEL_FD = (
    1.0,
    0.7515863983533789,
    0.11688892585919138,
    0.0064405152650885865,
    0.00015593440916415301,
    1.8462756734893055e-06,
    1.1269922476399903e-08,
    3.6014002958937136e-11,
    5.887545336215784e-14,
    4.5200143407412973e-17,
    1.2544323709001127e-20,
)
_FRESNEL_GN = (
    0.5044420736433832,
    0.1971028335255234,
    0.018764858409257526,
    0.0006840793809153931,
    1.1513882611188428e-05,
    9.828524436884223e-08,
    4.4534441586175015e-10,
    1.0826804113902088e-12,
    1.375554606332618e-15,
    8.363544356306774e-19,
    1.8695871016278324e-22,
)
_FRESNEL_GD = (
    1.0,
    1.4749575992512833,
    0.33774898912002,
    0.02536037414203388,
    0.0008146791071843061,
    1.2754507566772912e-05,
    1.0431458965757199e-07,
    4.6068072814652043e-10,
    1.1027321506624028e-12,
    1.3879653125957886e-15,
    8.391588162831187e-19,
    1.8695871016278324e-22,
)


def _fresnel_far(op: OpContext, x: Value, sine: bool) -> Value:
    """``1/2 +- (f sin - g cos) / (pi x)`` at ``pi x**2 / 2``, with auxiliary functions ``f`` and ``g``."""
    square = x * x
    t = 1.0 / (math.pi * square)
    u = t * t
    f = 1 - u * rational(u, _FRESNEL_FN, _FRESNEL_FD)
    g = t * rational(u, _FRESNEL_GN, _FRESNEL_GD)
    phase = square * (math.pi / 2)
    c, s = op.Cos(phase), op.Sin(phase)
    size = 1.0 / (math.pi * x)
    return 0.5 - (f * c + g * s) * size if sine else 0.5 + (f * s - g * c) * size


def fresnel(op: OpContext, x: Value, sine: bool) -> Value:
    """The integral of ``sin`` or ``cos(pi t**2 / 2)`` from 0 to ``x``."""
    a = op.Abs(x)
    square = a * a
    fourth = square * square
    if sine:
        near = a * square * rational(fourth, _FRESNEL_SN, _FRESNEL_SD)
    else:
        near = a * rational(fourth, _FRESNEL_CN, _FRESNEL_CD)
    middle = piecewise(op, square, [(2.5625, near)], _fresnel_far(op, a, sine))
    return op.Sign(x) * op.Where(a > 36974.0, op.const(0.5, x.dtype), middle)
