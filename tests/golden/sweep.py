"""The golden bundles on the oldest and the newest supported ONNX Runtime: ``make sweep``.

Each version is installed, with nothing but NumPy, into an environment that is thrown away afterwards.
``python -m tests.golden.sweep 1.30.0 1.31.1`` asks others.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bounds(package: str) -> tuple[str, str]:
    """What pip calls the oldest and the newest version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (found,) = (line for line in project["dependencies"] if re.match(rf"{package}\b", line))
    oldest = re.search(r">=([\d.]+)", found)
    assert oldest is not None, found
    return f"{package}=={oldest[1]}.*", found


def replay(packages: list[str]) -> int:
    """The exit code of ``replay.py`` where these packages are installed."""
    print(f"\n{' '.join(packages)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        return subprocess.run([python, ROOT / "tests" / "golden" / "replay.py"], check=False).returncode


def main(versions: list[str]) -> int:
    """The number of versions with which a number was off."""
    oldest, newest = bounds("onnxruntime")
    chosen = [f"onnxruntime=={version}" for version in versions] or [oldest, newest]
    old_numpy = "numpy==1.26.*" if sys.version_info < (3, 13) else "numpy==2.1.*"  # the first one that it can install
    return sum(bool(replay([old_numpy if one == oldest else bounds("numpy")[1], one])) for one in chosen)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
