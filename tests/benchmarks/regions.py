"""Sections of a page that commands of their own make: each stands between two comments, and outlives the others."""

from __future__ import annotations

import pathlib
import re


def opening(name: str, command: str) -> str:
    """The line before a section; it says what makes it."""
    return f"<!-- {name}: made by {command} -->"


def closing(name: str) -> str:
    """The line after it."""
    return f"<!-- end of {name} -->"


def found(text: str) -> dict[str, str]:
    """The sections of a page by name, with their comments, in order."""
    pattern = re.compile(r"<!-- (\w+): made by [^\n]* -->\n.*?\n<!-- end of \1 -->", re.DOTALL)
    return {match[1]: match[0] for match in pattern.finditer(text)}


def keep(text: str, old: str) -> str:
    """``text``, a page that was made anew, with the sections that ``old`` has and it has not."""
    missing = [section for name, section in found(old).items() if name not in found(text)]
    return "\n\n".join([text.rstrip(), *missing]) + "\n"


def replace(path: pathlib.Path, name: str, command: str, body: str) -> None:
    """Writes a section of the page at ``path`` in place of the one that it has, or at its end."""
    text = path.read_text(encoding="utf-8")
    section = f"{opening(name, command)}\n{body.strip()}\n{closing(name)}"
    old = found(text).get(name)
    new = text.replace(old, section) if old is not None else f"{text.rstrip()}\n\n{section}\n"
    path.write_text(new, encoding="utf-8")
