"""Rows for convolutions, pooling, normalisation, attention and images of ``keras.ops``, and its control flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tests.lowering.case import Arg, Case, fixed, uniform

ROWS: dict[str, list[Case]] = {}
IMAGE = (2, 6, 5, 3)
SINGLE: dict[str, Any] = {
    "tolerance": {"float64": 1e-5},
    "reason": "TensorFlow computes the coordinates and the result in float32",
}
COLOURS = uniform(0.1, 0.9, 2, 4, 3, 3)


def kernel(*shape: int) -> Arg:
    return Arg(shape, free=())


def row(name: str, function: Callable[..., Any], *inputs: Arg | tuple[int, ...], **case: Any) -> None:
    """A row for ``keras.ops.<name>``, which ``function`` calls."""
    rows = ROWS.setdefault(name, [])
    title = f"ops_{name.replace('.', '_')}_{len(rows)}"
    rows.append(Case(title, (), function, inputs, **{"order": 1, **case}))


row("conv", lambda x, k: ops.conv(x, k, 1, "same") ** 2, IMAGE, kernel(3, 3, 3, 2), order=2)
row("conv", lambda x, k: ops.conv(x, k, 2, "valid"), (2, 9, 3), kernel(3, 3, 2))
row("conv_transpose", lambda x, k: ops.conv_transpose(x, k, 2, "same"), (2, 3, 4, 2), kernel(3, 3, 5, 2))
row("depthwise_conv", lambda x, k: ops.depthwise_conv(x, k, 1, "same"), IMAGE, kernel(3, 3, 3, 2))
row(
    "separable_conv",
    lambda x, k, p: ops.separable_conv(x, k, p, 1, "same"),
    IMAGE,
    kernel(3, 3, 3, 2),
    kernel(1, 1, 6, 4),
)
row("average_pool", lambda x: ops.average_pool(x, 2, 2, "same") ** 2, IMAGE, order=2)
row("max_pool", lambda x: ops.max_pool(x, 3, 2, "same") ** 2, IMAGE)
row("adaptive_average_pool", lambda x: ops.adaptive_average_pool(x, (3, 2)) ** 2, IMAGE)
row("adaptive_max_pool", lambda x: ops.adaptive_max_pool(x, (3, 2)) ** 2, IMAGE)
row("unfold", lambda x: ops.unfold(x, 2, stride=2) ** 2, kernel(2, 3, 4, 6))
row("fold", lambda x: ops.fold(x, (4, 6), 2, stride=2) ** 2, (2, 12, 6))
row(
    "batch_normalization",
    lambda x, m, v: ops.batch_normalization(x, m, v, -1) ** 2,
    IMAGE,
    kernel(3),
    Arg((3,), lambda rng, size: rng.uniform(0.5, 2, size), free=()),
    order=2,
)
row("layer_normalization", lambda x: ops.layer_normalization(x, axis=-1) ** 2, (3, 5), order=2)
row("rms_normalization", lambda x: ops.rms_normalization(x, axis=-1) ** 2, (3, 5), order=2)
row(
    "dot_product_attention",
    lambda q, k, v: ops.dot_product_attention(q, k, v, is_causal=True),
    (2, 4, 2, 3),
    (2, 4, 2, 3),
    (2, 4, 2, 3),
    order=2,
)
row(
    "dot_product_attention",
    lambda q, m: ops.dot_product_attention(q, q, q, mask=m),
    (2, 3, 2, 4),
    fixed(np.tri(3, dtype=bool)[None, None].repeat(2, 0), "bool"),
)

row("image.resize", lambda x: ops.image.resize(x, (4, 7)) ** 2, IMAGE, order=2, smooth=False, **SINGLE)
row(
    "image.resize", lambda x: ops.image.resize(x, (4, 7), "bicubic", antialias=True) ** 2, IMAGE, dtypes=("float32",)
)  # TensorFlow: no float64 gradient
row(
    "image.scale_and_translate",
    lambda x: ops.image.scale_and_translate(
        x, (4, 3, 3), np.array([1.5, 0.7], "float32"), np.array([0.3, -0.2], "float32"), (0, 1), "linear"
    ),
    kernel(6, 5, 3),
)
row(
    "image.affine_transform",
    lambda x: ops.image.affine_transform(
        x, np.array([[1, 0.2, 0.3, 0.1, 0.9, 0.4, 0, 0]] * 2, "float32"), data_format="channels_last"
    ),
    IMAGE,
    smooth=False,
    **SINGLE,
)
row(
    "image.perspective_transform",
    lambda x: ops.image.perspective_transform(
        x,
        np.array([[[0, 0], [0, 4], [5, 0], [5, 4]]] * 2, "float32"),
        np.array([[[0.5, 0], [0, 3.5], [4.5, 0.5], [5, 4]]] * 2, "float32"),
        data_format="channels_last",
    ),
    IMAGE,
    smooth=False,
    **SINGLE,
)
row("image.crop_images", lambda x: ops.image.crop_images(x, 1, 1, target_height=3, target_width=2) ** 2, IMAGE)
row("image.pad_images", lambda x: ops.image.pad_images(x, 1, 2, target_height=9, target_width=8) ** 2, IMAGE)
row("image.extract_patches", lambda x: ops.image.extract_patches(x, (2, 2)) ** 2, IMAGE)
row("image.extract_patches_3d", lambda x: ops.image.extract_patches_3d(x, (2, 2, 2)) ** 2, (2, 4, 4, 4, 2))
row("image.gaussian_blur", lambda x: ops.image.gaussian_blur(x) ** 2, IMAGE)
row("image.sobel_edges", lambda x: ops.image.sobel_edges(x) ** 2, IMAGE)
row("image.ssim", lambda x, y: ops.image.ssim(x, y, filter_size=3), COLOURS, COLOURS)
row("image.rgb_to_grayscale", lambda x: ops.image.rgb_to_grayscale(x) ** 2, COLOURS)
row("image.rgb_to_hsv", lambda x: ops.image.rgb_to_hsv(x) ** 2, COLOURS)
# TensorFlow has no gradient of HSVToRGB.
row("image.hsv_to_rgb", lambda x: ops.image.hsv_to_rgb(x) ** 2, COLOURS, order=0)
row(
    "image.map_coordinates",
    lambda x, c: ops.image.map_coordinates(x, c, 1),
    kernel(5, 6),
    Arg((2, 7), lambda rng, size: rng.uniform(0.1, 3.9, size), free=()),
)

LABELS, LABEL_LENGTHS, LENGTHS = np.array([[1, 2, 1], [2, 1, 0]]), np.array([3, 2]), np.array([6, 5])
row(
    "ctc_loss",
    lambda x: ops.ctc_loss(LABELS, x, LABEL_LENGTHS, LENGTHS),
    kernel(2, 6, 4),
    smooth=False,
    tolerance={"float64": 1e-6},
    reason="TensorFlow computes the probabilities of the paths in float32",
)

row("cond", lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2, lambda: x**2), (3, 4))
row("switch", lambda x: ops.switch(1, [lambda v: v * 2, lambda v: v**2], x), (3, 4))
row("map", lambda x: ops.map(lambda v: v**2, x), (3, 4))
row("scan", lambda x: ops.scan(lambda c, v: (c * 0.5 + v, c * v), ops.zeros_like(x[0]), x), kernel(4, 3))
row("associative_scan", lambda x: ops.associative_scan(lambda a, b: a + b, x, axis=1) ** 2, (3, 5))
row("fori_loop", lambda x: ops.fori_loop(0, 3, lambda i, v: v * 0.5 + x, x), (3, 4))
row(
    "while_loop",
    lambda x: ops.while_loop(lambda v: ops.sum(v * v) < 100.0, lambda v: (v * 1.5 + 0.3,), (x,))[0],
    (3, 4),
)
row("vectorized_map", lambda x: ops.vectorized_map(lambda v: ops.sum(v**2) * v, x), (3, 4))


def scaled(x: Any) -> Any:
    """``x ** 2`` with a derivative that is its own."""
    return x**2, lambda dy, upstream=None: (dy if upstream is None else upstream) * 5.0 * x


row("custom_gradient", lambda x: ops.custom_gradient(scaled)(x), (3, 4), smooth=False)
