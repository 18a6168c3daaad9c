"""The view of a bundle that optimisers and solvers want: one vector in, plain float64 arrays out."""

from __future__ import annotations

from pullback.flat.view import Flat

__all__ = ["Flat"]
