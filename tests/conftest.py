"""Settings for every environment that tests run in; nothing here needs TensorFlow."""

import contextlib
import gc
import os
from typing import Any

import pytest
from pullback import onednn

from tests import rotation

# Before TensorFlow is imported: no chatter, one thread for each of the parallel test processes, and no oneDNN, which
# on processors with AVX-512 gives wrong products.
onednn.switch_off()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# On a machine that others use, too, seconds say nothing; not every environment has hypothesis.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("ours", deadline=None)
    settings.load_profile("ours")

# What was installed is tested in the environments that the Makefile makes for it.
collect_ignore = [] if "PULLBACK_INSTALLED" in os.environ else ["installed"]
# PyTorch and JAX have an environment of their own, without TensorFlow; `make test-all` makes it.
if os.environ.get("PULLBACK_INSTALLED") != "frameworks":
    collect_ignore.append("frameworks")
if os.environ.get("PULLBACK_INSTALLED") != "clusters":
    collect_ignore.append("clusters")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: millions of objects, which the collector need not look at again.

    Left alone it took 591 of 3,000 seconds in a sample of the tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which variants of the tables' rows this run covered."""
    terminalreporter.write_line(rotation.summary())


def pytest_report_header() -> str:
    """Whether the run was on a processor that shows TensorFlow's defect."""
    setting = ", ".join(
        f"{name}={os.environ[name]}" for name in (onednn.SWITCH, *onednn.LIMITS) if os.environ.get(name)
    )
    return f"processor: {'with' if onednn.has_avx512() else 'without'} AVX-512; {setting or 'oneDNN as by default'}"


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share a module's costly fixture (an export, the demo) go to one process, which makes it once."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        definitions = item._fixtureinfo.name2fixturedefs.items()  # type: ignore[attr-defined]
        shared = sorted(name for name, found in definitions if found[-1].scope == "module")
        if shared:
            numbers = item.callspec.indices if hasattr(item, "callspec") else {}
            chosen = [str(numbers[name]) for name in shared if name in numbers]
            _put_in_group(item, ".".join([item.nodeid.split("::")[0], *chosen]))


def _put_in_group(item: pytest.Item, group: str) -> None:
    """xdist reads the group off the end of the test's name, where it writes it itself, and pytest 9.2 overlooks it."""
    item.add_marker(pytest.mark.xdist_group(group))
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(f"{item.nodeid}@{group}")
