"""Rows for ``lowering/slicing.py`` and ``padding.py``."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from tests.lowering.case import Arg, Case, fixed, normal

raw = tf.raw_ops
GRAD = ("StridedSlice", "StridedSliceGrad")


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


def index(*values: int) -> Arg:
    return fixed(list(values), "int32", ())


def updated(begin: Any) -> Any:
    """TensorFlow has no gradient of it."""
    return lambda x, update: gen_xla_ops.xla_dynamic_update_slice(input=x, update=update, indices=begin) * 2


CASES = [
    *[
        Case(f"slice_update_{name}", "XlaDynamicUpdateSlice", updated(at), ((4, 5), Arg((2, 3), free=())), order=0)
        for name, at in (("inside", [1, 2]), ("overhanging", [3, 4]), ("before", [-2, 1]))
    ],
    Case(
        "slice_update_of_data",
        "XlaDynamicUpdateSlice",
        lambda x, update, at: updated(at)(x, update),
        ((4, 5), Arg((2, 3), free=()), fixed([2, 1], "int32", free=())),
        order=0,
    ),
    Case("slice", "Slice", lambda x: tf.slice(x, [1, 0, 2], [2, -1, 1]) ** 2, (Arg((4, 3, 5), free=(1,)),), order=2),
    Case("slice_whole", "Slice", lambda x: tf.slice(x, [0, 0], [-1, 5]) ** 2, ((4, 5),)),
    Case("slice_free", "Slice", lambda x: tf.slice(x, [0, 1], [tf.shape(x)[0], 2]) ** 2, (free(4, 5),), order=2),
    Case(
        "slice_of_data",
        "Slice",
        lambda x, b, n: tf.slice(x, b, n) ** 2,
        (free(4, 5), index(1, 2), index(2, -1)),
        order=2,
    ),
    Case(
        "slice_begin_of_data", "Slice", lambda x, b: tf.slice(x, [0, b[0]], [-1, 2]) ** 2, ((4, 5), index(3)), order=2
    ),
    Case("slice_empty", "Slice", lambda x: tf.slice(x, [0, 5], [-1, 0]), ((4, 5),)),
    Case("slice_complex", "Slice", lambda x, y: tf.slice(tf.complex(x, y), [0, 1], [-1, 2]) ** 2, ((4, 5), (4, 5))),
    Case("strided_single", GRAD, lambda x: x[:, 2] ** 2, ((3, 4, 2),), order=2),
    Case("strided_single_last", GRAD, lambda x: x[:, -1] ** 2, (free(3, 4),), order=2),
    Case("strided_first_row", GRAD, lambda x: x[0] ** 2, (free(3, 4),), order=2),
    Case("strided_scalar", GRAD, lambda x: x[1, -2] ** 2, (free(3, 4),), order=2),
    Case("strided_range", GRAD, lambda x: x[:, 1:3] ** 2, ((3, 4),), order=2),
    Case("strided_range_free", GRAD, lambda x: x[:, 1:3] ** 2, (free(3, 4),), order=2),
    Case("strided_range_beyond", GRAD, lambda x: x[:, 2:9] ** 2, (free(3, 4),), order=2),
    Case("strided_tail", GRAD, lambda x: (x[:, 1:] - x[:, :-1]) ** 2, (free(3, 4),), order=2),
    Case("strided_tail_of_none", GRAD, lambda x: (x[:, 1:] - x[:, :-1]) ** 2, (free(3, 0),), order=2),
    Case("strided_tail_of_one", GRAD, lambda x: (x[:, 1:] - x[:, :-1]) ** 2, (free(3, 1),), order=2),
    Case("strided_negative_bounds", GRAD, lambda x: x[:, -3:-1] ** 2, (free(3, 4),), order=2),
    Case("strided_batch", GRAD, lambda x: x[1:] * x[:-1], (free(3, 4),), order=2),
    Case("strided_empty", GRAD, lambda x: x[:, 3:2], ((3, 4),)),
    Case("strided_step_2", GRAD, lambda x: x[:, ::2] ** 2, ((3, 5),), order=2),
    Case("strided_step_2_even", GRAD, lambda x: x[:, 1::2] ** 2, ((3, 6),), order=2),
    Case("strided_step_3_free", GRAD, lambda x: x[:, 1:6:3] ** 2, (free(3, 8),), order=2),
    Case("strided_step_free", GRAD, lambda x: x[:, ::2] ** 2, (free(3, 8),), order=2),
    Case("strided_reverse", GRAD, lambda x: x[:, ::-1] ** 3, (free(3, 4),), order=2),
    Case("strided_reverse_batch", GRAD, lambda x: x[::-1] * x, ((3, 4),), order=2),
    Case("strided_backward", GRAD, lambda x: x[:, 4:1:-2] ** 2, ((3, 6),), order=2),
    Case("strided_backward_free", GRAD, lambda x: x[:, -2::-2] ** 2, (free(3, 6),), order=2),
    Case("strided_backward_odd", GRAD, lambda x: x[:, -2::-2] ** 2, ((3, 7),), order=2),
    Case("strided_backward_beyond", GRAD, lambda x: x[:, 9:0:-3] ** 2, ((3, 7),), order=2),
    Case("strided_backward_empty", GRAD, lambda x: x[:, 0:3:-1], ((3, 7),)),
    Case("strided_ellipsis", GRAD, lambda x: x[..., 1:3] ** 2, ((3, 2, 4),), order=2),
    Case("strided_ellipsis_between", GRAD, lambda x: x[:, ..., 1] ** 2, ((3, 2, 4),), order=2),
    Case("strided_ellipsis_first", GRAD, lambda x: x[1, ..., ::2] ** 2, (Arg((3, 2, 4), free=()),), order=2),
    Case("strided_new_axis", GRAD, lambda x: x[:, tf.newaxis] * x[..., tf.newaxis], ((3, 4),), order=2),
    Case(
        "strided_everything",
        GRAD,
        lambda x: x[:, tf.newaxis, 1, ..., 3:0:-2, tf.newaxis] ** 2,
        ((3, 2, 2, 4),),
        order=2,
    ),
    Case("strided_nothing", "StridedSlice", lambda x: x[...] ** 2, ((3, 4),)),
    Case("strided_index_of_data", GRAD, lambda x, i: x[:, i[0]] ** 2, (free(3, 4), index(2)), order=2),
    Case("strided_index_of_data_negative", GRAD, lambda x, i: x[:, i[0], 1:] ** 2, ((3, 4, 3), index(-1)), order=2),
    Case("strided_bounds_of_data", GRAD, lambda x, i: x[:, i[0] : i[1]] ** 2, (free(3, 6), index(1, -2)), order=2),
    Case("strided_bounds_beyond", GRAD, lambda x, i: x[i[0] : i[1], ::2] ** 2, ((3, 6), index(-9, 9)), order=2),
    Case(
        "strided_raw_masks",
        GRAD,
        lambda x: raw.StridedSlice(input=x, begin=[7, 1], end=[0, 9], strides=[1, 1], begin_mask=1, end_mask=1) ** 2,
        (free(3, 4),),
    ),
    Case("strided_complex", GRAD, lambda x, y: tf.complex(x, y)[:, 1::2] ** 2, ((3, 4), (3, 4))),
    Case("strided_bool", "StridedSlice", lambda x: tf.cast((x > 0)[:, 1:], x.dtype), ((3, 4),), order=0),
    Case(
        "strided_update",
        "TensorStridedSliceUpdate",
        lambda x, y: (
            raw.TensorStridedSliceUpdate(
                input=x, begin=[0, 1], end=[0, 5], strides=[1, 2], value=y, begin_mask=1, end_mask=1
            )
            ** 2
        ),
        ((3, 6), (3, 2)),
        order=2,
    ),
    Case(
        "strided_update_single",
        "TensorStridedSliceUpdate",
        lambda x, y: (
            raw.TensorStridedSliceUpdate(
                input=x, begin=[0, 1], end=[0, 2], strides=[1, 1], value=y, begin_mask=1, end_mask=1, shrink_axis_mask=2
            )
            ** 2
        ),
        ((3, 4), (3,)),
    ),
    Case(
        "strided_update_broadcast",
        "TensorStridedSliceUpdate",
        lambda x: raw.TensorStridedSliceUpdate(input=x, begin=[1], end=[3], strides=[1], value=x[:1]) ** 2,
        (Arg((4, 3), free=(1,)),),
        order=0,
    ),
    Case(
        "strided_update_bool",
        "TensorStridedSliceUpdate",
        lambda x: raw.TensorStridedSliceUpdate(input=x > 0, begin=[1], end=[3], strides=[1], value=x[:2] < 0),
        (Arg((4, 3), free=(1,)),),
        order=0,
    ),
    Case("reverse_v2", "ReverseV2", lambda x: tf.reverse(x, [1, -1]) * x, ((3, 4, 2),), order=2),
    Case("reverse_free", "ReverseV2", lambda x: tf.reverse(x, [0]) * x, (free(3, 4),), order=2),
    Case("reverse_none", "ReverseV2", lambda x: tf.reverse(x, []) * x, ((3, 4),)),
    Case("reverse_complex", "ReverseV2", lambda x, y: tf.reverse(tf.complex(x, y), [1]) ** 2, ((3, 4), (3, 4))),
    Case("reverse", "Reverse", lambda x: raw.Reverse(tensor=x, dims=[False, True]) * x, ((3, 4),), order=0),
    Case(
        "reverse_sequence",
        "ReverseSequence",
        lambda x, n: tf.reverse_sequence(x, n, 1, 0) * x,
        (free(3, 4, 2), fixed([0, 4, 2], "int32")),
        order=2,
    ),
    Case(
        "reverse_sequence_time_first",
        "ReverseSequence",
        lambda x, n: tf.reverse_sequence(x, n, 0, 1) * x,
        (Arg((4, 3), free=()), fixed([1, 4, 2], "int64", ())),
        order=2,
    ),
    Case(
        "reverse_sequence_inner",
        "ReverseSequence",
        lambda x, n: tf.reverse_sequence(x, n, 3, 1) * x,
        ((2, 3, 2, 4), fixed([1, 4, 2], "int64", ())),
        order=2,
    ),
    Case("roll", "Roll", lambda x: tf.roll(x, 1, 1) * x, ((3, 4),), order=2),
    Case("roll_several", "Roll", lambda x: tf.roll(x, [-3, 6], [0, 2]) * x, (Arg((2, 3, 4), free=(1,)),), order=2),
    Case("roll_free", "Roll", lambda x: tf.roll(x, [-5, 2], [0, 1]) * x, (free(3, 4),), order=2),
    Case("roll_free_0", "Roll", lambda x: tf.roll(x, [-5, 2], [0, 1]) * x, (free(0, 4),), order=2),
    Case("roll_whole", "Roll", lambda x: tf.roll(x, 4, 1) * x, ((3, 4),)),
    Case("roll_of_data", "Roll", lambda x, n: tf.roll(x, n[0], 1) * x, (free(3, 4), index(-7)), order=2),
    Case("pad", "Pad", lambda x: tf.pad(x, [[0, 0], [1, 2]]) ** 2, ((3, 4),), order=2),
    Case("pad_free", "Pad", lambda x: tf.pad(x, [[2, 0], [0, 1]]) ** 2, (free(3, 4),), order=2),
    Case("pad_nothing", "Pad", lambda x: tf.pad(x, [[0, 0], [0, 0]]) ** 2, ((3, 4),)),
    Case("pad_of_data", "Pad", lambda x, n: tf.pad(x, [[0, 0], [n[0], 1]]) ** 2, ((3, 4), index(2)), order=2),
    Case("pad_of_none", "Pad", lambda x: tf.pad(x, [[0, 0], [1, 2]]) ** 2, ((0, 4),), order=2),
    Case("pad_to_size", "Pad", lambda x: tf.pad(x, [[0, 0], [0, tf.shape(x)[0]]]) ** 2, (free(3, 4),), order=2),
    Case("pad_v2", "PadV2", lambda x: tf.pad(x, [[0, 0], [1, 2]], constant_values=1.5) ** 2, ((3, 4),), order=2),
    Case(
        "pad_v2_of_data",
        "PadV2",
        lambda x, c: raw.PadV2(input=x, paddings=[[0, 0], [1, 2]], constant_values=c) ** 2,
        ((3, 4), ()),
        order=2,
        smooth=False,
    ),  # TensorFlow gives no derivative for the constant
    Case("pad_complex", "Pad", lambda x, y: tf.pad(tf.complex(x, y), [[0, 0], [1, 2]]) ** 2, ((3, 4), (3, 4))),
    *[
        Case(
            f"mirror_{mode}_{name}".lower(),
            ("MirrorPad", "MirrorPadGrad"),
            lambda x, m=mode, p=pads: tf.pad(x, p, m) ** 2,
            (arg,),
            order=2,
        )
        for mode in ("REFLECT", "SYMMETRIC")
        for name, pads, arg in [
            ("one_side", [[0, 0], [2, 0], [0, 1]], normal(2, 4, 3)),
            ("both", [[0, 0], [2, 3], [1, 2]], normal(2, 4, 3)),
            ("free", [[1, 0], [2, 3]], free(2, 4)),
            ("full", [[0, 0], [3 + (mode == "SYMMETRIC"), 3 + (mode == "SYMMETRIC")]], normal(2, 4)),
            ("nothing", [[0, 0], [0, 0]], normal(2, 4)),
        ]
    ],
    # Strides and mirror paddings that are inputs. (An index is only known when the graph runs.)
    *[
        Case(
            f"strided_by_data_{name}",
            GRAD,
            lambda x, at, take=take: take(tf.ensure_shape(x, x.shape), at) ** 2,
            (free(3, 7), index(*at)),
            order=2,
        )
        for name, at, take in (
            ("forward", (2,), lambda x, at: tf.strided_slice(x, [0, 1], [3, 6], tf.stack([1, at[0]]))),
            ("backward", (-2,), lambda x, at: tf.strided_slice(x, [0, 5], [3, 0], tf.stack([1, at[0]]))),
            ("open", (3,), lambda x, at: x[:, :: at[0]]),
            ("open_backward", (-3,), lambda x, at: x[:, :: at[0]]),
            ("nothing", (-1,), lambda x, at: tf.strided_slice(x, [0, 1], [3, 6], tf.stack([1, at[0]]))),
            ("before_the_axis", (-2,), lambda x, at: tf.strided_slice(x, [0, -9], [3, -20], tf.stack([1, at[0]]))),
            ("every_bound", (5, 0, -2), lambda x, at: x[:, at[0] : at[1] : at[2]]),
            ("both_axes", (2, -1), lambda x, at: x[:: at[0], :: at[1]]),
        )
    ],
    *[
        Case(
            f"mirror_by_data_{mode}_{name}".lower(),
            ("MirrorPad", "MirrorPadGrad"),
            lambda x, by, mode=mode: tf.pad(x, tf.reshape(by, [2, 2]), mode) ** 2,
            (free(3, 4), index(*by)),
            order=2,
        )
        for mode in ("REFLECT", "SYMMETRIC")
        for name, by in (("usual", (1, 2, 0, 3)), ("none", (0, 0, 0, 0)), ("whole", (2, 0, 2, 3)))
    ],
    Case(
        "mirror_by_data_beside_constants",
        ("MirrorPad", "MirrorPadGrad"),
        lambda x, by: tf.pad(x, [[0, 0], [by[0], 2]], "REFLECT") ** 2,
        (free(3, 4), index(1)),
        order=2,
    ),
]
