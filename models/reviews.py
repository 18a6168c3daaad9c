"""Made-up film reviews, judged by a small convolutional text classifier; why a word counts, by integrated gradients.

``tokens (B, 12)`` of int32 ``-> score (B, 1)``. Tokens have no derivative; their embeddings do. Requests that suit the
whole: ``gradient(score, embedding)``, which makes the embeddings ``(B, 12, 16)`` an output as well. Requests that suit
:func:`head`, the part behind the embeddings: ``gradient(score, embeddings)``, for :func:`integrated_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

GOOD = ("great", "moving", "funny", "brilliant", "warm")
BAD = ("dull", "awful", "tired", "clumsy", "cold")
FILLER = ("the", "a", "film", "plot", "cast", "was", "and", "ending", "its", "with")
WORDS = ("", "not", *GOOD, *BAD, *FILLER)
LENGTH = 12
WIDTH = 16

Array = np.ndarray[Any, Any]


def build(dtype: str = "float32", seed: int = 0) -> keras.Model:
    """The untrained classifier."""
    keras.utils.set_random_seed(seed)
    tokens = keras.Input((LENGTH,), name="tokens", dtype="int32")
    x = keras.layers.Embedding(len(WORDS), WIDTH, dtype=dtype, name="embedding")(tokens)
    x = keras.layers.Conv1D(16, 3, padding="same", activation="gelu", dtype=dtype, name="phrases")(x)
    x = keras.layers.GlobalAveragePooling1D(dtype=dtype, name="average")(x)
    return keras.Model(tokens, keras.layers.Dense(1, dtype=dtype, name="score")(x), name="reviews")


def train(seed: int = 0, *, dtype: str = "float32", epochs: int = 8) -> keras.Model:
    """The classifier fitted to reviews whose verdict is known: good words minus bad ones, "not" turns the next one."""
    model = build(dtype, seed)
    tokens = samples(np.random.default_rng(seed), 4000)["tokens"]
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse", steps_per_execution=20)
    model.fit(tokens, verdict(tokens), batch_size=32, epochs=epochs, verbose=0)
    return model


def head(model: keras.Model, dtype: str = "float32") -> keras.Model:
    """The part behind the embeddings, ``embeddings (B, 12, 16) -> score (B, 1)``, with the same layers."""
    embeddings = keras.Input((LENGTH, WIDTH), name="embeddings", dtype=dtype)
    x = embeddings
    for name in ("phrases", "average", "score"):
        x = model.get_layer(name)(x)
    return keras.Model(embeddings, x, name="reviews_head")


def samples(rng: np.random.Generator, rows: int = 8) -> dict[str, Array]:
    """Random reviews: ``tokens (rows, 12)``."""
    return {"tokens": rng.integers(1, len(WORDS), (rows, LENGTH)).astype(np.int32)}


def verdict(tokens: Array) -> Array:
    """Good words count +1, bad ones -1, the other way round after "not"; shape ``(B, 1)``."""
    value = np.array([(word in GOOD) - (word in BAD) for word in WORDS], np.float32)[tokens]
    after_not = np.pad(tokens[:, :-1] == WORDS.index("not"), [(0, 0), (1, 0)])
    return np.where(after_not, -value, value).sum(1, keepdims=True)


def integrated_gradients(
    gradient: Callable[[Array], Array], embeddings: Array, baseline: Array, steps: int = 32
) -> Array:
    """What each word of each review adds to its score over the baseline's, ``(B, 12)``.

    Gauss-Legendre quadrature of the gradient along the straight line, all points in one call. The rows sum up to
    ``score(embeddings) - score(baseline)``.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    path = baseline + ((nodes + 1) / 2)[:, None, None, None] * (embeddings - baseline)
    along = gradient(path.reshape(-1, *embeddings.shape[1:]).astype(embeddings.dtype)).reshape(path.shape)
    mean = np.tensordot(weights / 2, along, 1)
    return np.sum(mean * (embeddings - baseline), -1)
