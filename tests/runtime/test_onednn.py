"""oneDNN is off before TensorFlow is imported, unless the environment has decided otherwise."""

from __future__ import annotations

import os
import sys

import pytest
from pullback import onednn


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (onednn.SWITCH, *onednn.LIMITS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("avx512", [True, False])
@pytest.mark.parametrize(
    ("settings", "unsafe"),
    [
        ({}, True),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        ({"TF_ENABLE_ONEDNN_OPTS": "false"}, False),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        ({"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        ({"DNNL_MAX_CPU_ISA": "avx2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, True),
    ],
)
def test_settings(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], unsafe: bool, avx512: bool) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(onednn, "has_avx512", lambda: avx512)
    assert onednn.is_unsafe() == (unsafe and avx512)
    before = {name: os.environ.get(name) for name in (onednn.SWITCH, *onednn.LIMITS)}
    onednn.switch_off()
    after = {name: os.environ.get(name) for name in (onednn.SWITCH, *onednn.LIMITS)}
    assert after == (before if settings else {**before, onednn.SWITCH: "0"})


def test_before_tensorflow_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert onednn.make_safe.__wrapped__()
    assert os.environ[onednn.SWITCH] == "0"
