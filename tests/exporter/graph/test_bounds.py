"""What is known of the size of values."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pullback_export.graph.bounds import bound
from pullback_export.graph.graph import Graph

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_a_product_with_something_of_any_size(factor: float) -> None:
    """Zero bounds it, and NumPy, for which zero times infinity is no number, is not asked."""
    graph = Graph()
    x = graph.input("x", FLOAT, (2,))
    constant = graph.constant(np.full(2, factor, FLOAT))
    product = graph.emit("Mul", [x, constant])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bound(product) == (0.0 if factor == 0 else np.inf)
        assert bound(graph.emit("Add", [product, constant])) == (0.0 if factor == 0 else np.inf)
