"""Atoms that attract and repel: Lennard-Jones pairs plus a small neural pair potential, a ``tf.Module``.

``energy`` of ``positions (N, 3)``, N free; samples interact, so export with ``batched=False``. Requests that suit it:
``forces(energy, positions)`` of shape ``(N, 3)``, ``hessian(energy, positions)`` of shape ``(N, 3, N, 3)`` and, for
many atoms, ``hvp(energy, positions)``. The closed form is exact: the neural part is a function of the distance alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

DEPTH, DIAMETER = 1.0, 1.0
HIDDEN = 8

Array = np.ndarray[Any, Any]


class Atoms(tf.Module):
    """``sum over pairs of 4 (r**-12 - r**-6) + sum_k strength_k tanh(slope_k r + shift_k)``."""

    def __init__(self, dtype: str, seed: int) -> None:
        super().__init__("atoms")
        rng = np.random.default_rng(seed)
        self.slope = tf.Variable(rng.normal(size=HIDDEN), dtype=dtype, name="slope")
        self.shift = tf.Variable(rng.normal(size=HIDDEN), dtype=dtype, name="shift")
        self.strength = tf.Variable(0.3 * rng.normal(size=HIDDEN), dtype=dtype, name="strength")

    @tf.function
    def __call__(self, positions: tf.Tensor) -> dict[str, tf.Tensor]:
        between = positions[:, None] - positions[None]
        same = tf.eye(tf.shape(positions)[0], dtype=positions.dtype)
        squared = tf.reduce_sum(between**2, -1) + same
        sixth = DIAMETER**6 / squared**3
        hidden = tf.tanh(tf.sqrt(squared)[..., None] * self.slope + self.shift)
        pair = 4 * DEPTH * (sixth**2 - sixth) + tf.linalg.matvec(hidden, self.strength)
        return {"energy": tf.reduce_sum((1 - same) * pair) / 2}


def build(dtype: str = "float64", seed: int = 0) -> Atoms:
    """The potential; its neural part has random weights."""
    return Atoms(dtype, seed)


def inputs(dtype: str = "float64") -> list[tf.TensorSpec]:
    """What ``export`` needs to know of a ``tf.Module``: any number of atoms."""
    return [tf.TensorSpec([None, 3], dtype, "positions")]


def samples(rng: np.random.Generator, atoms: int = 6) -> dict[str, Array]:
    """A shaken piece of a cubic lattice: ``positions (atoms, 3)``."""
    side = int(np.ceil(atoms ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:atoms]
    return {"positions": 1.15 * lattice + 0.05 * rng.normal(size=(atoms, 3))}


def exact(model: Atoms, positions: Array) -> dict[str, Array]:
    """Energy, forces ``(N, 3)`` and Hessian ``(N, 3, N, 3)``, written out by hand."""
    slope, shift, strength = (
        variable.numpy().astype(np.float64) for variable in (model.slope, model.shift, model.strength)
    )
    count = len(positions)
    between = positions[:, None] - positions[None]
    r = np.linalg.norm(between, axis=-1) + np.eye(count)
    off = 1 - np.eye(count)
    tanh = np.tanh(r[..., None] * slope + shift)
    bell = 1 - tanh**2
    pair = 4 * (r**-12 - r**-6) + tanh @ strength
    first = off * (4 * (-12 * r**-13 + 6 * r**-7) + bell @ (strength * slope))
    second = off * (4 * (156 * r**-14 - 42 * r**-8) + (-2 * tanh * bell) @ (strength * slope**2))
    direction = between / r[..., None]
    along = direction[..., :, None] * direction[..., None, :]
    block = second[..., None, None] * along + (first / r)[..., None, None] * (np.eye(3) - along)
    hessian = -block.transpose(0, 2, 1, 3)
    atoms = np.arange(count)
    hessian[atoms, :, atoms, :] += block.sum(1)
    return {
        "energy": np.sum(off * pair) / 2,
        "forces": -(first[..., None] * direction).sum(1),
        "d2energy_dpositions2": hessian,
    }
