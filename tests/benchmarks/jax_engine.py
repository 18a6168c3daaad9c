"""The same Keras model on the JAX backend: compiled in place, or exported, written as bytes, read and compiled."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.functional import derivative
from tests.benchmarks.work import Work

Call = Callable[..., Any]


def open_jax(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """``jit`` of the derivative, weights as constants of the compiled function."""
    import jax

    derive = jax.jit(_derivative(work, folder))
    return lambda *arrays: [np.asarray(item) for item in derive(*arrays)]


def open_exported(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """``jit`` of what ``jax.export`` wrote and read again; an artifact for each batch size."""
    import jax

    derive = jax.jit(_derivative(work, folder))

    @functools.lru_cache(1)
    def of_batch(*shapes: tuple[int, ...]) -> Call:
        arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
        content = jax.export.export(derive)(*arguments).serialize()
        call: Call = jax.jit(jax.export.deserialize(content).call)
        return call

    def run(*arrays: Any) -> list[Any]:
        return [np.asarray(item) for item in of_batch(*(array.shape for array in arrays))(*arrays)]

    return run


def _derivative(work: Work, folder: pathlib.Path) -> Call:
    import jax
    import keras

    model = keras.saving.load_model(folder / "model.keras", compile=False)
    trained, fixed = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def of_rows(x: Any) -> Any:
        return model.stateless_call(trained, fixed, x, training=False)[0]

    return derivative(jax, getattr(jax, work.jax), of_rows, work)
