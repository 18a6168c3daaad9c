"""Rows for ``lowering/spectral.py`` and ``lowering/fourier.py``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed


def of_complex(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda real, imag: function(tf.complex(real, imag))


def complex_row(
    name: str, op: str, function: Callable[..., Any], *shape: int, free: tuple[int, ...] = (0,), order: int = 2
) -> Case:
    return Case(
        name, (op, "Complex"), of_complex(function), (Arg(shape, free=free), Arg(shape, free=free)), order=order
    )


def real_row(
    name: str, op: str, function: Callable[..., Any], *shape: int, free: tuple[int, ...] = (0,), order: int = 2
) -> Case:
    return Case(name, op, function, (Arg(shape, free=free),), order=order)


# TensorFlow has no gradient of a transform that cuts its input (it fails while tracing) nor of one of three real axes.
CASES = [
    complex_row("fft", "FFT", tf.signal.fft, 3, 8),
    complex_row("fft_one", "FFT", tf.signal.fft, 3, 1),
    complex_row("fft_odd", "FFT", tf.signal.fft, 2, 3, 7),
    complex_row("fft_vector", "FFT", tf.signal.fft, 6, free=()),
    complex_row("fft_dense_limit", "FFT", tf.signal.fft, 2, 64),
    complex_row("fft_long", "FFT", tf.signal.fft, 2, 128),
    complex_row("fft_long_odd", "FFT", tf.signal.fft, 2, 2, 101),
    complex_row("fft_free_length", "FFT", tf.signal.fft, 2, 12, free=(0, 1)),
    complex_row("fft_free_length_long", "FFT", tf.signal.fft, 2, 96, free=(0, 1)),
    complex_row("fft_no_rows", "FFT", tf.signal.fft, 0, 8, order=1),
    complex_row("fft_no_rows_long", "FFT", tf.signal.fft, 0, 100, order=1),
    complex_row("ifft", "IFFT", tf.signal.ifft, 3, 6),
    complex_row("ifft_long", "IFFT", tf.signal.ifft, 3, 256),
    complex_row("ifft_long_even", "IFFT", tf.signal.ifft, 3, 70),
    complex_row("ifft_free_length", "IFFT", tf.signal.ifft, 2, 9, free=(1,)),
    complex_row("fft2d", "FFT2D", tf.signal.fft2d, 2, 4, 5),
    complex_row("fft2d_long", "FFT2D", tf.signal.fft2d, 2, 66, 5),
    complex_row("fft2d_free", "FFT2D", tf.signal.fft2d, 2, 6, 5, free=(0, 1, 2)),
    complex_row("ifft2d", "IFFT2D", tf.signal.ifft2d, 2, 3, 4),
    complex_row("fft3d", "FFT3D", tf.signal.fft3d, 2, 3, 4, 5),
    complex_row("ifft3d", "IFFT3D", tf.signal.ifft3d, 2, 3, 4, 5),
    real_row("rfft", "RFFT", tf.signal.rfft, 3, 8),
    real_row("rfft_odd", "RFFT", tf.signal.rfft, 3, 7),
    real_row("rfft_padded", "RFFT", partial(tf.signal.rfft, fft_length=[11]), 3, 8),
    real_row("rfft_cut", "RFFT", partial(tf.signal.rfft, fft_length=[6]), 3, 8, order=0),
    real_row("rfft_long", "RFFT", tf.signal.rfft, 3, 128),
    real_row("rfft_long_odd", "RFFT", tf.signal.rfft, 3, 77),
    real_row("rfft_free_length", "RFFT", tf.signal.rfft, 2, 10, free=(0, 1)),
    real_row("rfft2d", "RFFT2D", tf.signal.rfft2d, 2, 4, 6),
    real_row("rfft2d_odd", "RFFT2D", tf.signal.rfft2d, 2, 5, 7),
    real_row("rfft2d_lengths", "RFFT2D", partial(tf.signal.rfft2d, fft_length=[6, 8]), 2, 4, 7),
    real_row("rfft2d_cut", "RFFT2D", partial(tf.signal.rfft2d, fft_length=[3, 5]), 2, 4, 7, order=0),
    real_row("rfft3d", "RFFT3D", tf.signal.rfft3d, 2, 3, 4, 6, order=0),
    complex_row("irfft", "IRFFT", tf.signal.irfft, 3, 5),
    complex_row("irfft_odd", "IRFFT", partial(tf.signal.irfft, fft_length=[9]), 3, 5),
    complex_row("irfft_cut", "IRFFT", partial(tf.signal.irfft, fft_length=[8]), 3, 5),
    complex_row("irfft_long", "IRFFT", tf.signal.irfft, 3, 65),
    complex_row("irfft_long_odd", "IRFFT", partial(tf.signal.irfft, fft_length=[77]), 3, 39),
    complex_row("irfft_free_length", "IRFFT", tf.signal.irfft, 2, 6, free=(0, 1)),
    complex_row("irfft2d", "IRFFT2D", tf.signal.irfft2d, 2, 4, 4),
    complex_row("irfft2d_odd", "IRFFT2D", partial(tf.signal.irfft2d, fft_length=[3, 5]), 2, 3, 3),
    complex_row("irfft3d", "IRFFT3D", tf.signal.irfft3d, 2, 3, 4, 4, order=0),
    # A length that is an input. TensorFlow differentiates RFFT only where the length is that of the input.
    *[
        Case(
            f"rfft_length_of_data_{length}",
            "RFFT",
            lambda x, n: tf.signal.rfft(x, n),
            (Arg((3, 6)), fixed([length], "int32", ())),
            order=0,
        )
        for length in (4, 6, 9, 1)
    ],
    *[
        Case(
            f"irfft_length_of_data_{length}",
            "IRFFT",
            lambda real, imag, n: tf.signal.irfft(tf.complex(real, imag), n),
            (Arg((3, 5)), Arg((3, 5)), fixed([length], "int32", ())),
            order=1 if length in (8, 9) else 0,
        )
        for length in (4, 8, 9, 13)
    ],
    Case(
        "rfft2d_length_of_data",
        "RFFT2D",
        lambda x, n: tf.signal.rfft2d(x, n),
        (Arg((2, 4, 6)), fixed([3, 8], "int32", ())),
        order=0,
    ),
]
