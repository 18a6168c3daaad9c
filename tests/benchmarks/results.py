"""Everything that was measured, on disk: of one run in its folder, of all that are published in the repository."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from tests.benchmarks import causes, work
from tests.benchmarks.rows import Row, loaded

PUBLISHED = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks.json"
"""What the tables of ``docs/benchmarks.md`` are made from; a run adds to it or takes the place of what it measured."""


@dataclasses.dataclass
class Results:
    """In the order of the tables; a row that is measured again takes its old place.

    ``machines``: of each its versions when it last measured, the latest at the end. ``starts`` and ``growth`` are of
    the latest one that measured them.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    starts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    growth: dict[str, list[dict[str, float]]] = dataclasses.field(default_factory=dict)
    profiles: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    machines: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    def add(self, row: Row) -> None:
        """The row takes the place of an older one; engines that it has not stay."""
        places = {known.key: known for known in self.rows}
        places[row.key] = places[row.key].merged(row) if row.key in places else row
        names = [item.name for item in work.ROWS]
        self.profiles.pop(causes.key(row), None)
        self.rows = sorted(places.values(), key=lambda r: (r.machine, r.threads, names.index(r.work), r.batch))

    def merge(self, new: Results) -> None:
        """What ``new`` has takes the place of what is here."""
        for row in new.rows:
            self.add(row)
        self.starts = new.starts or self.starts
        self.growth |= new.growth
        self.profiles |= new.profiles
        self.facts |= new.facts
        older = {name: versions for name, versions in self.machines.items() if name not in new.machines}
        self.machines = older | new.machines

    def of_latest(self) -> list[Row]:
        """The rows of the machine that measured last."""
        return [row for row in self.rows if row.machine == list(self.machines)[-1]] if self.machines else self.rows

    def save(self, path: pathlib.Path) -> None:
        """Times with five digits, a row a line: what changes in the repository is what was measured."""
        saved = dataclasses.asdict(self)
        rows = ",\n".join(json.dumps(_short(row)) for row in saved.pop("rows"))
        rest = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in saved.items())
        path.write_text(f'{{"rows": [\n{rows}\n],\n{rest}}}\n', encoding="utf-8")


def load(path: pathlib.Path) -> Results:
    """Empty where nothing was measured; raises ``ValueError`` where another version wrote the file."""
    if not path.exists():
        return Results()
    saved = json.loads(path.read_text(encoding="utf-8"))
    known = {item.name for item in work.ROWS}
    try:
        return Results(**{**saved, "rows": [loaded(row) for row in saved["rows"] if row["work"] in known]})
    except (KeyError, TypeError) as problem:
        raise ValueError(f"{path} is of another version of the benchmarks ({problem}); remove it") from problem


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, (list, tuple)) else value
