"""The derivative kinds: one class each, and the table of them."""

from pullback_export.derivatives.kinds.chain import Derivative
from pullback_export.derivatives.kinds.first_order import Gradient, Jacobian
from pullback_export.derivatives.kinds.products import JVP, VJP
from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.kinds.second_order import Hessian, Laplacian
from pullback_export.derivatives.kinds.second_products import HVP, WeightedHessian

# By the word that names the kind in texts and in the manifest, in the order of the graphs that hold them.
KINDS: dict[str, type[Request]] = {
    kind.kind: kind for kind in (Gradient, Jacobian, Hessian, Laplacian, Derivative, VJP, JVP, HVP, WeightedHessian)
}
# The graphs beside ``evaluate``, each with products of one kind.
PRODUCTS = tuple(dict.fromkeys(kind.function for kind in KINDS.values() if kind.function != "evaluate"))

__all__ = [
    "HVP",
    "JVP",
    "KINDS",
    "PRODUCTS",
    "VJP",
    "Derivative",
    "Gradient",
    "Hessian",
    "Jacobian",
    "Laplacian",
    "Request",
    "WeightedHessian",
]
