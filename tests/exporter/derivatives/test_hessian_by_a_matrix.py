"""Second derivatives with respect to a matrix that acts on a free number of points."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export


def moved(points: Any, M: Any) -> dict[str, Any]:
    return {"y": tf.reduce_sum(tf.sin(points @ M))}


def exact_hessian(points: Any, matrix: Any) -> Any:
    """``d2y / dM[i, j] dM[k, l] = -sum_p sin((p @ M)[j]) p[i] p[k]`` where ``j == l``, else 0."""
    blocks = -np.einsum("pj,pi,pk->jik", np.sin(points @ matrix), points, points)
    return np.einsum("jik,jl->ijkl", blocks, np.eye(matrix.shape[1]))


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_hessian_for_any_number_of_points(tmp_path: pathlib.Path, columns: int) -> None:
    inputs = [tf.TensorSpec([None, 3], tf.float64, name="points"), tf.TensorSpec([3, columns], tf.float64, name="M")]
    bundle = export(moved, tmp_path / "moved.pullback", ["hessian(y, M)"], batched=False, inputs=inputs)
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 3, 9, 11):
        points, matrix = rng.normal(size=(count, 3)), rng.normal(size=(3, columns))
        found = bundle(points=points, M=matrix).d2y_dM2
        np.testing.assert_allclose(found, exact_hessian(points, matrix), atol=1e-12)
