"""Settings for every environment that tests run in; nothing here needs TensorFlow."""

import os
from typing import Any

import pytest

from tests import rotation

# Before TensorFlow is imported: no chatter, and one thread for each of the parallel test processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# What was installed is tested in the environments that the Makefile makes for it.
collect_ignore = [] if "PULLBACK_INSTALLED" in os.environ else ["installed"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which variants of the tables' rows this run covered."""
    terminalreporter.write_line(rotation.summary())


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
            item.add_marker(pytest.mark.xdist_group(".".join([item.nodeid.split("::")[0], *chosen])))
