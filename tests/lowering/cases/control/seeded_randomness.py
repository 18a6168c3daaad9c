"""Random numbers from a constant seed are constants, which stand beside what is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, normal

SEED = [3, 5]
KEY, COUNTER = (7,), (11, 13)
PHILOX = 1
X = normal(4, 3)


def _v2(name: str, *rest: Any, dtype: Any = None) -> Callable[[Any], Any]:
    """An operator that takes key and counter, of the dtype of its factor or of ``dtype``."""

    def draw(x: Any) -> Any:
        options = {} if rest else {"dtype": dtype or x.dtype}
        return getattr(tf.raw_ops, name)(
            shape=[3],
            key=tf.constant(KEY, tf.uint64),
            counter=tf.constant(COUNTER, tf.uint64),
            alg=PHILOX,
            **({"minval": rest[0], "maxval": rest[1]} if rest else options),
        )

    return draw


def _v1(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(tf.raw_ops, name)(shape=[3], seed=SEED, **(options or {"dtype": x.dtype}))


def _parameters(x: Any) -> Any:
    numbers = [tf.constant(value, x.dtype) for value in ([0.0] * 3, [1.0] * 3, [-1.0] * 3, [2.0] * 3)]
    means, deviations, low, high = numbers
    return tf.raw_ops.StatelessParameterizedTruncatedNormal(
        shape=[3], seed=SEED, means=means, stddevs=deviations, minvals=low, maxvals=high
    )


def _gamma2(x: Any) -> Any:
    return tf.raw_ops.StatelessRandomGammaV2(shape=[3], seed=SEED, alpha=tf.constant([1.0, 2, 3], x.dtype))


def _shuffled(x: Any) -> Any:
    return tf.raw_ops.StatelessShuffle(
        value=tf.constant([1.0, 2, 3], x.dtype),
        key=tf.constant(KEY, tf.uint64),
        counter=tf.constant(COUNTER, tf.uint64),
        alg=PHILOX,
    )


def _box(x: Any) -> Any:
    boxes = tf.constant([[[0.1, 0.2, 0.8, 0.9]]])
    begin, _, _ = tf.image.stateless_sample_distorted_bounding_box([20, 30, 3], boxes, SEED)
    return begin


def _key(x: Any) -> Any:
    key, _ = tf.raw_ops.StatelessRandomGetKeyCounter(seed=SEED)
    return key % 100


def _key_and_algorithm(x: Any) -> Any:
    _, counter, algorithm = tf.raw_ops.StatelessRandomGetKeyCounterAlg(seed=SEED)
    return tf.cast(counter[:1] % 100, tf.int32) + algorithm


DRAWS: dict[str, Callable[[Any], Any]] = {
    "RandomIndexShuffle": lambda x: tf.raw_ops.RandomIndexShuffle(index=[0, 1, 2], seed=[1, 2, 3], max_index=9),
    "SobolSample": lambda x: tf.raw_ops.SobolSample(dim=3, num_results=2, skip=4, dtype=x.dtype)[0],
    "StatelessMultinomial": lambda x: tf.raw_ops.StatelessMultinomial(logits=[[0.1, 0.6]], num_samples=3, seed=SEED)[0],
    "StatelessParameterizedTruncatedNormal": _parameters,
    "StatelessRandomBinomial": lambda x: tf.random.stateless_binomial([3], SEED, 9.0, 0.4, x.dtype),
    "StatelessRandomGammaV2": _gamma2,
    "StatelessRandomGammaV3": lambda x: tf.random.stateless_gamma([3], SEED, [1.0, 2.0, 3.0], dtype=x.dtype),
    "StatelessRandomGetAlg": lambda x: tf.raw_ops.StatelessRandomGetAlg(),
    "StatelessRandomGetKeyCounter": _key,
    "StatelessRandomGetKeyCounterAlg": _key_and_algorithm,
    "StatelessRandomNormal": _v1("StatelessRandomNormal"),
    "StatelessRandomNormalV2": _v2("StatelessRandomNormalV2"),
    "StatelessRandomPoisson": lambda x: tf.random.stateless_poisson([3], SEED, 4.0, x.dtype),
    "StatelessRandomUniform": _v1("StatelessRandomUniform"),
    "StatelessRandomUniformFullInt": _v1("StatelessRandomUniformFullInt", dtype=tf.int32),
    "StatelessRandomUniformFullIntV2": _v2("StatelessRandomUniformFullIntV2", dtype=tf.int32),
    "StatelessRandomUniformInt": _v1("StatelessRandomUniformInt", minval=-5, maxval=50),
    "StatelessRandomUniformIntV2": _v2("StatelessRandomUniformIntV2", -5, 50),
    "StatelessRandomUniformV2": _v2("StatelessRandomUniformV2"),
    "StatelessSampleDistortedBoundingBox": _box,
    "StatelessShuffle": _shuffled,
    "StatelessTruncatedNormal": _v1("StatelessTruncatedNormal"),
    "StatelessTruncatedNormalV2": _v2("StatelessTruncatedNormalV2"),
}


def _row(name: str, draw: Callable[[Any], Any], *args: Arg) -> Case:
    return Case(f"seeded_{name}", name, lambda x: tf.sin(x) * tf.cast(draw(x), x.dtype), args, order=2)


CASES = [_row(name, draw, X) for name, draw in DRAWS.items()]
