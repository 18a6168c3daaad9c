"""Writes ``docs/errors.md`` from the source: ``python -m tests.project.error_list``.

Every ``raise`` of an error of ours, and every warning, by AST: its class, its message with ``{...}`` where the values
go, and the module that says it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pathlib
from collections.abc import Iterable, Iterator

import pullback.errors
import pullback_export.errors
from pullback import parity

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
PACKAGES = ("runtime/pullback", "exporter/pullback_export")
MODULES = (pullback.errors, pullback_export.errors, parity)
CLASSES = frozenset(
    name
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, pullback.errors.PullbackError | Warning)
) | {"UserWarning", "RuntimeWarning"}
# `raise op.unsupported(reason)`: the reason stands in parentheses behind the operator and its layer.
REASONS = frozenset({"unsupported", "NotCovered"})
HEAD = """# Errors

Made from the source by `python -m tests.project.error_list`; a test compares this page with it. `{...}` stands for a
value that the message quotes. A message that a function puts together elsewhere is not listed here. What to do stands
behind the last semicolon or colon of a message, and where a message says nothing of it, above its table.
"""
# What to do about any error of a class.
REMEDIES = {
    "BundleError": "Copy the bundle again, or export it again.",
    "DamagedError": "Copy the bundle again, or export it again; `pullback verify` tells whether it is whole.",
    "ExportError": "Change the argument or the model as the message says.",
    "FormatVersionError": "Upgrade `pullback`, or export the model again with the version that is installed.",
    "InputError": "Pass what the message asks for; `pullback info BUNDLE` lists shapes and dtypes.",
    "MissingDependencyError": "Install it where the command runs.",
    "NotExportedError": "`bundle.spec` and `pullback info BUNDLE` list what it holds.",
    "ParityError": "The message names the first comparison that differs; [what is compared](parity.md).",
    "PrecisionError": "Export with the `precision=` that the message names.",
    "PullbackError": "The cause is quoted. Where it is memory, pass fewer rows at a time, `chunk=`.",
    "UnsupportedOpsError": "Export from, or up to, a layer on the other side of the operator, write the model without"
    " it, or [add a rule](own_operators.md).",
}


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


def _cause(name: str) -> str:
    """The first paragraph of what the class says of itself."""
    found = next(getattr(module, name) for module in MODULES if hasattr(module, name))
    return " ".join(str(inspect.getdoc(found)).split("\n\n")[0].split()).replace("``", "`")


def _section(name: str, found: Iterable[Message]) -> str:
    lines = [f"## {name}", "", f"{_cause(name)} {REMEDIES[name]}", "", "| message | raised in |", "|---|---|"]
    modules: dict[str, list[str]] = {}
    for message in found:
        modules.setdefault(message.template, []).append(message.module)
    for template, places in modules.items():
        text = " ".join(template.split()).replace("|", "\\|").replace("`", "'")
        lines.append(f"| `{text}` | {', '.join(f'`{place}`' for place in places)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
