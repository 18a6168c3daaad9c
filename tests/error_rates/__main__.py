"""``python -m tests.error_rates``: plants every fault, exports every right row, and prints both error rates.

``--publish`` writes ``docs/gate.md``; ``--every N`` takes each N-th of both, for a quick look.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.error_rates.page import PAGE, WRONG, page, summary
from tests.error_rates.run import run, tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every fault was caught and nothing right refused, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.error_rates", description=__doc__)
    parser.add_argument("--publish", action="store_true", help="write docs/gate.md")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each N-th fault and row")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=("faults", "rows"), help="one half")
    given = parser.parse_args(arguments)
    outcomes = []
    for outcome in run(tasks(given.every, given.only), given.processes):
        outcomes.append(outcome)
        if outcome.verdict in WRONG:
            print(f"{outcome.verdict}: {outcome.name}: {outcome.detail}", flush=True)
    print(summary(outcomes))
    if given.publish:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return int(any(outcome.verdict in WRONG for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
