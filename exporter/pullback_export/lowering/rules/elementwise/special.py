"""Special functions: the error function, gamma, beta and zeta functions, integrals, and the Bessel functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import in_float64
from pullback_export.lowering.numerics.special import (
    bessel,
    dawson,
    error_function,
    exponential_integral,
    fresnel,
    gamma,
    incomplete,
    modified_bessel,
    spence,
)
from pullback_export.lowering.registry import lowers

_at = functools.partial

# What is computed in float64, whatever the dtype of the operands: operator, algorithm, and what it means.
FUNCTIONS: tuple[tuple[str, Callable[..., Value], str], ...] = (
    ("Lgamma", gamma.lgamma, "``log|gamma(x)|``; infinite at 0, -1, -2, ..."),
    ("Digamma", gamma.digamma, "The derivative of ``lgamma``; NaN at 0, -1, -2, ..."),
    ("Polygamma", gamma.polygamma, "The ``n``-th derivative of ``digamma``."),
    ("Zeta", gamma.zeta, "``1 / q**x + 1 / (q + 1)**x + ...``."),
    (
        "Igamma",
        incomplete.igamma,
        "``integral of t**(a-1) exp(-t) from 0 to x / gamma(a)``; 0 at ``x = 0``, NaN for ``x < 0`` or ``a <= 0``.",
    ),
    ("Igammac", incomplete.igammac, "``1 - igamma(a, x)``, to the last digit where that is tiny."),
    ("IgammaGradA", incomplete.igamma_grad_a, "The derivative of ``igamma`` with respect to ``a``."),
    (
        "RandomGammaGrad",
        incomplete.gamma_sample_grad,
        "``-(d igamma / da) / (d igamma / dx)``: how a gamma variate moves with its shape ``a``.",
    ),
    (
        "Betainc",
        incomplete.betainc,
        "``integral of t**(a-1) (1-t)**(b-1) from 0 to x / beta(a, b)``; NaN outside of 0 to 1 and for ``a, b <= 0``.",
    ),
    ("Ndtri", error_function.ndtri, "The quantile of the normal distribution at ``p``."),
    ("Dawsn", dawson.dawson, "``exp(-x**2) * integral of exp(t**2) from 0 to x``."),
    (
        "Expint",
        exponential_integral.expint,
        "``Ei(x)``, the integral of ``exp(t) / t`` up to ``x``; -infinity at 0, NaN below.",
    ),
    ("FresnelCos", _at(fresnel.fresnel, sine=False), "The integral of ``cos(pi t**2 / 2)`` from 0 to ``x``."),
    ("FresnelSin", _at(fresnel.fresnel, sine=True), "The integral of ``sin(pi t**2 / 2)`` from 0 to ``x``."),
    ("Spence", spence.spence, "``-integral of log(t) / (t - 1) from 1 to x``; NaN below 0."),
    ("BesselI0", _at(modified_bessel.bessel_i, order=0), "The modified Bessel function of the first kind, of order 0."),
    ("BesselI1", _at(modified_bessel.bessel_i, order=1), "The modified Bessel function of the first kind, of order 1."),
    ("BesselI0e", _at(modified_bessel.bessel_i_scaled, order=0), "``exp(-|x|) I0(x)``."),
    ("BesselI1e", _at(modified_bessel.bessel_i_scaled, order=1), "``exp(-|x|) I1(x)``."),
    (
        "BesselK0",
        _at(modified_bessel.bessel_k, order=0, scaled=False),
        "The modified one of the second kind; infinite up to 0.",
    ),
    (
        "BesselK1",
        _at(modified_bessel.bessel_k, order=1, scaled=False),
        "The modified one of the second kind; infinite up to 0.",
    ),
    ("BesselK0e", _at(modified_bessel.bessel_k, order=0, scaled=True), "``exp(x) K0(x)``; infinite up to 0."),
    ("BesselK1e", _at(modified_bessel.bessel_k, order=1, scaled=True), "``exp(x) K1(x)``; infinite up to 0."),
    ("BesselJ0", _at(bessel.bessel_j, order=0), "The Bessel function of the first kind, of order 0."),
    ("BesselJ1", _at(bessel.bessel_j, order=1), "The Bessel function of the first kind, of order 1."),
    ("BesselY0", _at(bessel.bessel_y, order=0), "The Bessel function of the second kind; -infinity up to 0."),
    ("BesselY1", _at(bessel.bessel_y, order=1), "The Bessel function of the second kind; -infinity up to 0."),
)


def _register(op_type: str, function: Callable[..., Value], meaning: str) -> None:
    def rule(op: OpContext, *operands: Any) -> Value:
        return in_float64(op, function, *operands)

    rule.__name__, rule.__doc__ = op_type.lower(), meaning
    lowers(op_type)(rule)


for _row in FUNCTIONS:
    _register(*_row)


@lowers("Erf")
def erf(op: OpContext, x: Value) -> Value:
    """``2 / sqrt(pi) * integral of exp(-t**2) from 0 to x``."""
    return error_function.erf(op, x)


@lowers("Erfc")
def erfc(op: OpContext, x: Value) -> Value:
    """``1 - erf(x)``, to the last digit also where that is tiny."""
    return error_function.erfc(op, x)


@lowers("Erfinv")
def erfinv(op: OpContext, x: Value) -> Value:
    """``ndtri((x + 1) / 2) / sqrt(2)``, the sum rounded as TensorFlow does."""
    return in_float64(op, error_function.ndtri, x * 0.5 + 0.5) * math.sqrt(0.5)
