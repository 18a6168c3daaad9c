"""Every file of ``overrides/`` still has its reason: the installed TensorFlow and Keras have the defect."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys

import pytest
from pullback import onednn
from pullback_export import overrides
from pullback_export.overrides import OVERRIDES

from tests.exporter.overrides.defects import DEFECTS
from tests.rotation import in_turn

# Files of the folder that change nothing by themselves.
TOOLS = {"__init__", "registered_gradient", "temporary_change"}
# Defects that are looked for in a process of their own, which may crash; those of oneDNN are only in builds for x86.
CRASHING = {"batched_product", "empty_convolution", "strided_1x1_convolution"}
ON_AVX512 = {"batched_product"}
# Defects that only TensorFlow without oneDNN has.
WITHOUT_ONEDNN = {"dilated_convolution", "empty_convolution"}
# With one thread each, as tests run, nothing overtakes anything and the defect stays hidden.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def files() -> set[str]:
    folder = pathlib.Path(overrides.__path__[0])
    return {path.stem for path in (*folder.glob("*.py"), *folder.glob("convolutions/*.py"))} - TOOLS


def test_every_file_names_a_defect_that_is_looked_for() -> None:
    assert files() == set(DEFECTS)


def test_overrides_enters_the_files_of_the_folder() -> None:
    modules = [override.__module__.rsplit(".", 1)[1] for override in OVERRIDES]
    assert len(set(modules)) == len(modules)
    assert set(modules) <= files()


@pytest.mark.parametrize("name", sorted(set(DEFECTS) - CRASHING))
def test_the_defect_is_still_there(name: str) -> None:
    if name in WITHOUT_ONEDNN and os.environ.get(onednn.SWITCH, "1").lower() not in ("0", "false"):
        pytest.skip(f"oneDNN has the kernels whose absence is the defect; {onednn.SWITCH}=0 runs this")
    assert DEFECTS[name](), f"mended upstream: remove overrides/{name}.py, its row and its defect"


@pytest.mark.parametrize("name", in_turn("defects that may crash", sorted(CRASHING)))
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is only in builds for x86")
def test_the_defect_that_may_crash_is_still_there(name: str) -> None:
    if name in ON_AVX512 and not onednn.has_avx512():
        pytest.skip("the processor has no AVX-512, where the defect is")
    environment = {key: item for key, item in os.environ.items() if key not in (*THREADS, *onednn.LIMITS)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.exporter.overrides.defects", name],
        env={**environment, onednn.SWITCH: str(int(name not in WITHOUT_ONEDNN))},
        cwd=pathlib.Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    crashed = done.returncode < 0 or done.returncode in (134, 139)
    assert crashed or done.stdout.splitlines()[-1:] == ["present"], (
        f"mended upstream: remove overrides/{name}.py, its row and its defect\n{done.stderr[-2000:]}"
    )
