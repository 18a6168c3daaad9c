"""The table of Keras layers. A factory (a function) among the options is called with the dtype."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tests.keras.layer_row import LayerRow, layer_row
from tests.lowering.case import Arg

FIRST = {"order": 1}
FLOAT = {"dtypes": ("float32",), "reason": "TensorFlow has no kernel in double precision"}
KERNEL = {"order": 1, "dtypes": ("float32",), "reason": "TensorFlow cannot differentiate it in double precision"}
RESAMPLED = {"tolerance": {"float64": 1e-5}, "reason": "TensorFlow resizes in float32", "order": 1}


def _compiled(layer: Any, inputs: Sequence[Any]) -> Any:
    """By XLA, which alone runs some channels first and some dilated layers on a CPU."""
    if not layer.built:
        layer.build(inputs[0].shape)
    return tf.function(layer, jit_compile=True)(inputs[0])


COMPILED = {"call": _compiled}


def _mask(*shape: int) -> Arg:
    return Arg(shape, lambda rng, size: _at_least_one(rng.random(size) < 0.7), "bool")


def _at_least_one(mask: Any) -> Any:
    mask[..., 0] = True
    return mask


def _integers(high: int, *shape: int) -> Arg:
    return Arg(shape, lambda rng, size: rng.integers(0, high, size), "int32")


def _picture(*shape: int) -> Arg:
    return Arg(shape, lambda rng, size: rng.uniform(0.05, 0.95, size))


def _convolutions() -> list[LayerRow]:
    rows = []
    for rank, sizes in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 5))):
        name, free = f"Conv{rank}D", {"free": tuple(range(rank + 1))}
        small = FIRST if rank == 3 else {}
        for padding, strides in itertools.product(("valid", "same"), (1, 2)):
            rows.append(layer_row(name, (*sizes, 2), filters=3, kernel_size=3, padding=padding, strides=strides))
        rows += [
            layer_row(name, (*sizes, 2), filters=3, kernel_size=2, padding="same", row=free),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=3, strides=2, padding="same", row=free),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=3, strides=2, row=free),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=1, strides=2, row=small),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=2, dilation_rate=2, padding="same", row=small),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=2, dilation_rate=2, row=small),
            layer_row(name, (*sizes, 4), filters=6, kernel_size=2, groups=2, padding="same", row=small),
            layer_row(name, (*sizes, 4), filters=4, kernel_size=3, groups=4, strides=2, row=small),
            layer_row(
                name,
                (2, *sizes),
                filters=3,
                kernel_size=3,
                padding="same",
                data_format="channels_first",
                row={**small, **COMPILED},
            ),
            layer_row(name, (*sizes, 2), filters=3, kernel_size=3, activation="relu", use_bias=False, row=FIRST),
        ]
        for padding, strides in itertools.product(("valid", "same"), (1, 2, 3)):
            rows.append(
                layer_row(
                    f"{name}Transpose",
                    (*sizes[:-1], 4, 2),
                    filters=3,
                    kernel_size=2,
                    padding=padding,
                    strides=strides,
                    row=small,
                )
            )
        rows += [
            layer_row(
                f"{name}Transpose", (*sizes, 2), filters=3, kernel_size=3, strides=2, output_padding=1, row=small
            ),
            layer_row(f"{name}Transpose", (*sizes, 2), filters=3, kernel_size=3, strides=2, padding="same", row=free),
            layer_row(f"{name}Transpose", (*sizes, 2), filters=3, kernel_size=3, strides=2, row=free),
        ]
        if rank < 3:
            rows += _depthwise(rank, sizes)
    rows += [
        layer_row("Conv1D", (9, 2), filters=3, kernel_size=3, padding="causal"),
        layer_row("Conv1D", (9, 2), filters=3, kernel_size=3, padding="causal", dilation_rate=2, row={"free": (0, 1)}),
        layer_row("Conv2D", (7, 6, 2), filters=3, kernel_size=(1, 4), strides=(2, 1), padding="same"),
        layer_row("Conv2D", (7, 6, 2), filters=3, kernel_size=2, strides=3, padding="same"),
        layer_row("Conv2DTranspose", (4, 3, 2), filters=3, kernel_size=(1, 4), strides=(2, 3), padding="same"),
        layer_row("Conv2DTranspose", (4, 3, 2), filters=3, kernel_size=2, dilation_rate=2, row={**FIRST, **COMPILED}),
        layer_row(
            "Conv2DTranspose",
            (2, 4, 3),
            filters=3,
            kernel_size=3,
            data_format="channels_first",
            row={**FIRST, **COMPILED},
        ),
        layer_row("Conv1DTranspose", (5, 2), filters=3, kernel_size=2, dilation_rate=2, row={**FIRST, **COMPILED}),
    ]
    return rows


def _depthwise(rank: int, sizes: tuple[int, ...]) -> list[LayerRow]:
    rows = []
    for padding, strides in itertools.product(("valid", "same"), (1, 2)):
        rows += [
            layer_row(
                f"DepthwiseConv{rank}D",
                (*sizes, 2),
                kernel_size=3,
                depth_multiplier=2,
                padding=padding,
                strides=strides,
            ),
            layer_row(f"SeparableConv{rank}D", (*sizes, 2), filters=3, kernel_size=3, padding=padding, strides=strides),
        ]
    for name, more in ((f"DepthwiseConv{rank}D", {}), (f"SeparableConv{rank}D", {"filters": 3})):
        rows += [
            layer_row(name, (*sizes, 2), kernel_size=2, dilation_rate=2, **more),
            layer_row(name, (2, *sizes), kernel_size=3, data_format="channels_first", **more),
            layer_row(
                name,
                (*sizes, 2),
                kernel_size=3,
                strides=2,
                padding="same",
                **more,
                row={"free": tuple(range(rank + 1))},
            ),
        ]
    return rows


def _pooling() -> list[LayerRow]:
    rows = []
    for rank, sizes in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 5))):
        more: dict[str, Any] = FLOAT if rank == 3 else {}
        free = {**more, "free": tuple(range(rank + 1))}
        for kind in ("Max", "Average"):
            for padding, strides, size in itertools.product(("valid", "same"), (None, 1, 2), (2, 3)):
                rows.append(
                    layer_row(
                        f"{kind}Pooling{rank}D", (*sizes, 2), pool_size=size, strides=strides, padding=padding, row=more
                    )
                )
            rows += [
                layer_row(f"{kind}Pooling{rank}D", (2, *sizes), pool_size=2, data_format="channels_first", row=more),
                layer_row(f"{kind}Pooling{rank}D", (*sizes, 2), pool_size=3, strides=2, padding="same", row=free),
                layer_row(f"Global{kind}Pooling{rank}D", (*sizes, 2)),
                layer_row(f"Global{kind}Pooling{rank}D", (2, *sizes), data_format="channels_first", keepdims=True),
            ]
            for output in (2, 3):  # Keras fails at 1
                rows.append(layer_row(f"Adaptive{kind}Pooling{rank}D", (*sizes, 2), output_size=output, row=more))
            rows.append(
                layer_row(
                    f"Adaptive{kind}Pooling{rank}D", (2, *sizes), output_size=2, data_format="channels_first", row=more
                )
            )
    rows.append(
        layer_row("GlobalAveragePooling1D", (5, 2), _mask(2, 5), row={"call": lambda layer, x: layer(x[0], mask=x[1])})
    )
    return rows


def _normalizations() -> list[LayerRow]:
    cancel = {"tolerance": {"float32": 1e-4}, "reason": "sums nearly cancel in the second derivative"}
    return [
        layer_row("BatchNormalization", (4, 3)),
        layer_row("BatchNormalization", (3, 4), axis=1, scale=False),
        layer_row("BatchNormalization", (4, 3, 2), center=False, row={"free": (0, 1, 2)}),
        layer_row("BatchNormalization", (4, 3), row={"call": lambda layer, x: layer(x[0], training=True), **cancel}),
        layer_row("BatchNormalization", (3, 4, 2), row={"call": lambda layer, x: layer(x[0], training=True), **cancel}),
        layer_row("LayerNormalization", (4, 5), row=cancel),
        layer_row("LayerNormalization", (4, 5), axis=(1, 2), row=cancel),
        layer_row("LayerNormalization", (4, 5), axis=1, scale=False, center=False, row=cancel),
        layer_row("GroupNormalization", (4, 3, 6), groups=2, row=cancel),
        layer_row("GroupNormalization", (4, 3, 6), groups=-1, row=cancel),
        layer_row("GroupNormalization", (6, 4, 3), groups=3, axis=1, row=cancel),
        layer_row("RMSNormalization", (4, 5)),
        layer_row("RMSNormalization", (4, 5), axis=(1, 2)),
        layer_row("UnitNormalization", (4, 5)),
        layer_row("UnitNormalization", (4, 5), axis=(1, 2)),
        layer_row("SpectralNormalization", (4,), layer=lambda dtype: keras.layers.Dense(3, dtype=dtype)),
        layer_row("SpectralNormalization", (5, 4, 2), layer=lambda dtype: keras.layers.Conv2D(3, 2, dtype=dtype)),
        layer_row("Normalization", (4, 3), mean=[1.0, 2.0, 3.0], variance=[0.5, 1.0, 2.0]),
        layer_row("Normalization", (4, 3), mean=0.5, variance=2.0, axis=None, invert=True),
    ]


def _attention() -> list[LayerRow]:
    def masked(layer: Any, x: Sequence[Any]) -> Any:
        return layer([x[0], x[1]], mask=[x[2], x[3]])

    def masked_heads(layer: Any, x: Sequence[Any]) -> Any:
        return layer(x[0], x[1], query_mask=x[2], value_mask=x[3])

    def causal(layer: Any, x: Sequence[Any]) -> Any:
        return layer(x[0], x[0], use_causal_mask=True)

    def causal_list(layer: Any, x: Sequence[Any]) -> Any:
        return layer([x[0], x[0]], use_causal_mask=True)

    def heads(layer: Any, x: Sequence[Any]) -> Any:
        return layer(*x)

    def with_scores(layer: Any, x: Sequence[Any]) -> Any:
        return layer(x[0], x[1], return_attention_scores=True)

    query, value, masks = (4, 6), (5, 6), (_mask(2, 4), _mask(2, 5))
    rows = []
    for name in ("Attention", "AdditiveAttention"):
        rows += [
            layer_row(name, query, value),
            layer_row(name, query, value, row={"free": (0, 1)})
            if name == "Attention"
            else layer_row(name, query, value, value),
            layer_row(name, query, value, *masks, row={"call": masked}),
            layer_row(name, query, row={"call": causal_list}),
        ]
    rows += [
        layer_row("Attention", query, value, score_mode="concat"),
        layer_row("Attention", query, value, use_scale=True),
    ]
    for name, options in (
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}),
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "value_dim": 2, "output_shape": 5, "use_bias": False}),
        ("GroupQueryAttention", {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}),
    ):
        rows += [
            layer_row(name, query, value, **options, row={"call": heads}),
            layer_row(name, query, value, **options, row={"call": heads, "free": (0, 1)}),
            layer_row(name, query, value, *masks, **options, row={"call": masked_heads}),
            layer_row(name, query, **options, row={"call": causal}),
            layer_row(name, query, value, **options, row={"call": with_scores}),
        ]
    rows.append(
        layer_row(
            "MultiHeadAttention", (2, 3, 4), (2, 5, 4), num_heads=2, key_dim=3, attention_axes=(2,), row={"call": heads}
        )
    )
    return rows


def _resizing() -> list[LayerRow]:
    rows = [
        layer_row("UpSampling1D", (4, 3), size=3),
        layer_row("UpSampling1D", (4, 3), size=2, row={"free": (0, 1)}),
        layer_row("UpSampling2D", (4, 3, 2), size=(2, 3)),
        layer_row("UpSampling2D", (4, 3, 2), size=2, row={"free": (0, 1, 2)}),
        layer_row("UpSampling2D", (2, 4, 3), size=2, data_format="channels_first"),
        layer_row("UpSampling3D", (2, 3, 2, 2), size=(2, 1, 3)),
        layer_row("UpSampling3D", (2, 2, 3, 2), size=2, data_format="channels_first"),
    ]
    for interpolation in ("bilinear", "bicubic", "lanczos3", "lanczos5"):
        extra = KERNEL if "lanczos" in interpolation else RESAMPLED
        rows.append(layer_row("UpSampling2D", (4, 3, 2), size=(2, 3), interpolation=interpolation, row=extra))
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area"):
        extra = (
            {**RESAMPLED, "order": 0}
            if interpolation == "area"
            else KERNEL
            if "lanczos" in interpolation
            else RESAMPLED
        )
        for size in ((7, 5), (2, 3)):
            rows.append(
                layer_row("Resizing", (5, 4, 3), height=size[0], width=size[1], interpolation=interpolation, row=extra)
            )
            if interpolation not in ("nearest", "area"):
                rows.append(
                    layer_row(
                        "Resizing",
                        (5, 4, 3),
                        height=size[0],
                        width=size[1],
                        interpolation=interpolation,
                        antialias=True,
                        row=KERNEL,
                    )
                )
    rows += [
        layer_row("Resizing", (5, 8, 3), height=4, width=4, crop_to_aspect_ratio=True, row=RESAMPLED),
        layer_row("Resizing", (5, 8, 3), height=4, width=4, pad_to_aspect_ratio=True, row=RESAMPLED),
        layer_row("Resizing", (3, 5, 4), height=4, width=4, data_format="channels_first", row=RESAMPLED),
        layer_row("CenterCrop", (5, 6, 3), height=3, width=4),
        layer_row("CenterCrop", (5, 6, 3), height=8, width=4, row=RESAMPLED),
        layer_row("CenterCrop", (3, 5, 6), height=3, width=4, data_format="channels_first"),
        layer_row("ZeroPadding1D", (4, 3), padding=(1, 2), row={"free": (0, 1)}),
        layer_row("ZeroPadding2D", (4, 3, 2), padding=((1, 0), (2, 3)), row={"free": (0, 1, 2)}),
        layer_row("ZeroPadding2D", (2, 4, 3), padding=2, data_format="channels_first"),
        layer_row("ZeroPadding3D", (2, 3, 2, 2), padding=(1, 0, 2)),
        layer_row("Cropping1D", (6, 3), cropping=(1, 2), row={"free": (0, 1)}),
        layer_row("Cropping2D", (6, 5, 2), cropping=((1, 0), (2, 1)), row={"free": (0, 1, 2)}),
        layer_row("Cropping2D", (2, 6, 5), cropping=1, data_format="channels_first"),
        layer_row("Cropping3D", (4, 5, 4, 2), cropping=(1, 0, 1)),
    ]
    return rows


def _plain() -> list[LayerRow]:
    merging = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    return [
        *[layer_row(name, (3, 4), (3, 4)) for name in merging],
        *[layer_row(name, (3, 4), (1, 4)) for name in merging],
        *[layer_row(name, (4,), (4,), (4,)) for name in merging if name != "Subtract"],
        layer_row("Concatenate", (3, 4), (3, 2)),
        layer_row("Concatenate", (3, 4), (2, 4), axis=1),
        layer_row("Dot", (4,), (4,), axes=1),
        layer_row("Dot", (3, 4), (5, 4), axes=2),
        layer_row("Dot", (3, 4), (4, 2), axes=(2, 1), normalize=True),
        layer_row("Dense", (5,), units=3, activation="tanh"),
        layer_row("Dense", (2, 5), units=3, use_bias=False, row={"free": (0, 1)}),
        layer_row("EinsumDense", (4, 5), equation="abc,cd->abd", output_shape=(None, 3), bias_axes="d"),
        layer_row("EinsumDense", (4, 5), equation="abc,bcd->ad", output_shape=3),
        layer_row("EinsumDense", (4, 5), equation="...x,xy->...y", output_shape=3, activation="gelu"),
        layer_row(
            "Embedding",
            _integers(7, 2, 5),
            (5, 3),
            input_dim=7,
            output_dim=3,
            row={"call": lambda layer, x: layer(x[0]) * x[1]},
        ),
        layer_row(
            "ReversibleEmbedding",
            (5, 3),
            input_dim=7,
            output_dim=3,
            row={"call": lambda layer, x: layer(x[0], reverse=True)},
        ),
        layer_row("Activation", (4,), activation="silu"),
        layer_row("ELU", (4,), alpha=0.7),
        layer_row("LeakyReLU", (4,), negative_slope=0.2),
        layer_row("PReLU", (4, 3), shared_axes=(1,)),
        layer_row("ReLU", (4,), max_value=1.0, negative_slope=0.1, threshold=0.2, row=FIRST),
        layer_row("ReLU", (4,)),
        layer_row("Softmax", (4, 3)),
        layer_row("Softmax", (4, 3), axis=(1, 2)),
        layer_row("Softmax", (4, 3), _mask(2, 4, 3), row={"call": lambda layer, x: layer(x[0], mask=x[1])}),
        layer_row("Identity", (4,)),
        layer_row("Lambda", (4,), function=lambda dtype: lambda x: x * x),
        layer_row("Flatten", (4, 3)),
        layer_row("Flatten", (3, 4, 2), data_format="channels_first", row={"free": (0,)}),
        layer_row("Reshape", (4, 3), target_shape=(6, -1)),
        layer_row("Permute", (4, 3, 2), dims=(3, 1, 2)),
        layer_row("RepeatVector", (4,), n=3),
        layer_row("Masking", (4, 3)),
        layer_row("TimeDistributed", (4, 3), layer=lambda dtype: keras.layers.Dense(2, dtype=dtype)),
        layer_row("TimeDistributed", (3, 5, 4, 2), layer=lambda dtype: keras.layers.Conv2D(2, 2, dtype=dtype)),
        layer_row("Rescaling", (4,), scale=0.3, offset=-1.0),
        layer_row("Rescaling", (4, 3), scale=[0.3, 0.5, 1.0], offset=0.5),
        layer_row("ActivityRegularization", (4,), l1=0.1),
        layer_row("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, mode="magnitude", row=FIRST),
        layer_row("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, mode="psd"),
        layer_row("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, mode="log", window="hamming", row=FIRST),
        layer_row("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, mode="real"),
        layer_row(
            "STFTSpectrogram", (64, 2), frame_length=16, frame_step=8, mode="imag", expand_dims=True, padding="same"
        ),
        layer_row("STFTSpectrogram", (64, 1), frame_length=16, frame_step=8, mode="angle", row=FIRST),
        layer_row(
            "MelSpectrogram",
            (128,),
            fft_length=32,
            sequence_stride=16,
            num_mel_bins=6,
            sampling_rate=400,
            min_freq=10,
            row={
                "tolerance": {"float32": 1e-4},
                "order": 1,
                "dtypes": ("float32",),
                "reason": "Keras mixes dtypes in double precision; decibels: the logarithm of nearly nothing",
            },
        ),
    ]


def _random() -> list[LayerRow]:
    """At inference they pass their input on."""
    image = _picture(2, 4, 5, 3)
    return [
        layer_row("Dropout", (4,), rate=0.3),
        layer_row("AlphaDropout", (4,), rate=0.3),
        layer_row("GaussianDropout", (4,), rate=0.3),
        layer_row("GaussianNoise", (4,), stddev=0.3),
        *[layer_row(f"SpatialDropout{rank}D", (*[3] * rank, 2), rate=0.3) for rank in (1, 2, 3)],
        *[
            layer_row(name, image, **options, row={"order": 1, "call": lambda layer, x: layer(x[0], training=False)})
            for name, options in {
                "RandomBrightness": {"factor": 0.2, "value_range": (0, 1)},
                "RandomColorDegeneration": {"factor": 0.2},
                "RandomColorJitter": {"value_range": (0, 1)},
                "RandomContrast": {"factor": 0.2},
                "RandomElasticTransform": {"value_range": (0, 1)},
                "RandomErasing": {},
                "RandomFlip": {},
                "RandomGaussianBlur": {},
                "RandomGrayscale": {},
                "RandomHue": {"factor": 0.2, "value_range": (0, 1)},
                "RandomInvert": {"value_range": (0, 1)},
                "Solarization": {"value_range": (0, 1)},
                "RandomPerspective": {},
                "RandomPosterization": {"factor": 3, "value_range": (0, 1)},
                "RandomRotation": {"factor": 0.2},
                "RandomSaturation": {"factor": 0.2},
                "RandomSharpness": {"factor": 0.2},
                "RandomShear": {},
                "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
                "RandomZoom": {"height_factor": 0.2},
                "AugMix": {"value_range": (0, 1)},
                "AutoContrast": {"value_range": (0, 1)},
                "CutMix": {},
                "MixUp": {},
                "RandAugment": {"value_range": (0, 1)},
            }.items()
        ],
        layer_row(
            "RandomCrop",
            image,
            height=2,
            width=3,
            row={"order": 1, "call": lambda layer, x: layer(x[0], training=False)},
        ),
        layer_row("Pipeline", (4,), layers=lambda dtype: [keras.layers.Rescaling(0.5, dtype=dtype)], row=FIRST),
    ]


ROWS: list[LayerRow] = [
    *_convolutions(),
    *_pooling(),
    *_normalizations(),
    *_attention(),
    *_resizing(),
    *_plain(),
    *_random(),
]

# Recurrent layers: tests/keras/test_recurrent.py.
RECURRENT = {
    "Bidirectional",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "RNN",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
}

# Layers that are not in the table, each with the reason.
EXCLUDED: dict[str, str] = {
    "Layer": "the base class computes nothing",
    "Wrapper": "a base class",
    "InputLayer": "the place of an input, no computation",
    "InputSpec": "a description, not a layer",
    "CategoryEncoding": "integers, no derivative; beside other inputs: tests/exporter/sources/test_rare_sources.py",
    "Discretization": "integers, no derivative; beside other inputs: tests/exporter/sources/test_rare_sources.py",
    "HashedCrossing": "strings or integers, no derivative",
    "Hashing": "strings or integers, no derivative",
    "IntegerLookup": "integers, no derivative",
    "StringLookup": "strings, no derivative; beside floats: tests/exporter/sources/test_inputs_of_strings.py",
    "TextVectorization": "strings, no derivative; beside floats: tests/exporter/sources/test_inputs_of_strings.py",
    "MaxNumBoundingBoxes": "pads labels, no derivative",
    "Equalization": "histograms of 8-bit values, its derivative is 0; Keras leaves it out of functional models",
    "ContrastLimitedAdaptiveHistogramEqualization": "histograms of 8-bit values, no derivative",
    "FlaxLayer": "runs JAX code, not TensorFlow",
    "JaxLayer": "runs JAX code, not TensorFlow",
    "TorchModuleWrapper": "runs PyTorch code, not TensorFlow",
    "TFSMLayer": "a SavedModel, a source of its own (tests/exporter)",
}
