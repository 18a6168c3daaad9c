"""``python -m tests.error_rates``: plants every fault, exports every right row, and prints both error rates.

``--publish`` writes ``docs/gate.md``; ``--every N`` takes each N-th of both, for a quick look. All of them take an hour
or more: ``--record FILE`` keeps every outcome as it comes, and a run with the same file tries only what is not in it.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from tests.error_rates.page import PAGE, WRONG, page, summary
from tests.error_rates.record import Record
from tests.error_rates.run import run, tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every fault was caught and nothing right refused, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.error_rates", description=__doc__)
    parser.add_argument("--publish", action="store_true", help="write docs/gate.md")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each N-th fault and row")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=("faults", "rows"), help="one half")
    parser.add_argument("--record", type=pathlib.Path, metavar="FILE", help="keep outcomes here, and go on from them")
    given = parser.parse_args(arguments)
    chosen = tasks(given.every, given.only)
    record = Record(given.record)
    outcomes = [record.known[task] for task in chosen if task in record.known]
    for task, outcome in run([task for task in chosen if task not in record.known], given.processes):
        record.add(task, outcome)
        outcomes.append(outcome)
        if outcome.verdict in WRONG:
            print(f"{outcome.verdict}: {outcome.name}: {outcome.detail}", flush=True)
    print(summary(outcomes))
    if given.publish:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return int(any(outcome.verdict in WRONG for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
