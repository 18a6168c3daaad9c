"""The machine that measures, and the versions on it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pathlib
import platform
import time

PACKAGES = (
    "onnxruntime",
    "tensorflow",
    "keras",
    "jax",
    "torch",
    "tf2onnx",
    "onnxscript",
    "onnx-ad",
    "openvino",
    "numpy",
)


@functools.cache
def name() -> str:
    """The processor and how many of them, as tables name a machine."""
    return f"{_processor()}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """The day, Python's version and those of the packages that are installed."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"date": time.strftime("%Y-%m-%d"), "Python": platform.python_version(), "with": ", ".join(found)}


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
