"""Fourier transforms of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from keras import ops

from tests.lowering.case import Arg, Case


def row(
    name: str, function: Callable[..., Any], *shapes: tuple[int, ...], free: tuple[int, ...] = (0,), order: int = 2
) -> Case:
    return Case(f"keras_{name}", (), function, tuple(Arg(shape, free=free) for shape in shapes), order=order)


def pair(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda real, imag: function((real, imag), **options)


STFT = {"sequence_length": 8, "sequence_stride": 4, "fft_length": 8}

ROWS: dict[str, list[Case]] = {
    "fft": [row("fft", pair(ops.fft), (3, 8), (3, 8)), row("fft_odd", pair(ops.fft), (2, 3, 7), (2, 3, 7))],
    "fft2": [row("fft2", pair(ops.fft2), (3, 4, 6), (3, 4, 6))],
    "ifft2": [row("ifft2", pair(ops.ifft2), (3, 4, 6), (3, 4, 6))],
    "rfft": [row("rfft", ops.rfft, (3, 8)), row("rfft_padded", partial(ops.rfft, fft_length=11), (3, 8))],
    "irfft": [
        row("irfft", pair(ops.irfft), (3, 5), (3, 5)),
        row("irfft_odd", pair(ops.irfft, fft_length=9), (3, 5), (3, 5)),
    ],
    "extract_sequences": [
        row("extract_sequences", partial(ops.extract_sequences, sequence_length=4, sequence_stride=3), (3, 16)),
        row(
            "extract_sequences_overlap",
            partial(ops.extract_sequences, sequence_length=5, sequence_stride=2),
            (2, 2, 12),
        ),
    ],
    "stft": [
        row("stft", partial(ops.stft, **STFT), (3, 24)),
        row("stft_plain", partial(ops.stft, **STFT, center=False, window=None), (3, 24)),
        row(
            "stft_hamming",
            partial(ops.stft, sequence_length=6, sequence_stride=3, fft_length=8, window="hamming"),
            (3, 21),
        ),
    ],
    "istft": [
        row("istft", pair(ops.istft, **STFT), (3, 6, 5), (3, 6, 5)),
        row("istft_length", pair(ops.istft, **STFT, length=16), (3, 6, 5), (3, 6, 5)),
        row("istft_plain", pair(ops.istft, **STFT, center=False, window=None), (3, 6, 5), (3, 6, 5)),
    ],
}
