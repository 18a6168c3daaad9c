"""Rows for special functions: the usual domain, its ends, poles, and operands of both signs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Case, fixed, normal, uniform

raw, special = tf.raw_ops, tf.math.special
DOUBLE = ("float64",)
LOOSE = {"float32": 1e-4}
SINGLE = "this computes in float64, TensorFlow's float32 kernel is off by so much"


def nary(op: Any) -> Any:
    """A raw op of operands named a, x (and b)."""
    return lambda *xs: op(**dict(zip(("a", "x") if len(xs) == 2 else ("a", "b", "x"), xs, strict=True)))


def polygamma(order: float) -> Any:
    return lambda x: tf.math.polygamma(tf.constant(order, x.dtype), x)


def one(name: str, op: str, function: Any, low: float, high: float, order: int = 2, **options: Any) -> Case:
    return Case(name, op, function, (uniform(low, high, 6, 9),), order=order, **options)


CASES = [
    one("erf", "Erf", tf.math.erf, -3, 3),
    one("erf_small", "Erf", tf.math.erf, -1e-6, 1e-6),
    one("erf_wide", "Erf", tf.math.erf, -40, 40, smooth=False),
    one("erfc", "Erfc", tf.math.erfc, -3, 3),
    one("erfc_wide", "Erfc", tf.math.erfc, -40, 40, smooth=False),
    one("erfc_tail", "Erfc", lambda x: tf.math.log(tf.math.erfc(x)), -1, 8, order=1),
    one("erfc_far_tail", "Erfc", lambda x: tf.math.log(tf.math.erfc(x)), 8, 25, order=1, dtypes=DOUBLE),
    Case(
        "erf_edge",
        ("Erf", "Erfc"),
        lambda x: (tf.math.erf(x), tf.math.erfc(x)),
        (fixed([9.0, -9.0, np.nan, 0.0, 1.0, -1.0]),),
        order=0,
    ),
    one("erfinv", "Erfinv", tf.math.erfinv, -0.99, 0.99),
    Case("erfinv_edge", "Erfinv", tf.math.erfinv, (fixed([-1.0, 0.0, 1.0, 2.0, -2.0, 0.999]),), order=0),
    one("ndtri", "Ndtri", tf.math.ndtri, 0.01, 0.99),
    Case(
        "ndtri_tails",
        "Ndtri",
        tf.math.ndtri,
        (fixed([1e-300, 1e-30, 1e-14, 1e-5, 0.5, 0.0, 1.0, 1.5]),),
        order=0,
        dtypes=DOUBLE,
    ),
    one("lgamma", "Lgamma", tf.math.lgamma, 0.05, 4),
    one("lgamma_large", "Lgamma", tf.math.lgamma, 5, 500),
    one("lgamma_negative", "Lgamma", tf.math.lgamma, -6.9, -0.1, order=2, dtypes=DOUBLE),
    one("lgamma_negative_single", "Lgamma", tf.math.lgamma, -6.9, -0.1, order=1),
    Case(
        "lgamma_edge",
        ("Lgamma", "Digamma"),
        lambda x: (tf.math.lgamma(x), tf.math.digamma(x)),
        (fixed([1.0, 2.0, 0.0, -1.0, -2.0, -0.5, np.inf, 1e-10]),),
        order=0,
    ),
    one("digamma", "Digamma", tf.math.digamma, 0.2, 20),
    one("digamma_negative", "Digamma", tf.math.digamma, -6.9, -0.1, dtypes=DOUBLE),
    *[one(f"polygamma_{order}", "Polygamma", polygamma(float(order)), 0.3, 12) for order in (0, 1, 2, 5)],
    one("polygamma_negative", "Polygamma", polygamma(2.0), -6.9, -0.1, dtypes=DOUBLE),
    Case(
        "polygamma_orders",
        "Polygamma",
        tf.math.polygamma,
        (fixed([0.0, 1.0, 2.0, 3.0, -1.0, 1.5, 10.0]), fixed([2.0, 0.5, 3.0, 4.0, 2.0, 2.0, 1.2])),
        order=0,
    ),
    Case("zeta", "Zeta", tf.math.zeta, (uniform(1.1, 6, 5, 4), uniform(0.2, 9, 5, 4)), order=0),
    Case(
        "zeta_gradient", "Zeta", lambda q: tf.math.zeta(tf.constant(2.5, q.dtype), q), (uniform(0.2, 9, 5, 4),), order=2
    ),
    Case(
        "zeta_edge",
        "Zeta",
        tf.math.zeta,
        (
            fixed([1.0, 0.5, 2.0, 3.0, 2.0, 2.5, 3.0, 40.0, 3.0]),
            fixed([2.0, 2.0, 0.0, -1.0, -2.0, -0.5, -2.5, 3.0, 1e12]),
        ),
        order=0,
        dtypes=DOUBLE,
    ),
    Case("zeta_empty", "Zeta", tf.math.zeta, (normal(0, 3), normal(0, 3)), order=0),
    Case("igamma", ("Igamma", "IgammaGradA"), nary(raw.Igamma), (uniform(0.1, 9, 5, 4), uniform(0.1, 12, 5, 4))),
    Case(
        "igamma_large",
        ("Igamma", "IgammaGradA"),
        nary(raw.Igamma),
        (uniform(90, 140, 5, 4), uniform(90, 140, 5, 4)),
        tolerance=LOOSE,
        reason=SINGLE,
    ),
    Case("igamma_row", ("Igamma", "IgammaGradA"), nary(raw.Igamma), (uniform(0.1, 9, 4), uniform(0.1, 12, 5, 1))),
    Case("igamma_empty", ("Igamma", "IgammaGradA"), nary(raw.Igamma), (normal(0, 4), normal(0, 4))),
    Case(
        "igamma_second",
        "Igamma",
        lambda x: raw.Igamma(a=tf.fill(tf.shape(x), tf.constant(2.5, x.dtype)), x=x),
        (uniform(0.1, 12, 5, 4),),
        order=2,
    ),
    Case(
        "igamma_edge",
        ("Igamma", "Igammac"),
        lambda a, x: (raw.Igamma(a=a, x=x), raw.Igammac(a=a, x=x)),
        (fixed([1.0, 1.0, 0.0, -1.0, 1.0, 1.0, 3.0]), fixed([0.0, -1.0, 1.0, 1.0, np.nan, 800.0, 1e4])),
        order=0,
    ),
    Case("igammac", ("Igammac", "IgammaGradA"), nary(raw.Igammac), (uniform(0.1, 9, 5, 4), uniform(0.1, 40, 5, 4))),
    Case(
        "random_gamma_grad",
        "RandomGammaGrad",
        lambda a, x: raw.RandomGammaGrad(alpha=a, sample=x),
        (uniform(0.1, 9, 5, 4), uniform(0.1, 12, 5, 4)),
        order=0,
    ),
    Case(
        "betainc",
        "Betainc",
        nary(raw.Betainc),
        (uniform(0.2, 9, 5, 4), uniform(0.2, 9, 5, 4), uniform(0.01, 0.99, 5, 4)),
        order=0,
    ),
    Case(
        "betainc_gradient",
        "Betainc",
        lambda x: tf.math.betainc(tf.constant(2.5, x.dtype), tf.constant(0.7, x.dtype), x),
        (uniform(0.05, 0.95, 20),),
        order=2,
    ),
    Case(
        "betainc_large",
        "Betainc",
        nary(raw.Betainc),
        (uniform(20, 60, 5, 4), uniform(20, 60, 5, 4), uniform(0.3, 0.7, 5, 4)),
        order=0,
        tolerance=LOOSE,
        reason=SINGLE,
    ),
    Case(
        "betainc_edge",
        "Betainc",
        nary(raw.Betainc),
        (
            fixed([1.0, 1.0, 0.0, 1.0, 2.0, 2.0]),
            fixed([1.0, 2.0, 1.0, -1.0, 2.0, 2.0]),
            fixed([0.0, 1.0, 0.5, 0.5, 1.5, -0.5]),
        ),
        order=0,
    ),
    *[
        one(f"bessel_{name}", f"Bessel{name.capitalize()}", getattr(special, f"bessel_{name}"), low, 20)
        for name, low in (
            ("i0e", -20),
            ("i1e", -20),
            ("k0", 0.1),
            ("k1", 0.1),
            ("k0e", 0.1),
            ("k1e", 0.1),
            ("j0", -20),
            ("j1", -20),
            ("y0", 0.1),
            ("y1", 0.1),
        )
    ],
    *[
        one(f"bessel_{name}", f"Bessel{name.capitalize()}", getattr(special, f"bessel_{name}"), -10, 10)
        for name in ("i0", "i1")
    ],
    Case(
        "bessel_edge",
        ("BesselI0e", "BesselI1e", "BesselK0", "BesselK1", "BesselJ0", "BesselJ1", "BesselY0", "BesselY1"),
        lambda x: [
            getattr(special, f"bessel_{name}")(x) for name in ("i0e", "i1e", "k0", "k1", "j0", "j1", "y0", "y1")
        ],
        (fixed([0.0, -1.0, 2.0, 5.0, 8.0]),),
        order=0,
        dtypes=DOUBLE,
    ),
    one("dawsn", "Dawsn", special.dawsn, -9, 9),
    one("dawsn_small", "Dawsn", special.dawsn, -1e-5, 1e-5),
    one("expint", "Expint", special.expint, 0.1, 20),
    one("expint_large", "Expint", special.expint, 20, 80, smooth=False),
    Case("expint_edge", "Expint", special.expint, (fixed([0.0, -1.0, 2.0, 4.0, 64.0]),), order=0),
    one("fresnel_cos", "FresnelCos", special.fresnel_cos, -4, 4),
    one("fresnel_sin", "FresnelSin", special.fresnel_sin, -4, 4),
    Case(
        "fresnel_edge",
        ("FresnelCos", "FresnelSin"),
        lambda x: (special.fresnel_cos(x), special.fresnel_sin(x)),
        (fixed([0.0, 1e5, -1e5, 1.6, -1.6]),),
        order=0,
    ),
    one("spence", "Spence", special.spence, 0.05, 9),
    Case("spence_edge", "Spence", special.spence, (fixed([0.0, 1.0, -1.0, 0.5, 1.5, 2.0]),), order=0),
]
