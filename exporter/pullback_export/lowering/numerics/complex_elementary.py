"""Elementary functions of complex values, in real arithmetic; branch cuts as in C."""

from __future__ import annotations

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.numerics import elementary


def absolute(op: OpContext, z: ComplexValue) -> Value:
    """``|z|``."""
    return elementary.hypot(op, z.real, z.imag)


def angle(op: OpContext, z: ComplexValue) -> Value:
    """The argument of ``z`` in (-pi, pi]."""
    return elementary.atan2(op, z.imag, z.real)


def is_zero(z: ComplexValue) -> Value:
    """Whether both parts are 0."""
    return z.real.equals(0) & z.imag.equals(0)


def where(op: OpContext, condition: Value, x: ComplexValue, y: ComplexValue) -> ComplexValue:
    """``x`` where ``condition`` holds, else ``y``."""
    return ComplexValue(op.where(condition, x.real, y.real), op.where(condition, x.imag, y.imag))


def sign(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``z / |z|``; 0 at 0."""
    size = absolute(op, z)
    return z / (size + op.cast(size.equals(0), size.dtype))


def exp(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``exp(x) (cos y + i sin y)``."""
    size = op.Exp(z.real)
    return ComplexValue(size * op.Cos(z.imag), size * op.Sin(z.imag))


def expm1(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``expm1(x) cos y - 2 sin(y/2)**2 + i exp(x) sin y``."""
    half = op.Sin(z.imag * 0.5)
    real = elementary.expm1(op, z.real) * op.Cos(z.imag) - 2 * half * half
    return ComplexValue(real, op.Exp(z.real) * op.Sin(z.imag))


def log(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``log|z| + i angle(z)``."""
    return ComplexValue(op.Log(absolute(op, z)), angle(op, z))


def log1p(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``log1p(2x + x**2 + y**2) / 2 + i angle(1 + z)``."""
    size = z.real * (2 + z.real) + z.imag * z.imag
    return ComplexValue(0.5 * elementary.log1p(op, size), elementary.atan2(op, z.imag, 1 + z.real))


def sqrt(op: OpContext, z: ComplexValue) -> ComplexValue:
    """The root with a real part of at least 0, from ``r = sqrt((|z| + |x|) / 2)`` and ``|y| / 2r``."""
    larger = op.Sqrt((absolute(op, z) + op.Abs(z.real)) * 0.5)
    smaller = op.Abs(z.imag) * 0.5 / (larger + op.cast(larger.equals(0), larger.dtype))
    right = z.real >= 0
    imag = op.Where(right, smaller, larger)
    return ComplexValue(op.Where(right, larger, smaller), op.Where(elementary.sign_bit(z.imag), -imag, imag))


def power(op: OpContext, z: ComplexValue, w: ComplexValue) -> ComplexValue:
    """``exp(w log z)``; ``0**w`` is 0, and 1 for ``w = 0``."""
    result = exp(op, w * log(op, z))
    return ComplexValue(
        op.where(is_zero(z), op.cast(is_zero(w), z.real.dtype), result.real),
        op.where(is_zero(z), op.const(0, z.real.dtype), result.imag),
    )


def sin(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``sin x cosh y + i cos x sinh y``."""
    x, y = z.real, z.imag
    return ComplexValue(op.Sin(x) * elementary.cosh(op, y), op.Cos(x) * elementary.sinh(op, y))


def cos(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``cos x cosh y - i sin x sinh y``."""
    x, y = z.real, z.imag
    return ComplexValue(op.Cos(x) * elementary.cosh(op, y), -(op.Sin(x) * elementary.sinh(op, y)))


def sinh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``sinh x cos y + i cosh x sin y``."""
    x, y = z.real, z.imag
    return ComplexValue(elementary.sinh(op, x) * op.Cos(y), elementary.cosh(op, x) * op.Sin(y))


def cosh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``cosh x cos y + i sinh x sin y``."""
    x, y = z.real, z.imag
    return ComplexValue(elementary.cosh(op, x) * op.Cos(y), elementary.sinh(op, x) * op.Sin(y))


def tanh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``(s (1 + t**2) + i t / cosh(x)**2) / (1 + s**2 t**2)``, ``s = tanh x``, ``t = tan y``."""
    s, t, c = op.Tanh(z.real), elementary.tan(op, z.imag), elementary.cosh(op, z.real)
    size = 1 + s * s * t * t
    return ComplexValue(s * (1 + t * t) / size, t / c / c / size)


def tan(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``-i tanh(iz)``: a quotient of sine and cosine would be one of infinities where ``cosh y`` overflows."""
    turned = tanh(op, ComplexValue(-z.imag, z.real))
    return ComplexValue(turned.imag, -turned.real)


def sigmoid(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``1 / (1 + exp(-z))`` with ``a = exp(-|x|)``, which does not overflow, in numerator and denominator.

    ``(1 + a cos y + i a sin y) / d`` for ``x >= 0``, else ``(a**2 + a cos y + i a sin y) / d``, with
    ``d = 1 + 2 a cos y + a**2``.
    """
    a = op.Exp(-op.Abs(z.real))
    across, up = a * op.Cos(z.imag), a * op.Sin(z.imag)
    size = 1 + 2 * across + a * a
    return ComplexValue((op.Where(z.real >= 0, op.const(1, a.dtype), a * a) + across) / size, up / size)


def asin(op: OpContext, z: ComplexValue) -> ComplexValue:
    """Kahan: ``atan(x / Re(a b)) + i asinh(Im(conj(a) b))``, ``a = sqrt(1 - z)``, ``b = sqrt(1 + z)``."""
    a, b = sqrt(op, 1 - z), sqrt(op, 1 + z)
    real = elementary.atan2(op, z.real, (a * b).real)
    return ComplexValue(real, elementary.asinh(op, (a.conj() * b).imag))


def acos(op: OpContext, z: ComplexValue) -> ComplexValue:
    """Kahan: ``2 atan(Re a / Re b) + i asinh(Im(conj(b) a))``, ``a = sqrt(1 - z)``, ``b = sqrt(1 + z)``."""
    a, b = sqrt(op, 1 - z), sqrt(op, 1 + z)
    return ComplexValue(2 * elementary.atan2(op, a.real, b.real), elementary.asinh(op, (b.conj() * a).imag))


def acosh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """Kahan: ``asinh(Re(conj(a) b)) + 2i atan(Im a / Re b)``, ``a = sqrt(z - 1)``, ``b = sqrt(z + 1)``."""
    a, b = sqrt(op, z - 1), sqrt(op, z + 1)
    return ComplexValue(elementary.asinh(op, (a.conj() * b).real), 2 * elementary.atan2(op, a.imag, b.real))


def atanh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``log1p(4x / ((1-x)**2 + y**2)) / 4 + i angle((1-x)(1+x) - y**2 + 2iy) / 2``."""
    x, y = z.real, z.imag
    size = (1 - x) * (1 - x) + y * y
    real = 0.25 * elementary.log1p(op, 4 * x / size)
    return ComplexValue(real, 0.5 * elementary.atan2(op, 2 * y, (1 - x) * (1 + x) - y * y))


def asinh(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``asin(iz) / i``."""
    return _turned(asin(op, ComplexValue(-z.imag, z.real)))


def atan(op: OpContext, z: ComplexValue) -> ComplexValue:
    """``atanh(iz) / i``."""
    return _turned(atanh(op, ComplexValue(-z.imag, z.real)))


def _turned(z: ComplexValue) -> ComplexValue:
    """``z / i``."""
    return ComplexValue(z.imag, -z.real)
