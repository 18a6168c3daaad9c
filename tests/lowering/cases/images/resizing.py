"""Rows for ``lowering/resizing.py``: every convention, up and down, free sizes."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

CONVENTIONS = {"legacy": {}, "corners": {"align_corners": True}, "half": {"half_pixel_centers": True}}
SIZES = {"up": (7, 9), "down": (2, 3), "mixed": (8, 1)}
KERNELS = ("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic", "mitchellcubic")


def resize(kind: str, size: tuple[int, int], **convention: bool) -> Any:
    return lambda x: getattr(tf.raw_ops, f"Resize{kind}")(images=x, size=size, **convention)


def doubled(kind: str, **convention: bool) -> Any:
    """Twice the size, which is free."""
    return lambda x: getattr(tf.raw_ops, f"Resize{kind}")(images=x, size=tf.shape(x)[1:3] * 2, **convention)


def scaled(kernel: str, antialias: bool, size: tuple[int, int], scale: Any, shift: Any = (0.0, 0.0)) -> Any:
    return lambda x: tf.raw_ops.ScaleAndTranslate(
        images=x, size=size, scale=scale, translation=shift, kernel_type=kernel, antialias=antialias
    )


def single(name: str, ops: Any, function: Any, **options: Any) -> Case:
    # TensorFlow computes in float32, whatever the image is.
    x = options.pop("x", Arg((2, 5, 4, 3)))
    return Case(name, ops, function, (x,), dtypes=("float32",), **options)


def single_with_size(name: str, ops: Any, function: Any, size: tuple[int, int], **options: Any) -> Case:
    """``function`` of an image and of the size to give it, which is only known when the graph runs."""
    image = Arg((2, 5, 4, 3), free=(0, 1, 2))
    return Case(name, ops, function, (image, fixed(size, "int32", ())), dtypes=("float32",), **options)


FREE = Arg((2, 5, 4, 3), free=(0, 1, 2))

CASES = [
    *[
        single(
            f"resize_{kind.lower()}_{name}_{way}",
            (f"Resize{kind}", f"Resize{kind}Grad"),
            resize(kind, size, **convention),
        )
        for kind in ("Bilinear", "Bicubic")
        for name, convention in CONVENTIONS.items()
        for way, size in SIZES.items()
    ],
    *[
        Case(
            f"resize_nearest_{name}_{way}",
            ("ResizeNearestNeighbor", "ResizeNearestNeighborGrad"),
            resize("NearestNeighbor", size, **convention),
            ((2, 5, 4, 3),),
        )
        for name, convention in CONVENTIONS.items()
        for way, size in SIZES.items()
    ],
    *[
        single(
            f"resize_{kind.lower()}_{name}_free",
            f"Resize{kind}",
            doubled(kind, **convention),
            x=FREE,
            order=0 if kind == "Area" else 1,
        )
        for kind in ("Bilinear", "Bicubic", "NearestNeighbor", "Area")
        for name, convention in CONVENTIONS.items()
        if not (kind == "Area" and name == "half")
    ],
    *[
        single(f"resize_area_{name}_{way}", "ResizeArea", resize("Area", size, **CONVENTIONS[name]), order=0)
        for name in ("legacy", "corners")
        for way, size in SIZES.items()
    ],
    *[
        Case(
            f"resize_{kind.lower()}_double",
            (f"Resize{kind}", f"Resize{kind}Grad"),
            resize(kind, (7, 3), half_pixel_centers=True),
            ((2, 5, 4, 3),),
            dtypes=("float64",),
            smooth=False,
            tolerance={"float64": 1e-6},
            reason="TensorFlow's kernel computes in float32 and says so in the dtype of its result",
        )
        for kind in ("Bilinear", "Bicubic")
    ],
    *[
        single(
            f"scale_and_translate_{kernel}_{way}",
            ("ScaleAndTranslate", "ScaleAndTranslateGrad"),
            scaled(kernel, antialias, size, (size[0] / 5, size[1] / 4)),
        )
        for kernel in KERNELS
        for way, size, antialias in (("up", (7, 9), False), ("antialias", (2, 3), True), ("alias", (2, 3), False))
    ],
    single(
        "scale_and_translate_shifted",
        ("ScaleAndTranslate", "ScaleAndTranslateGrad"),
        partial(scaled("triangle", True, (6, 6), (0.7, 2.1), (1.3, -2.2))),
    ),
    single(
        "resize_area_corners_of_one", "ResizeArea", resize("Area", (4, 3), align_corners=True), x=(2, 1, 5, 2), order=0
    ),
    # Sizes that are inputs.
    *[
        single_with_size(
            f"resize_{kind.lower()}_{name}_size_of_data_{way}",
            (f"Resize{kind}", f"Resize{kind}Grad"),
            lambda x, size, kind=kind, how=convention: getattr(tf.raw_ops, f"Resize{kind}")(
                images=x * x, size=size, **how
            ),
            size,
            order=1 if kind == "Bicubic" else 2,  # TensorFlow has no gradient of ResizeBicubicGrad
        )
        for kind in ("Bilinear", "Bicubic", "NearestNeighbor")
        for name, convention in CONVENTIONS.items()
        for way, size in SIZES.items()
    ],
    *[
        single_with_size(
            f"resize_area_{name}_size_of_data_{way}",
            "ResizeArea",
            lambda x, size, how=CONVENTIONS[name]: tf.raw_ops.ResizeArea(images=x, size=size, **how),
            size,
            order=0,
        )
        for name in ("legacy", "corners")
        for way, size in SIZES.items()
    ],
    single_with_size(
        "scale_and_translate_size_of_data",
        ("ScaleAndTranslate", "ScaleAndTranslateGrad"),
        lambda x, size: tf.image.resize(x * x, size, method="lanczos3", antialias=True),
        (7, 3),
        order=1,  # TensorFlow has no gradient of ScaleAndTranslateGrad
    ),
]
