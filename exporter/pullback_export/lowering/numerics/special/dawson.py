"""Dawson's integral; coefficients of Cephes, as in TensorFlow."""

from __future__ import annotations

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import piecewise, rational

_DAWSON_AN = (
    1.1368149897175597e-11,
    8.492622676674738e-10,
    1.9443420417555306e-08,
    9.531517412544844e-07,
    3.078283098749132e-06,
    0.00035251336852028877,
    -0.0008501498467244109,
    0.04226182230055466,
    -0.09174803717734524,
    1.0,
)
_DAWSON_AD = (
    2.403720730667626e-11,
    1.488646813684934e-09,
    5.212652810105416e-08,
    1.2725847827318697e-06,
    2.324902498207895e-05,
    0.00032552474182605793,
    0.003488058146571626,
    0.027944853119882897,
    0.15887424196012057,
    0.5749186294893204,
    1.0,
)
_DAWSON_BN = (
    0.5089551564179009,
    -0.24475441814269785,
    0.09415123353035344,
    -0.021871125514203903,
    0.003662076123295692,
    -0.0004232091144603888,
    3.5964130479389666e-05,
    -2.1464035171996896e-06,
    9.100107800763914e-08,
    -2.4027452082825098e-09,
    3.592333854409284e-11,
)
_DAWSON_BD = (
    1.0,
    -0.6318398698733682,
    0.2367067882282487,
    -0.053180636700322324,
    0.008480417185862954,
    -0.0009479967684866654,
    7.810255929445524e-05,
    -4.558751532524426e-06,
    1.8910035811142186e-07,
    -4.913246913319206e-09,
    7.184664032357345e-11,
)
_DAWSON_CN = (
    -0.5905928605347732,
    0.6292352427243688,
    -0.17285897538038814,
    0.016483704782518965,
    -0.0004868276130204627,
)
_DAWSON_CD = (
    1.0,
    -2.698200571975449,
    1.7327079904594784,
    -0.3937085822819395,
    0.03442789240412334,
    -0.0009736552260409412,
)


def dawson(op: OpContext, x: Value) -> Value:
    """``exp(-x**2) * integral of exp(t**2) from 0 to x``."""
    a = op.Abs(x)
    inverse = 1.0 / a
    square = inverse * inverse
    near = a * rational(a * a, _DAWSON_AN, _DAWSON_AD)
    middle = 0.5 * (inverse + square * inverse * rational(square, _DAWSON_BN, _DAWSON_BD))
    far = 0.5 * (inverse + square * inverse * rational(square, _DAWSON_CN, _DAWSON_CD))
    return op.Sign(x) * piecewise(op, a, [(3.25, near), (6.25, middle)], far)
