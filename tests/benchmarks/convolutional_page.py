"""Tables of :mod:`tests.benchmarks.convolutional` on the page: one for each processor, rows with their dates."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
import re
import time

from tests.benchmarks import regions

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks.md"
NAME = "convolutional"
COMMAND = "python -m tests.benchmarks.convolutional --publish"
COLUMNS = (
    "",
    "forward",
    "aim",
    "value and gradient",
    "before",
    "forward before",
    "no blocks",
    "enters, leaves blocks",
    "measured",
)
INTRODUCTION = """\
## Convolutional networks over their forward pass

One thread, batch 1: processor time, medians of the ratios of neighbours in one process, on machines that others
used at the same time. Rows of one date and processor were measured in one go. The floor is our forward graph. The
order of the graphs turns around from round to round; ratios of two runs in a row differ by up to 3 %, at loads
above 4 by 10 %. *Before*: the same model without the rewrites below; *no blocks*: with ONNX Runtime's `extended`
optimisation, which leaves out its blocked layout of channels; *enters, leaves blocks*: how often the optimised
graph of value and gradient changes the layout. What was tried, and where the time goes, stands below the tables."""


@dataclasses.dataclass(frozen=True)
class Line:
    """Of a table: what was found for one network."""

    network: str
    forward: float
    """Least milliseconds."""
    aim: float | None
    gradient: float
    before: float
    forward_before: float
    no_blocks: float
    enters: int
    leaves: int

    def cells(self, date: str) -> str:
        """As Markdown."""
        ratios = " | ".join(f"{ratio:.2f}" for ratio in (self.before, self.forward_before, self.no_blocks))
        aim = "-" if self.aim is None else f"{self.aim:g}"
        return (
            f"| {self.network} | {self.forward:.1f} ms | {aim} | **{self.gradient:.2f}** | {ratios}"
            f" | {self.enters}, {self.leaves} | {date} |"
        )


def heading() -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(COLUMNS)} |\n| --- |{' --: |' * (len(COLUMNS) - 1)}".replace("|  |", "| |", 1)


def processor(path: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> str:
    """As the system names it, with the widest vectors that it has."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    widest = ", AVX-512" if re.search(r"^flags\s*:.*\bavx512f\b", text, re.MULTILINE) else ""
    return (name[1].strip() if name else platform.machine()) + widest


def tables(text: str) -> dict[str, list[str]]:
    """The rows of each processor's table in a section of the page."""
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        found[title] = [line for line in rest.splitlines() if line.startswith("| ")][2:]
    return found


def merged(text: str, title: str, lines: list[str], order: list[str]) -> str:
    """The section anew: ``lines`` take the place of rows of the same networks in the table of ``title``."""
    found = tables(text)
    rows = {_network(line): line for line in [*found.get(title, []), *lines]}
    found[title] = sorted(rows.values(), key=lambda line: order.index(_network(line)))
    parts = [f"### {name}\n\n{heading()}\n" + "\n".join(rows) for name, rows in found.items()]
    return "\n\n".join([INTRODUCTION, *parts])


def publish(lines: list[Line], order: list[str], path: pathlib.Path = PAGE) -> None:
    """Writes what was measured now, on this machine."""
    date = time.strftime("%Y-%m-%d")
    old = regions.found(path.read_text(encoding="utf-8")).get(NAME, "")
    new = merged(old, processor(), [line.cells(date) for line in lines], order)
    regions.replace(path, NAME, COMMAND, new)


def _network(line: str) -> str:
    return line.split(" | ")[0].removeprefix("| ")
