"""Writes ``docs/errors.md`` from the source: ``python -m tests.project.error_list``.

Every ``raise`` of an error of ours, and every warning, by AST: its class, its message with ``{...}`` where the values
go, and the module that says it.
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import pullback.errors
import pullback_export.errors
from pullback import parity

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
PACKAGES = ("runtime/pullback", "exporter/pullback_export")
CLASSES = frozenset(
    name
    for module in (pullback.errors, pullback_export.errors, parity)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, pullback.errors.PullbackError | Warning)
) | {"UserWarning", "RuntimeWarning"}
# `raise op.unsupported(reason)`: the reason stands in parentheses behind the operator and its layer.
REASONS = frozenset({"unsupported", "NotCovered"})
HEAD = """# Errors

Made from the source by `python -m tests.project.error_list`; a test compares this page with it. `{...}` stands for a
value that the message quotes. A message that a function puts together elsewhere is not listed here.
"""


@dataclasses.dataclass(frozen=True, order=True)
class Message:
    """One message template of an error or warning class, and the module that raises it."""

    error: str
    template: str
    module: str


def page() -> str:
    """The whole page."""
    found = set(messages())
    classes = sorted({message.error for message in found})
    return "\n".join([HEAD, *(_section(name, sorted(m for m in found if m.error == name)) for name in classes)])


def messages() -> Iterator[Message]:
    """What the two packages say."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield from messages_of(file.read_text(encoding="utf-8"), file.relative_to(ROOT / package).as_posix())


def messages_of(source: str, module: str) -> Iterator[Message]:
    """What one file says."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            call, name = _warned(node)
        else:
            call, name = node.exc, _name(node.exc.func)
            name = "UnsupportedOpsError" if name in REASONS else name
        if call is not None and name in CLASSES and call.args:
            template = _template(call.args[0])
            if template.replace("{...}", "").strip(" .:,;"):
                yield Message(name, template, module)


def _warned(node: ast.AST) -> tuple[ast.Call | None, str]:
    if not isinstance(node, ast.Call) or _name(node.func) != "warn":
        return None, ""
    given = [*node.args[1:2], *(item.value for item in node.keywords if item.arg == "category")]
    return node, _name(given[0]) if given else "UserWarning"


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _template(text: ast.expr) -> str:
    """The literal parts of a message; of a choice between two both, of a sum its terms."""
    if isinstance(text, ast.Constant):
        return str(text.value)
    if isinstance(text, ast.JoinedStr):
        return "".join(_template(part) for part in text.values)
    if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add):
        return _template(text.left) + _template(text.right)
    if isinstance(text, ast.IfExp):
        return f"{_template(text.body)} / {_template(text.orelse)}"
    return "{...}"


def _section(name: str, found: Iterable[Message]) -> str:
    lines = [f"## {name}", "", "| message | raised in |", "|---|---|"]
    modules: dict[str, list[str]] = {}
    for message in found:
        modules.setdefault(message.template, []).append(message.module)
    for template, places in modules.items():
        text = " ".join(template.split()).replace("|", "\\|").replace("`", "'")
        lines.append(f"| `{text}` | {', '.join(f'`{place}`' for place in places)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
