"""A bundle as a grey box of Pyomo, for IPOPT through cyipopt. Needs ``pip install "pullback[pyomo]"``.

The outputs of the model are outputs of the grey box; the solver gets their Jacobian and, if the bundle has second
derivatives, the Hessian of the Lagrangian.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError, NotExportedError
from pullback.flat.view import Flat

try:
    from pyomo.contrib.pynumero.interfaces.external_grey_box import ExternalGreyBoxModel
    from scipy.sparse import coo_matrix
except ImportError as error:
    raise MissingDependencyError('Pyomo and SciPy are needed: pip install "pullback[pyomo]"') from error


class BundleGreyBox(ExternalGreyBoxModel):  # type: ignore[misc]  # Pyomo has no types
    """``of`` as a function of the components of ``wrt``, one sample at a time.

    Args:
        bundle: holds a Jacobian, a gradient, vjps or jvps of the output; with a Hessian of any kind (a
            ``weighted_hessian`` costs least) the solver gets second derivatives too.
        of: the output.
        wrt: the input, or several in order.
        given: the other inputs, fixed.

    Components are named ``x[0]``, ``x[1]``, ... by their input, and ``y[0]``, ... by the output.
    """

    def __init__(self, bundle: Bundle, of: str, wrt: Any, given: Any = None) -> None:
        self._flat: Flat = bundle.flat(of=of, wrt=wrt, given=given)
        places = self._flat.slices.items()
        self._names = [f"{name}[{index}]" for name, at in places for index in range(at.stop - at.start)]
        self._point: Array = np.zeros(self._flat.n)
        self._multipliers: Array | None = None
        m = self._flat.m or np.size(self._flat.value(self._point))
        self._outputs = [f"{of}[{index}]" for index in range(m)]
        self._multipliers = np.zeros(m)
        if _has_hessian(self._flat, self._point, m):
            self.evaluate_hessian_outputs = self._evaluate_hessian_outputs

    def input_names(self) -> list[str]:
        """One for each component of the inputs."""
        return self._names

    def output_names(self) -> list[str]:
        """One for each component of the output."""
        return self._outputs

    def set_input_values(self, input_values: Any) -> None:
        """Sets the point of the following evaluations."""
        self._point = np.array(input_values, np.float64)

    def set_output_constraint_multipliers(self, output_con_multiplier_values: Any) -> None:
        """The weights of the outputs in the Lagrangian."""
        self._multipliers = np.array(output_con_multiplier_values, np.float64)

    def evaluate_outputs(self) -> Array:
        """``(m,)``."""
        return np.atleast_1d(self._flat.value(self._point))

    def evaluate_jacobian_outputs(self) -> Any:
        """``(m, n)``, every entry stored: the pattern must not change between points."""
        return _dense(self._flat.jacobian(self._point))

    def _evaluate_hessian_outputs(self) -> Any:
        """``(n, n)``: the lower triangle of the outputs' Hessians, weighted by the multipliers."""
        hessian = self._flat.hess(self._point, self._multipliers)
        row, column = np.tril_indices(self._flat.n)
        return coo_matrix((hessian[row, column], (row, column)), shape=hessian.shape)


def _dense(matrix: Array) -> Any:
    row, column = (index.ravel() for index in np.indices(matrix.shape))
    return coo_matrix((matrix.ravel(), (row, column)), shape=matrix.shape)


def _has_hessian(flat: Flat, point: Array, m: int) -> bool:
    try:
        flat.hess(point, np.ones(m))
    except NotExportedError:
        return False
    return True
