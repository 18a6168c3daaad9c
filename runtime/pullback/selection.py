"""What a derivative is of: a named array, or components of it, as the text of a request says it."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

# A component, or (start, stop, step) of a slice: ``slice`` itself cannot be hashed before Python 3.12.
Index = int | tuple[int | None, int | None, int | None]


@dataclasses.dataclass(frozen=True)
class Selection:
    """An output, an input or an inner layer: ``name``, an optional index, and whether its components are summed.

    ``index`` counts the axes of one sample; where it starts with a bare ``:`` it counts the batch axis too, as
    NumPy would: ``y[2]`` and ``y[:, 2]`` both pick component 2 of every sample.
    """

    name: str
    index: tuple[Index, ...] = ()
    summed: bool = False

    def __str__(self) -> str:
        text = self.name + (f"[{', '.join(_index_text(item) for item in self.index)}]" if self.index else "")
        return f"sum({text})" if self.summed else text

    @property
    def is_whole(self) -> bool:
        """Whether it is the array itself, nothing picked and nothing summed."""
        return not self.index and not self.summed

    @property
    def key(self) -> tuple[int | slice, ...]:
        """The index as NumPy takes it."""
        return tuple(item if isinstance(item, int) else slice(*item) for item in self.index)

    def of_sample(self, lead: int) -> tuple[int | slice, ...]:
        """:attr:`key` on the axes of one sample of an array with ``lead`` batch axes: without a bare ``:`` for each."""
        key = self.key
        return key[lead:] if lead and key[:lead] == (slice(None),) * lead else key

    @property
    def label(self) -> str:
        """The part of a result's name that stands for this selection: ``y``, ``y_2``, ``x_3_7``, ``sum_y``."""
        parts = [self.name] + [
            str(item) for item in re.findall(r"-?\d+", "".join(f"{_index_text(i)}," for i in self.index))
        ]
        label = "_".join(parts).replace("-", "m")
        return f"sum_{label}" if self.summed else label

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Reads ``y``, ``y[2]``, ``x[:, 3:7]`` and ``sum(y)``; raises ``ValueError`` for any other text."""
        try:
            return _selection(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
            if re.fullmatch(r"[\w./:-]+", text.strip()):
                return Selection(text.strip())
            raise ValueError(
                f"cannot read {text!r}: write a name, a component y[2], a slice x[:, 3:7] or sum(y)"
            ) from problem


def selections(request: str) -> tuple[Selection, tuple[Selection, ...]]:
    """What ``hessian(y[2], x, t)`` is of, and with respect to what; raises ``ValueError``."""
    match = re.fullmatch(r"\s*\w+\s*\((.*)\)\s*", request, re.DOTALL)
    parts = [Selection.parse(part) for part in arguments(match[1])] if match else []
    if len(parts) < 2:
        raise ValueError("it names no output and input")
    return parts[0], tuple(parts[1:])


def arguments(text: str) -> list[str]:
    """``text`` split at the commas that stand outside of brackets."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [part for part in [*parts, current.strip()] if part]


def _index_text(item: Index) -> str:
    if isinstance(item, int):
        return str(item)
    start, stop, step = item
    text = f"{'' if start is None else start}:{'' if stop is None else stop}"
    return text if step is None else f"{text}:{step}"


def _selection(node: ast.expr) -> Selection:
    if isinstance(node, ast.Name):
        return Selection(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum" and len(node.args) == 1:
        return dataclasses.replace(_selection(node.args[0]), summed=True)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Selection(node.value.id, tuple(_index(item) for item in items))
    raise ValueError(ast.dump(node))


def _index(node: ast.expr) -> Index:
    if isinstance(node, ast.Slice):
        parts: list[Any] = [
            None if part is None else _whole_number(part) for part in (node.lower, node.upper, node.step)
        ]
        return parts[0], parts[1], parts[2]
    return _whole_number(node)


def _whole_number(node: ast.expr) -> int:
    value = ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return value
