"""Resizing with drawn sizes, methods and conventions."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.lowering.properties import DTYPES, EXAMPLES, Example, agrees_with_tensorflow, inputs

LENGTHS = st.integers(1, 9)
CONVENTIONS = st.sampled_from([{}, {"align_corners": True}, {"half_pixel_centers": True}])
KERNELS = ("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic", "mitchellcubic")
METHODS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


@st.composite
def resized(draw: st.DrawFn) -> Example:
    """The raw ops, each in each of its conventions."""
    kind = draw(st.sampled_from(["Bilinear", "Bicubic", "NearestNeighbor", "Area"]))
    convention = draw(CONVENTIONS) if kind != "Area" else {"align_corners": draw(st.booleans())}
    image = draw(inputs((draw(st.integers(0, 2)), draw(LENGTHS), draw(LENGTHS), draw(st.integers(1, 2)))))
    size = [draw(LENGTHS), draw(LENGTHS)]
    # The other kernels compute in float32 whatever the image is.
    dtype = draw(DTYPES) if kind == "NearestNeighbor" else "float32"
    text = f"Resize{kind} to {size} {convention}"
    return Example(
        text,
        lambda x: getattr(tf.raw_ops, f"Resize{kind}")(images=x, size=size, **convention),
        (image,),
        dtype,
        gradient=kind != "Area",
    )


@st.composite
def resized_by_method(draw: st.DrawFn) -> Example:
    """``tf.image.resize``, with and without a filter against aliasing."""
    method, antialias = draw(st.sampled_from(METHODS)), draw(st.booleans())
    shape = (draw(st.integers(1, 2)), draw(LENGTHS), draw(LENGTHS), draw(st.integers(1, 2)))
    size = [draw(LENGTHS), draw(LENGTHS)]
    # A free size that turns out equal makes Keras and TensorFlow skip the op only where the size is fixed.
    return Example(
        f"resize {method} to {size} antialias {antialias}",
        lambda x: tf.image.resize(x, size, method, antialias=antialias),
        (draw(inputs(shape)),),
        gradient=method != "area",
    )


@st.composite
def scaled_and_translated(draw: st.DrawFn) -> Example:
    kernel, antialias = draw(st.sampled_from(KERNELS)), draw(st.booleans())
    size = [draw(LENGTHS), draw(LENGTHS)]
    number = st.integers(-16, 16).map(lambda n: n / 8)
    scale = [2.0 ** draw(st.integers(-2, 2)) * (1 + draw(st.integers(0, 3)) / 4) for _ in range(2)]
    shift = [draw(number), draw(number)]
    shape = (draw(st.integers(1, 2)), draw(LENGTHS), draw(LENGTHS), draw(st.integers(1, 2)))
    return Example(
        f"ScaleAndTranslate to {size} by {scale} and {shift} {kernel} antialias {antialias}",
        lambda x: tf.raw_ops.ScaleAndTranslate(
            images=x,
            size=size,
            scale=np.float32(scale),
            translation=np.float32(shift),
            kernel_type=kernel,
            antialias=antialias,
        ),
        (draw(inputs(shape)),),
    )


@EXAMPLES
def test_resize(examples: int) -> None:
    agrees_with_tensorflow(resized() | resized_by_method() | scaled_and_translated(), examples)
