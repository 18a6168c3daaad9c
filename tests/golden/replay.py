"""Replays every golden bundle at every optimisation level: ``python tests/golden/replay.py [FOLDER]``.

Needs the runtime's dependencies alone, so that any version of ONNX Runtime can be asked. Prints the worst error of
each bundle, as a part of what is allowed, and exits with 1 when one is off.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(folder: Path) -> int:
    """Print one line for each bundle and level; the number of those that failed."""
    import numpy
    import onnxruntime
    import pullback
    from pullback.backends.sessions import LEVELS

    print(f"ONNX Runtime {onnxruntime.__version__}, NumPy {numpy.__version__}, Python {sys.version.split()[0]}")
    failed = 0
    for path in sorted(folder.glob("*.pullback")):
        cells = []
        for level in LEVELS:
            try:
                report = pullback.load(path, optimization=level).compare()
            except pullback.PullbackError as error:
                failed += 1
                cells.append(f"{level}: {error}")
                continue
            failed += not report.ok
            worst = max(row.relative_error / row.bound if row.bound else float(not row.ok) for row in report.rows)
            cells.append(f"{level} {worst:.2%}{'' if report.ok else ' FAILED'}")
        print(f"{path.stem:20} {', '.join(cells)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "runtime"))
    sys.exit(bool(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "golden" / "v1")))
