"""Installed size: what ``pip install`` brings for an engine, and what a bundle's files weigh."""

from __future__ import annotations

import functools
import importlib.metadata
import pathlib
from collections.abc import Iterable

from packaging.requirements import Requirement


def installed_bytes(packages: Iterable[str]) -> int:
    """Bytes of these distributions and of all that they require here; of ``pullback`` the runtime alone."""
    return sum(map(_bytes_of, required(packages)))


def required(packages: Iterable[str]) -> frozenset[str]:
    """Names of these distributions, as ``name`` or ``name[extra]``, and of all that they require, as installed here."""
    found: set[tuple[str, str]] = set()
    open_ones = [pair for package in packages for pair in _pairs(Requirement(package))]
    while open_ones:
        name, extra = open_ones.pop()
        if (name, extra) in found:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system, or an extra of the engine that is not installed
        found.add((name, extra))
        for line in lines:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                open_ones += _pairs(requirement)
    return frozenset(name for name, _ in found)


def _pairs(requirement: Requirement) -> list[tuple[str, str]]:
    name = requirement.name.lower().replace("_", "-")
    return [(name, extra) for extra in ("", *sorted(requirement.extras))]


@functools.cache
def _bytes_of(name: str) -> int:
    distribution = importlib.metadata.distribution(name)
    if name == "pullback":  # an editable installation lists no files
        import pullback

        return folder_bytes(pathlib.Path(pullback.__file__).parent, "*.py")
    paths = [pathlib.Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


def folder_bytes(folder: pathlib.Path, pattern: str = "*") -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())
