"""What a request names: a whole array, a component ``y[2]``, a slice ``x[:, 3:7]``, or the sum of one ``sum(y)``."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# A component, or (start, stop, step) of a slice: ``slice`` itself cannot be hashed before Python 3.12.
Index = int | tuple[int | None, int | None, int | None]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The array ``name``, an optional index on the axes of one sample, and whether its components are summed.

    An index that starts with a bare ``:`` counts the batch axis too, as NumPy would: of a batched array, ``y[2]`` and
    ``y[:, 2]`` both pick component 2 of every sample.
    """

    name: str
    index: tuple[Index, ...] = ()
    summed: bool = False

    @staticmethod
    def parse(text: str) -> Selection:
        """Reads one selection; raises ``ValueError`` where the text is none."""
        text = text.strip()
        try:
            return _selection(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError) as error:
            if re.fullmatch(r"[\w./:-]+", text):  # an inner layer, whose name need not be one of Python
                return Selection(text)
            raise ValueError(
                f"cannot read {text!r}: write a name, a component y[2], a slice y[:, 3:7] or sum(y)"
            ) from error

    def components(self, shape: Sequence[int], batched: bool) -> npt.NDArray[np.int64]:
        """Which components of a raveled sample of this ``shape`` are picked; raises ``IndexError`` where none are."""
        index = tuple(item if isinstance(item, int) else slice(*item) for item in self.index)
        if batched and index and index[0] == slice(None):
            index = index[1:]
        found = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)[index].ravel()
        if self.index and not found.size:
            raise IndexError(f"{self} selects nothing of shape {tuple(shape)}")
        return found

    def __str__(self) -> str:
        text = self.name + (f"[{', '.join(map(_index_text, self.index))}]" if self.index else "")
        return f"sum({text})" if self.summed else text


def of_request(text: str) -> tuple[Selection, ...]:
    """The selections between the brackets of a request; raises ``ValueError``.

    ``gradient(y[2], x)`` names ``y[2]`` and ``x``.
    """
    found = re.fullmatch(r"\s*\w+\s*\((.*)\)\s*", text, re.DOTALL)
    if found is None:
        raise ValueError(f"cannot read the request {text!r}")
    parts, depth, current = [], 0, ""
    for character in found[1]:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return tuple(Selection.parse(part) for part in (*parts, current))


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
        start, stop, step = (None if part is None else _whole(part) for part in (node.lower, node.upper, node.step))
        return start, stop, step
    return _whole(node)


def _whole(node: ast.expr) -> int:
    value: Any = ast.literal_eval(node)
    if type(value) is not int:
        raise ValueError(value)
    return value
