"""Rows for ``lowering/shaping.py``, ``joining.py`` and ``blocks.py``."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

raw = tf.raw_ops
BOTH = (0, 1)


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


def complex_of(x: Any, y: Any) -> Any:
    return tf.complex(x, y)


CASES = [
    Case(
        "shape_and_size",
        ("Shape", "Size"),
        lambda x: x * tf.cast(tf.size(x) + tf.shape(x)[1], x.dtype),
        ((3, 4),),
        free=(True,),
    ),
    Case("shape_unknown_size", "Size", lambda x: x * tf.cast(tf.size(x), x.dtype), (free(3, 4),), free=(True,)),
    Case("shape_n", "ShapeN", lambda x, y: raw.ShapeN(input=[x, y], out_type=tf.int64), ((3, 4), (2,)), order=0),
    Case("rank", "Rank", lambda x: x * tf.cast(raw.Rank(input=x), x.dtype), ((3, 4),)),
    Case("reshape_static", "Reshape", lambda x: tf.reshape(x, [-1, 6]) ** 2, ((2, 3, 4),), order=2),
    Case("reshape_batch", "Reshape", lambda x: tf.reshape(x, [tf.shape(x)[0], -1]) ** 2, ((3, 2, 4),), order=2),
    Case("reshape_batch_0", "Reshape", lambda x: tf.reshape(x, [tf.shape(x)[0], -1]) ** 2, ((0, 2, 4),), order=2),
    Case("reshape_two_free", "Reshape", lambda x: tf.reshape(x, [tf.shape(x)[0], -1]) ** 2, (free(3, 2, 4),)),
    Case(
        "reshape_two_free_0",
        "Reshape",
        lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [-1, 2]], 0)) ** 2,
        (Arg((0, 3, 4), free=BOTH),),
    ),
    Case("reshape_merge_free", "Reshape", lambda x: tf.reshape(x, [-1, 4]) ** 2, (Arg((3, 2, 4), free=BOTH),)),
    Case("reshape_split_free", "Reshape", lambda x: tf.reshape(x, [-1, 2, tf.shape(x)[1], 4]) ** 2, (free(6, 2, 4),)),
    Case("reshape_zero_size", "Reshape", lambda x: tf.reshape(x, [3, 0]), ((0, 3),), order=0, free=(False,)),
    Case(
        "reshape_empty",
        "Reshape",
        lambda x: tf.reshape(tf.reshape(tf.ones_like(x), [-1]), [0, 3]),
        (Arg((1, 0), free=()),),
        order=0,
    ),
    Case("reshape_scalar", "Reshape", lambda x: tf.reshape(x, []) ** 2, (Arg((1,), free=()),), order=2),
    Case("expand_dims", "ExpandDims", lambda x: tf.expand_dims(x, 1) * tf.expand_dims(x, -1), ((3, 4),), order=2),
    Case("expand_dims_scalar", "ExpandDims", lambda x: tf.expand_dims(x, 0) ** 2, ((),)),
    Case("squeeze_axis", "Squeeze", lambda x: tf.squeeze(x, [1, -1]) ** 2, ((3, 1, 4, 1),), order=2),
    Case("squeeze_all", "Squeeze", lambda x: tf.squeeze(x) ** 2, ((3, 1, 4),), free=(False,)),
    Case("squeeze_none", "Squeeze", lambda x: tf.squeeze(x) ** 2, ((3, 4),), free=(False,)),
    Case("transpose", "Transpose", lambda x: tf.transpose(x, [2, 0, 1]) ** 2, ((3, 4, 2),), order=2),
    Case("transpose_default", "Transpose", lambda x: tf.transpose(x) ** 2, ((3, 4, 2),)),
    Case(
        "transpose_computed",
        "Transpose",
        lambda x: tf.transpose(x, tf.concat([tf.range(tf.rank(x) - 2), [2, 1]], 0)) ** 2,
        ((3, 4, 2),),
    ),
    Case(
        "transpose_complex",
        ("Transpose", "ConjugateTranspose"),
        lambda x, y: tf.transpose(tf.transpose(complex_of(x, y), [1, 0]), conjugate=True) ** 2,
        ((3, 4), (3, 4)),
    ),
    Case(
        "conjugate_transpose_real",
        "ConjugateTranspose",
        lambda x: raw.ConjugateTranspose(x=x, perm=[1, 0]) ** 2,
        ((3, 4),),
        order=0,
    ),
    Case(
        "invert_permutation",
        "InvertPermutation",
        lambda p: tf.math.invert_permutation(p),
        (fixed([2, 0, 3, 1], "int32"),),
        order=0,
    ),
    Case(
        "invert_permutation_constant",
        "InvertPermutation",
        lambda x: tf.transpose(x, tf.math.invert_permutation([2, 0, 1])) ** 2,
        ((3, 4, 2),),
    ),
    Case("fill", "Fill", lambda x, y: tf.fill(tf.shape(x), y) * x, ((3, 4), ()), order=2),
    Case("fill_constant", "Fill", lambda x: tf.fill([2, 1], tf.constant(2, x.dtype)) * x, ((3, 2, 4),)),
    Case("zeros_ones_like", ("ZerosLike", "OnesLike"), lambda x: x * raw.OnesLike(x=x) + raw.ZerosLike(x=x), ((3, 4),)),
    Case(
        "ones_like_complex",
        ("ZerosLike", "OnesLike"),
        lambda x, y: complex_of(x, y) * raw.OnesLike(x=complex_of(x, y)) + raw.ZerosLike(x=complex_of(x, y)),
        ((3, 4), (3, 4)),
    ),
    Case("broadcast_to", "BroadcastTo", lambda x: tf.broadcast_to(x, [2, 3, 4]) ** 2, (Arg((3, 1), free=()),), order=2),
    Case(
        "broadcast_to_free",
        "BroadcastTo",
        lambda x, y: tf.broadcast_to(x, tf.shape(y)) * y,
        (Arg((1, 4), free=()), (3, 4)),
        order=2,
    ),
    Case(
        "broadcast_to_unknown",
        "BroadcastTo",
        lambda x, y: tf.broadcast_to(x, tf.shape(y)) * y,
        (Arg((1, 4), free=(0, 1)), free(2, 3, 4)),
    ),
    Case(
        "broadcast_args",
        "BroadcastArgs",
        lambda x, y: raw.BroadcastArgs(s0=tf.shape(x), s1=tf.shape(y)),
        (Arg((3, 1), free=()), (2, 1, 4)),
        order=0,
    ),
    Case(
        "broadcast_args_data",
        "BroadcastArgs",
        lambda x, y: raw.BroadcastArgs(s0=x, s1=y),
        (fixed([3, 1], "int32", ()), fixed([2, 1, 4], "int32", ())),
        order=0,
    ),
    Case("tile", "Tile", lambda x: tf.tile(x, [1, 3, 2]) ** 2, ((2, 3, 1),), order=2),
    Case("tile_computed", "Tile", lambda x: tf.tile(x, [tf.shape(x)[0], 1]) ** 2, ((3, 2),), order=2),
    Case("tile_zero", "Tile", lambda x: tf.tile(x, [1, 0]), ((3, 2),)),
    Case("tile_complex", "Tile", lambda x, y: tf.tile(complex_of(x, y), [1, 2]) ** 2, ((3, 2), (3, 2))),
    Case("range", "Range", lambda x: x * tf.cast(tf.range(4), x.dtype), ((3, 4),)),
    Case("range_free", "Range", lambda x: x * tf.cast(tf.range(tf.shape(x)[0]), x.dtype)[:, None], ((3, 4),)),
    Case("range_steps", "Range", lambda x: x * tf.cast(tf.range(7, -2, -3), x.dtype), ((2, 3),)),
    Case("range_float", "Range", lambda x: x * tf.range(tf.constant(0.5, x.dtype), 2.0, 0.5), ((2, 3),)),
    Case(
        "range_of_data",
        "Range",
        lambda n: tf.range(n[0], n[1], n[2]),
        (fixed([1, 9, 3], "int32"),),
        order=0,
        free=(False,),
    ),
    Case(
        "lin_space",
        "LinSpace",
        lambda x: x * raw.LinSpace(start=tf.constant(-1.0, x.dtype), stop=2.0, num=4),
        ((3, 4),),
    ),
    Case(
        "lin_space_one",
        "LinSpace",
        lambda x: x * raw.LinSpace(start=tf.constant(-1.0, x.dtype), stop=2.0, num=1),
        ((3, 4),),
    ),
    Case("lin_space_of_data", "LinSpace", lambda x: raw.LinSpace(start=x[0], stop=x[1], num=5), ((2,),), order=0),
    Case("concat", "ConcatV2", lambda x, y: tf.concat([x, y, x * y[:, :1]], 1) ** 2, ((3, 4), (3, 2)), order=2),
    Case("concat_negative_axis", "ConcatV2", lambda x, y: tf.concat([x, y], -2) ** 2, ((3, 2, 4), (3, 1, 4)), order=2),
    Case(
        "concat_batch",
        ("ConcatV2", "ConcatOffset"),
        lambda x, y: tf.concat([x, y], 0) ** 2,
        ((3, 4), Arg((2, 4), free=())),
        order=2,
        free=(True,),
    ),
    Case("concat_empty", "ConcatV2", lambda x, y: tf.concat([x, y], 1) ** 2, ((3, 4), (3, 0))),
    Case(
        "concat_complex",
        "ConcatV2",
        lambda x, y: tf.concat([complex_of(x, y), complex_of(y, x)], 1) ** 2,
        ((3, 4), (3, 4)),
    ),
    Case("concat_v1", "Concat", lambda x, y: raw.Concat(concat_dim=1, values=[x, y]) ** 2, ((3, 4), (3, 2))),
    Case(
        "concat_offset",
        "ConcatOffset",
        lambda x, y: raw.ConcatOffset(concat_dim=-1, shape=[tf.shape(x), tf.shape(y)]),
        ((3, 4), (3, 2)),
        order=0,
    ),
    Case("pack", "Pack", lambda x, y: tf.stack([x, y], 1) ** 2, ((3, 4), (3, 4)), order=2),
    Case("pack_last", "Pack", lambda x, y: tf.stack([x, y], -1) ** 2, ((3, 4), (3, 4)), order=2),
    Case("pack_scalars", "Pack", lambda x, y: tf.stack([x, y, x * y]) ** 2, ((), ()), order=2),
    Case(
        "parallel_concat",
        "ParallelConcat",
        lambda x, y: tf.parallel_stack([x, y]) ** 2,
        ((3, 4), (3, 4)),
        order=0,
        free=(False,),
    ),
    Case("unpack", "Unpack", lambda x: [a * b for a, b in [tf.unstack(x, axis=1)[:2]]], ((3, 4, 2),), order=2),
    Case("unpack_last", "Unpack", lambda x: tf.unstack(x, axis=-1), ((3, 4, 2),), order=2),
    Case("split", "Split", lambda x: tf.split(x, 3, -1)[0] * tf.split(x, 3, 1)[2], ((2, 6),), order=2),
    Case("split_all", "Split", lambda x: [part**2 for part in tf.split(x, 3, 1)], ((2, 6, 2),), order=2),
    Case("split_free", "Split", lambda x: [part**2 for part in tf.split(x, 2, 1)], (free(2, 6),), order=2),
    Case("split_one", "Split", lambda x: tf.split(x, 1, 1)[0] ** 2, ((2, 6),)),
    Case("split_shape", "Split", lambda x: x * tf.cast(tf.split(tf.shape(x), 2)[0], x.dtype), ((2, 6),)),
    Case("split_sizes", "SplitV", lambda x: [part**2 for part in tf.split(x, [1, 0, 3, 2], 1)], ((2, 6),), order=2),
    Case("split_rest", "SplitV", lambda x: [part**2 for part in tf.split(x, [1, -1, 2], -1)], ((2, 6),), order=2),
    Case("split_sizes_one", "SplitV", lambda x: tf.split(x, [6], 1)[0] ** 2, ((2, 6),)),
    Case(
        "split_sizes_of_data",
        "SplitV",
        lambda x, n: [part**2 for part in raw.SplitV(value=x, size_splits=n, axis=1, num_split=3)],
        ((2, 6), fixed([1, 3, 2], "int32", ())),
    ),
    Case(
        "depth_to_space",
        ("DepthToSpace", "SpaceToDepth"),
        lambda x: tf.nn.depth_to_space(x, 2) ** 2,
        ((2, 3, 2, 8),),
        order=2,
    ),
    Case(
        "depth_to_space_free",
        ("DepthToSpace", "SpaceToDepth"),
        lambda x: tf.nn.depth_to_space(x, 2) ** 2,
        (Arg((2, 3, 2, 8), free=(0, 1, 2)),),
        order=2,
    ),
    Case(
        "space_to_depth",
        ("SpaceToDepth", "DepthToSpace"),
        lambda x: tf.nn.space_to_depth(x, 2) ** 2,
        ((2, 4, 6, 3),),
        order=2,
    ),
    Case(
        "space_to_depth_free",
        ("SpaceToDepth", "DepthToSpace"),
        lambda x: tf.nn.space_to_depth(x, 2) ** 2,
        (Arg((2, 4, 6, 3), free=(0, 1, 2)),),
    ),
    Case(
        "space_to_batch_nd",
        ("SpaceToBatchND", "BatchToSpaceND"),
        lambda x: tf.space_to_batch(x, [2, 3], [[1, 0], [0, 2]]) ** 2,
        ((2, 3, 4, 2),),
        order=2,
    ),
    Case(
        "space_to_batch_nd_free",
        ("SpaceToBatchND", "BatchToSpaceND"),
        lambda x: tf.space_to_batch(x, [2, 3], [[1, 0], [0, 2]]) ** 2,
        (Arg((2, 3, 4, 2), free=(0, 1, 2)),),
    ),
    Case(
        "batch_to_space_nd",
        ("SpaceToBatchND", "BatchToSpaceND"),
        lambda x: tf.batch_to_space(x, [2, 3], [[1, 0], [0, 2]]) ** 2,
        ((12, 3, 4, 2),),
        order=2,
    ),
    Case(
        "space_to_batch",
        "SpaceToBatch",
        lambda x: raw.SpaceToBatch(input=x, paddings=[[1, 0], [0, 2]], block_size=2) ** 2,
        ((2, 3, 4, 2),),
        order=2,
    ),
    Case(
        "batch_to_space",
        "BatchToSpace",
        lambda x: raw.BatchToSpace(input=x, crops=[[1, 0], [0, 1]], block_size=2) ** 2,
        ((8, 3, 4, 2),),
        order=2,
    ),
]
