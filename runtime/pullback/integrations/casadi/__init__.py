"""A bundle as a CasADi function with exact first and second derivatives. Needs ``pip install "pullback[casadi]"``.

``f = function(bundle)``: CasADi's own ONNX Runtime backend runs it without Python in the loop if the installed wheel
has one (from 3.8); otherwise a callback does. ``pullback casadi BUNDLE DIR`` writes files for other languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError, NotExportedError
from pullback.flat.layout import Shapes
from pullback.integrations.casadi import callback, native
from pullback.integrations.whole_derivatives import inputs_of, values_of

BACKENDS = ("auto", "native", "callback")

__all__ = ["function"]


def function(
    bundle: Bundle,
    name: str = "f",
    of: Sequence[str] | None = None,
    wrt: Sequence[str] | None = None,
    given: Mapping[str, Any] | None = None,
    shape: Shapes | None = None,
    backend: str = "auto",
) -> Any:
    """A ``casadi.Function`` of the inputs ``wrt`` with the outputs ``of``, under their names, one sample at a time.

    A sample ``(n,)`` is a column, ``(r, c)`` a matrix, one of higher rank a column in C order; a number is 1 x 1.
    Second derivatives use the Hessians, weighted Hessians or products of the bundle. Numbers are computed in the dtype
    of the bundle: IPOPT's default tolerance of 1e-8 needs float64.

    Args:
        bundle: a loaded bundle.
        name: of the function.
        of: outputs, or components and sums of them (``"y[2]"``, by callback); None: every output.
        wrt: inputs; None: every float input that is not given.
        given: the other inputs, fixed, for one sample.
        shape: for inputs with free axes (callback only), see :meth:`pullback.Bundle.flat`.
        backend: ``"native"``: CasADi (from version 3.8) runs the graphs itself; the function can be saved and loaded
            in C++, Octave and MATLAB. ``"callback"``: Python runs them. ``"auto"``: native if the bundle and the wheel
            allow it; the numbers are the same.

    Raises:
        InputError, NotExportedError: as in ``Bundle.flat``. If CasADi needs a second derivative that is missing, the
            callback raises and says what to export.
        MissingDependencyError: ``"native"`` was requested, but CasADi has no ONNX Runtime backend.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}; got {backend!r}")
    if isinstance(of, str) or isinstance(wrt, str):
        raise InputError("of and wrt are lists of names: of=['y'], wrt=['x']")
    bundle.spec.refuse_points("CasADi")
    given = dict(given or {})
    tensors = [tensor for tensor in inputs_of(bundle) if tensor.name not in given]
    inputs = tuple(wrt) if wrt is not None else tuple(t.name for t in tensors if t.dtype.startswith("float"))
    outputs = tuple(of) if of is not None else tuple(tensor.name for tensor in values_of(bundle))
    for text in outputs:
        bundle.flat(of=text, wrt=inputs, given=given, shape=shape)  # says what is wrong with the arguments
    if backend != "callback":
        try:
            return native.function(bundle, name, outputs, inputs, given)
        except (InputError, NotExportedError, MissingDependencyError):
            if backend == "native":
                raise
    return callback.function(bundle, name, outputs, inputs, given, shape)
