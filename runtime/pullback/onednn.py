"""TensorFlow's oneDNN on processors with AVX-512: how it is switched off, and whether a process has it on.

TensorFlow 2.21 with oneDNN on, its default, writes outside of its buffers there in batched matrix products that
broadcast: ``tf.matmul`` of ``(4, 1, 16, 16)`` and ``(1, 16, 12)`` gives 1e34, NaN or a crash. Products are right with
oneDNN off, and with its instructions limited to AVX2. Whether it is on is read when TensorFlow is imported; the limit
of the instructions is read when oneDNN first computes. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import sys

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_SAFE_LIMITS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
_OFF = ("0", "false")


class UnsafeTensorFlowWarning(RuntimeWarning):
    """TensorFlow was imported with settings under which it can give wrong numbers or crash on this processor."""


@functools.cache
def make_safe() -> bool:
    """Whether products of TensorFlow are right in this process, after what can be done about it; asked once.

    Before TensorFlow is imported, oneDNN is switched off; after it, its instructions are limited, which is in time
    where nothing was computed yet. What the environment says already is left as it is.
    """
    if "tensorflow" not in sys.modules:
        switch_off()
        return not is_unsafe()
    if not has_avx512() or not _is_on() or _is_limited():
        return True
    if is_decided():
        return False
    os.environ[LIMITS[0]] = "AVX2"
    return not _has_computed()


def switch_off() -> None:
    """Makes a TensorFlow that is imported later run without oneDNN, unless the environment has decided otherwise."""
    if not is_decided():
        os.environ[SWITCH] = "0"


def is_decided() -> bool:
    """Whether the environment says if, or with which instructions, TensorFlow uses oneDNN."""
    return any(os.environ.get(name) for name in (SWITCH, *LIMITS))


def is_unsafe() -> bool:
    """Whether a TensorFlow that reads the environment as it is now runs the defective products on this processor."""
    return has_avx512() and os.environ.get(SWITCH, "1").lower() not in _OFF and not _is_limited()


@functools.cache
def has_avx512() -> bool:
    """Whether the processor has AVX-512, as Linux says; False where Linux does not say."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    return any("avx512f" in line.split() for line in lines if line.startswith("flags"))


def _is_limited() -> bool:
    return any(os.environ.get(name, "").upper() in _SAFE_LIMITS for name in LIMITS)


def _is_on() -> bool:
    """What TensorFlow, imported already, found in the environment then."""
    try:
        port = importlib.import_module("tensorflow.python.util._pywrap_util_port")
        return bool(port.IsMklEnabled())
    except (ImportError, AttributeError):
        return os.environ.get(SWITCH, "1").lower() not in _OFF


def _has_computed() -> bool:
    """Whether TensorFlow, imported already, may have computed something; True where that cannot be told."""
    try:
        context = importlib.import_module("tensorflow.python.eager.context")
        return context.context_safe() is not None and bool(context.context()._initialized)
    except (ImportError, AttributeError):
        return True
