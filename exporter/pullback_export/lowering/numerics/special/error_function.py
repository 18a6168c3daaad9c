"""The error function, its complement and its inverse; coefficients of Eigen and of Cephes, as in TensorFlow."""

from __future__ import annotations

import math

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import infinite, polynomial, rational

# float32: erfc(x) = 1 + x A(x**2) up to 1, exp(-x**2) / x G(x**-2) / D(x**-2) beyond.
_SINGLE_A = (
    0.0005618022987619042,
    -0.004913816694170237,
    0.026707515120506287,
    -0.11280010640621185,
    0.37612295150756836,
    -1.1283791065216064,
)
_SINGLE_G = (0.10208116471767426, 0.4292066693305969, 0.3237907886505127, 0.05397197604179382)
_SINGLE_D = (0.017251677811145782, 0.39137163758277893, 1.0, 0.6217324137687683, 0.09566286206245422)
# float64: erf(x) = x A(x**2) / B(x**2) up to 1, erfc(x) = exp(-x**2) / x G(x**-2) / D(x**-2) beyond.
_DOUBLE_A = (0.00019493725660006057, 0.0018272566210022943, 0.04530336335169011, 0.1421501550361918, 1.1283791670955126)
_DOUBLE_B = (
    2.02944841010831e-05,
    0.0006811780589918682,
    0.010582026056098615,
    0.0932526031437575,
    0.4593106281836894,
    1.0,
)
_DOUBLE_G = (
    0.00015252844933226974,
    0.010909912393738931,
    0.10628604636755033,
    0.3349247297313798,
    0.4506577621593329,
    0.29433039130294825,
    0.09879267636060023,
    0.01709593539550372,
    0.0014249109729504578,
    4.4567378313647955e-05,
)
_DOUBLE_D = (
    0.00204198510311579,
    0.05316030659946044,
    0.3426242193784685,
    0.856563712430805,
    1.0,
    0.5968805280570777,
    0.18909228547233178,
    0.031525054186560056,
    0.0025650857518618826,
    7.899362131678838e-05,
)
# Quantile of the normal distribution: in the middle, for z = sqrt(-2 log p) below 8, and above 8.
_NDTRI_P0 = (-59.96335010141079, 98.00107541859997, -56.67628574690703, 13.931260938727968, -1.2391658386738125)
_NDTRI_Q0 = (
    1.0,
    1.9544885833814176,
    4.676279128988815,
    86.36024213908905,
    -225.46268785411937,
    200.26021238006066,
    -82.03722561683334,
    15.90562251262117,
    -1.1833162112133,
)
_NDTRI_P1 = (
    4.0554489230596245,
    31.525109459989388,
    57.16281922464213,
    44.08050738932008,
    14.684956192885803,
    2.1866330685079025,
    -0.1402560791713545,
    -0.03504246268278482,
    -0.0008574567851546854,
)
_NDTRI_Q1 = (
    1.0,
    15.779988325646675,
    45.39076351288792,
    41.3172038254672,
    15.04253856929075,
    2.504649462083094,
    -0.14218292285478779,
    -0.03808064076915783,
    -0.0009332594808954574,
)
_NDTRI_P2 = (
    3.2377489177694603,
    6.915228890689842,
    3.9388102529247444,
    1.3330346081580755,
    0.20148538954917908,
    0.012371663481782003,
    0.00030158155350823543,
    2.6580697468673755e-06,
    6.239745391849833e-09,
)
_NDTRI_Q2 = (
    1.0,
    6.02427039364742,
    3.6798356385616087,
    1.3770209948908132,
    0.21623699359449663,
    0.013420400608854318,
    0.00032801446468212774,
    2.8924786474538068e-06,
    6.790194080099813e-09,
)


def _erf_small(x: Value, square: Value) -> Value:
    return x * rational(square, _DOUBLE_A, _DOUBLE_B)


def _erfc_large(op: OpContext, x: Value, square: Value) -> Value:
    """``erfc(|x|)`` for ``square = x**2`` from 1 on."""
    inverse = 1.0 / square
    tables = (_SINGLE_G, _SINGLE_D) if x.dtype == np.float32 else (_DOUBLE_G, _DOUBLE_D)
    return op.Exp(-square) * rational(inverse, *tables) * op.Sqrt(inverse)


def _blend(op: OpContext, outer: Value, large: Value, small: Value) -> Value:
    """``large`` where ``outer`` is 1 and ``small`` where it is 0: finite values need no ``Where``."""
    return large * outer + small * (1 - outer)


def erf(op: OpContext, x: Value) -> Value:
    """``2 / sqrt(pi) * integral of exp(-t**2) from 0 to x``."""
    if x.dtype == np.float32:
        return op.Erf(x)
    bounded = op.Clip(x, op.const(-28, x.dtype), op.const(28, x.dtype))
    square = bounded * bounded
    outer = op.cast(square > 1, x.dtype)
    large = op.Sign(x) * (1 - _erfc_large(op, bounded, op.Max(square, op.const(1, x.dtype))))
    return _blend(op, outer, large, _erf_small(bounded, square))


def erfc(op: OpContext, x: Value) -> Value:
    """``1 - erf(x)``, to the last digit also where that is tiny.

    For float32 the plain difference, which is much faster, where nothing divides by it or takes its logarithm.
    """
    if x.dtype == np.float32 and not op.magnified():
        return 1 - op.Erf(x)
    limit = 11 if x.dtype == np.float32 else 28
    bounded = op.Clip(x, op.const(-limit, x.dtype), op.const(limit, x.dtype))
    square = bounded * bounded
    outer = op.cast(square > 1, x.dtype)
    tail = _erfc_large(op, bounded, op.Max(square, op.const(1, x.dtype)))
    negative = op.cast(x < 0, x.dtype)
    large = 2 * negative + tail * (1 - 2 * negative)
    if x.dtype == np.float32:
        return _blend(op, outer, large, 1 + bounded * polynomial(square, _SINGLE_A))
    return _blend(op, outer, large, 1 - _erf_small(bounded, square))


def ndtri(op: OpContext, p: Value) -> Value:
    """``x`` with ``(1 + erf(x / sqrt 2)) / 2 = p``; -+infinity at 0 and 1, NaN beyond."""
    lower = p <= 1 - math.exp(-2)
    q = op.Where(lower, p, 1 - p)
    centre = q - 0.5
    square = centre * centre
    middle = math.sqrt(2 * math.pi) * (centre + centre * (square * rational(square, _NDTRI_P0, _NDTRI_Q0)))
    z = op.Sqrt(-2.0 * op.Log(q))
    inverse = 1.0 / z
    correction = op.Where(z < 8, rational(inverse, _NDTRI_P1, _NDTRI_Q1), rational(inverse, _NDTRI_P2, _NDTRI_Q2))
    tail = z - op.Log(z) / z - inverse * correction
    result = op.Where(q > math.exp(-2), middle, op.Where(lower, -tail, tail))
    return infinite(op, infinite(op, result, p.equals(0), -1), p.equals(1))
