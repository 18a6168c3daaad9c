"""Rows for ``lowering/cropping.py``, ``projection.py``, ``patches.py`` and ``color.py``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal, uniform

BOXES = np.array([[0.1, 0.2, 0.83, 0.7], [-0.2, 0.3, 0.6, 1.3], [0.9, 0.05, 0.2, 0.6], [0, 0, 1, 1]])
CROP = ("CropAndResize", "CropAndResizeGradImage", "CropAndResizeGradBoxes")
DILATION = ("Dilation2D", "Dilation2DBackpropInput", "Dilation2DBackpropFilter")
FLAT = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0
TURN = 0.8, -0.4, 0.7, 0.5, 0.9, -0.6, 0.0, 0.0
PROJECT = 0.8, -0.4, 0.7, 0.5, 0.9, -0.6, 0.02, 0.05
FAR = 2.7, -0.4, -3.3, 0.5, 3.1, -4.6, 0.0, 0.0
LIKE_A_FLOAT = "TensorFlow's kernel computes in float32 for images in double precision too"


def crop(x: Any, boxes: Any, size: tuple[int, int] = (3, 4), method: str = "bilinear", outside: float = 0.0) -> Any:
    return tf.raw_ops.CropAndResize(
        image=x, boxes=boxes, box_ind=[0, 1, 1, 0], crop_size=size, method=method, extrapolation_value=outside
    )


def project(
    x: Any, transforms: Any, size: Any = (5, 6), mode: str = "CONSTANT", interpolation: str = "BILINEAR"
) -> Any:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x, transforms=transforms, output_shape=size, fill_value=0.3, interpolation=interpolation, fill_mode=mode
    )


def project_v2(x: Any) -> Any:
    return tf.raw_ops.ImageProjectiveTransformV2(
        images=x, transforms=[TURN], output_shape=[4, 5], interpolation="BILINEAR"
    )


def patches(x: Any, rate: int = 1, padding: str = "SAME", stride: int = 1) -> Any:
    return tf.image.extract_patches(x, [1, 3, 2, 1], [1, stride, 2, 1], [1, rate, rate, 1], padding)


def volumes(x: Any) -> Any:
    return tf.raw_ops.ExtractVolumePatches(input=x, ksizes=[1, 2, 1, 3, 1], strides=[1, 1, 2, 1, 1], padding="SAME")


def dilate(x: Any, kernel: Any, stride: int = 1, rate: int = 1, padding: str = "SAME") -> Any:
    return tf.raw_ops.Dilation2D(
        input=x, filter=kernel, strides=[1, stride, stride, 1], rates=[1, rate, rate, 1], padding=padding
    )


def picture(*shape: int) -> Arg:
    return uniform(0.05, 0.95, *shape)


BOX_ARG = fixed(BOXES)
COLORS = [[0.2, 0.2, 0.2], [0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 1.0]]

OFF_PIXEL_BOXES = [[0.05, 0.1, 0.93, 0.81], [0.9, 0.2, 0.13, 0.7], [-0.3, 0.1, 0.61, 1.3]]

CASES = [
    *[
        Case(f"crop_{name}", CROP, partial(crop, **options), (normal(2, 5, 6, 3), BOX_ARG), dtypes=("float32",))
        for name, options in {
            "plain": {},
            "one_row": {"size": (1, 4)},
            "one_pixel": {"size": (1, 1)},
            "outside": {"outside": 0.7},
            "nearest": {"method": "nearest"},
            "nearest_outside": {"method": "nearest", "outside": -1.0},
        }.items()
    ],
    Case("crop_free", CROP, crop, (Arg((2, 5, 6, 3), free=(0, 1, 2)), BOX_ARG), dtypes=("float32",)),
    Case(
        "crop_double",
        CROP[:2],
        lambda x: crop(x, BOXES.astype(np.float32)),
        (normal(2, 5, 6, 3),),
        smooth=False,
        dtypes=("float64",),
        tolerance={"float64": 1e-6},
        reason=LIKE_A_FLOAT,
    ),
    *[
        Case(
            f"project_{name}_{interpolation.lower()}_{mode.lower()}",
            "ImageProjectiveTransformV3",
            partial(project, transforms=[matrix], mode=mode, interpolation=interpolation),
            (normal(2, 5, 4, 3),),
            order=0,
            smooth=False,
            tolerance={"float64": 1e-6},
            reason=LIKE_A_FLOAT,
        )
        for name, matrix in {"flat": FLAT, "turn": TURN, "project": PROJECT, "far": FAR}.items()
        for interpolation in ("BILINEAR", "NEAREST")
        for mode in ("CONSTANT", "REFLECT", "WRAP", "NEAREST")
    ],
    Case(
        "project_each",
        "ImageProjectiveTransformV3",
        lambda x: project(x, [TURN, PROJECT]),
        (normal(2, 5, 4, 3),),
        order=0,
        free=(False,),
        dtypes=("float32",),
    ),
    Case(
        "project_zero_division",
        "ImageProjectiveTransformV3",
        lambda x: project(x, [[1, 0, 0, 0, 1, 0, -0.5, 0]]),
        (normal(2, 5, 4, 3),),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "project_v2",
        "ImageProjectiveTransformV2",
        project_v2,
        (Arg((2, 5, 4, 3), free=(0, 1, 2)),),
        order=0,
        dtypes=("float32",),
    ),
    Case("patches_same", "ExtractImagePatches", patches, (normal(2, 5, 6, 3),)),
    Case("patches_free", "ExtractImagePatches", patches, (Arg((2, 5, 6, 3), free=(0, 1, 2)),), order=0),
    Case(
        "patches_valid_rate",
        "ExtractImagePatches",
        partial(patches, rate=2, padding="VALID", stride=2),
        (normal(2, 7, 6, 2),),
    ),
    Case("patches_volume", "ExtractVolumePatches", volumes, (normal(2, 3, 4, 3, 2),), order=0),
    Case("dilation_same", DILATION, dilate, (normal(2, 5, 6, 3), Arg((3, 2, 3), free=()))),
    Case(
        "dilation_strided_rate",
        DILATION,
        partial(dilate, stride=2, rate=2),
        (normal(2, 7, 6, 3), Arg((3, 2, 3), free=())),
    ),
    Case(
        "dilation_valid_ties",
        DILATION,
        partial(dilate, padding="VALID"),
        (fixed(np.zeros((1, 4, 5, 2))), fixed(np.zeros((2, 3, 2)), free=())),
        smooth=False,
    ),
    Case("rgb_to_hsv", "RGBToHSV", lambda x: tf.image.rgb_to_hsv(x), (picture(2, 4, 3),), order=0),
    Case("rgb_to_hsv_gradient", "RGBToHSV", lambda x: tf.image.rgb_to_hsv(x), (picture(2, 4, 3),), smooth=False),
    Case("rgb_to_hsv_edges", "RGBToHSV", lambda x: tf.image.rgb_to_hsv(x), (fixed(COLORS),), order=0),
    Case("hsv_to_rgb", "HSVToRGB", lambda x: tf.image.hsv_to_rgb(x), (picture(2, 4, 3),), order=0),
    Case(
        "adjust_hue",
        "AdjustHue",
        lambda x: tf.raw_ops.AdjustHue(images=x, delta=0.4),
        (picture(2, 4, 5, 3),),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "adjust_saturation",
        "AdjustSaturation",
        lambda x: tf.raw_ops.AdjustSaturation(images=x, scale=1.7),
        (picture(2, 4, 5, 3),),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "adjust_contrast",
        "AdjustContrastv2",
        lambda x: tf.raw_ops.AdjustContrastv2(images=x, contrast_factor=1.7),
        (picture(2, 4, 5, 3),),
        order=0,
        dtypes=("float32",),
    ),
    *[
        Case(
            f"crop_and_resize_{method}_size_of_data_{name}",
            ("CropAndResize", "CropAndResizeGradImage"),
            lambda x, boxes, size, method=method: tf.image.crop_and_resize(
                x * x, boxes, [0, 1, 1], size, method, extrapolation_value=0.5
            ),
            (normal(2, 5, 4, 3), fixed(OFF_PIXEL_BOXES, free=()), fixed(size, "int32", ())),
            dtypes=("float32",),
        )
        for method in ("bilinear", "nearest")
        for name, size in (("larger", [6, 7]), ("one_row", [1, 3]), ("one_column", [2, 1]))
    ],
]
