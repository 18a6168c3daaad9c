"""``pullback verify``: replay the golden samples on this machine and compare with the live model's answers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pullback.bundle import load

NAME = "verify"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help='write a self-contained HTML report; needs "pullback[plot]"'
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 1 when a number is off."""
    if arguments.html and not arguments.html.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{arguments.html.parent}: there is no such folder")
    bundle = load(arguments.bundle, arguments.backend)
    report = bundle.compare()
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(report)
        print(
            f"{'passed' if report.ok else 'FAILED'}: {bundle.path} on {bundle.backend}, {len(report.rows)} comparisons"
        )
    if arguments.html:
        from pullback.display.html import write_report

        write_report(bundle, report, arguments.html)
        print(f"report: {arguments.html}")
    return 0 if report.ok else 1
