"""What an engine brings with it: its own requirements and theirs, and nothing of Pullback's extras."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tests.benchmarks import engines, footprint


def test_runtime_requires_no_tensorflow() -> None:
    found = footprint.required(["pullback"])
    assert {"pullback", "numpy", "onnxruntime"} <= found
    assert not {"tensorflow", "keras", "onnx"} & found


def test_an_extra_is_what_it_adds() -> None:
    assert footprint.required(["pullback[savedmodel]"]) > footprint.required(["pullback"]) | {"tensorflow"}


def test_what_is_not_installed_counts_nothing() -> None:
    assert footprint.installed_bytes(["no-such-distribution"]) == 0


def test_each_requirement_is_counted_once() -> None:
    package = pathlib.Path(np.__file__).parent
    alone = footprint.installed_bytes(["numpy"])
    assert alone == footprint.installed_bytes(["numpy", "numpy"])
    assert alone > footprint.folder_bytes(package, "*.py")


@pytest.mark.parametrize("engine", engines.ENGINES, ids=lambda engine: engine.name)
def test_every_engine_says_what_it_installs(engine: engines.Engine) -> None:
    assert engine.installs
