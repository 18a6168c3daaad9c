"""The imports between modules, read from their source: lazy ones and those for type checkers count too."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator, Mapping, Set

Imports = Mapping[str, Set[str]]


def module_name(path: pathlib.Path, root: pathlib.Path) -> str:
    """The dotted name of a file below ``root``, which is on the path."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str) -> Iterator[tuple[str, str | None]]:
    """Every ``(module, name)`` that a file imports, wherever the statement stands; None for a whole module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def import_graph(root: pathlib.Path, package: str) -> dict[str, set[str]]:
    """Which modules of ``root/package`` each of them imports. A name from a package is the module of that name, if any.

    That a package is imported before what is in it is no import of ours: its ``__init__`` is only counted where a name
    is taken from it.
    """
    files = {module_name(path, root): path for path in sorted((root / package).rglob("*.py"))}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        found = set()
        for source, name in imports_of(path.read_text()):
            full = f"{source}.{name}"
            found.add(full if full in files else source)
        graph[module] = (found & files.keys()) - {module}
    return graph


def circles(graph: Imports) -> list[list[str]]:
    """The strongly connected components of more than one module (R. Tarjan, SIAM J. Comput. 1 (1972) 146)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1:
                found.append(sorted(component))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def row_of(module: str, order: tuple[tuple[str, ...], ...]) -> int | None:
    """The row of the longest name in ``order`` that ``module`` is, or lies below."""
    names = {name: index for index, row in enumerate(order) for name in row}
    fitting = [name for name in names if module == name or module.startswith(f"{name}.")]
    return names[max(fitting, key=len)] if fitting else None


def against(graph: Imports, order: tuple[tuple[str, ...], ...]) -> list[str]:
    """Imports of a module from a row below its own, and modules that no row has."""
    wrong = []
    for module, others in graph.items():
        row = row_of(module, order)
        if row is None:
            wrong.append(f"{module} has no row")
            continue
        for other in sorted(others):
            below = row_of(other, order)
            if below is not None and below > row:
                wrong.append(f"{module} imports {other}")
    return wrong
