"""What a user asks for: the derivative kinds, their text form, and the names of their results."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pullback_export.errors import ExportError

MAXIMUM_ORDER = 4
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
    def key(self) -> tuple[int | slice, ...]:
        """The index as NumPy takes it."""
        return tuple(item if isinstance(item, int) else slice(*item) for item in self.index)

    @property
    def label(self) -> str:
        """The part of a result's name that stands for this selection: ``y``, ``y_2``, ``x_3_7``, ``sum_y``."""
        parts = [self.name] + [
            str(item) for item in re.findall(r"-?\d+", "".join(f"{_index_text(i)}," for i in self.index))
        ]
        label = "_".join(parts).replace("-", "m")
        return f"sum_{label}" if self.summed else label

    @staticmethod
    def parse(text: str) -> Selection:
        """Reads ``y``, ``y[2]``, ``x[:, 3:7]`` and ``sum(y)``."""
        try:
            return _selection(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError) as problem:
            if re.fullmatch(r"[\w./:-]+", text.strip()):
                return Selection(text.strip())
            raise ExportError(
                f"cannot read {text!r}: write a name, a component y[2], a slice x[:, 3:7] or sum(y)"
            ) from problem

    def sample_index(self, rank: int, lead: int) -> tuple[int | slice, ...]:
        """The index on the axes of one sample, of a tensor with ``lead`` batch axes (0 or 1) among its ``rank``.

        A leading bare ``:`` stands for the batch axis. Raises :class:`ExportError` where there are too many indices.
        """
        index = self.key
        if lead and index and index[0] == slice(None):
            index = index[1:]
        if len(index) > rank - lead:
            raise ExportError(f"{self}: too many indices; {self.name} has {rank - lead} axes per sample")
        return index

    def check_range(self, index: tuple[int | slice, ...], shape: Sequence[int | None]) -> None:
        """Raises :class:`ExportError` where ``index`` picks nothing of a sample of this ``shape``."""
        for item, size in zip(index, shape, strict=False):
            if isinstance(item, int) and size is not None and not -size <= item < size:
                raise ExportError(
                    f"{self}: component {item} is out of range; {self.name} has shape {tuple(shape)} per sample"
                )
            if isinstance(item, slice) and size is not None and len(range(*item.indices(size))) == 0:
                raise ExportError(f"{self}: selects nothing; {self.name} has shape {tuple(shape)} per sample")


@dataclasses.dataclass(frozen=True, init=False)
class Request:
    """One derivative of the output ``of`` with respect to the inputs ``wrt``; the result is multiplied by ``scale``.

    ``name`` replaces the result's default name. ``mode``: ``"reverse"``, ``"forward"`` or None for the cheaper one.
    ``chunk``: at most so many directions at once (bounds memory).
    """

    of: Selection
    wrt: tuple[Selection, ...]
    scale: float
    name: str
    mode: str | None
    chunk: int | None

    kind: ClassVar[str] = ""
    function: ClassVar[str] = "evaluate"
    orders: ClassVar[tuple[int, ...]] = (1,)

    def __init__(
        self,
        of: str,
        *wrt: str,
        scale: float = 1.0,
        name: str | None = None,
        mode: str | None = None,
        chunk: int | None = None,
    ) -> None:
        if len(wrt) not in self.orders:
            allowed = " or ".join(map(str, self.orders))
            raise ExportError(f"{self.kind}({', '.join((of, *wrt))}): give {allowed} input name(s) after the output")
        if mode not in (None, "forward", "reverse"):
            raise ExportError(f"{self.kind}: mode must be 'forward', 'reverse' or None, got {mode!r}")
        if chunk is not None and chunk < 1:
            raise ExportError(f"{self.kind}: chunk must be a positive number of directions, got {chunk!r}")
        object.__setattr__(self, "of", Selection.parse(of))
        object.__setattr__(self, "wrt", self._complete(tuple(Selection.parse(item) for item in wrt)))
        object.__setattr__(self, "scale", float(scale))
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "chunk", chunk)
        object.__setattr__(self, "name", name or self._default_name())

    def _complete(self, wrt: tuple[Selection, ...]) -> tuple[Selection, ...]:
        return wrt

    def _default_name(self) -> str:
        raise AssertionError(self.kind)

    @property
    def order(self) -> int:
        """How many times ``of`` is differentiated."""
        return len(self.wrt)

    @property
    def seed(self) -> str | None:
        """Name of the extra input, if the kind has one."""
        return None

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, (self.of, *self.wrt)))})"


class Gradient(Request):
    """Gradient of one scalar per sample, shape ``(B, *in)``: ``dy_dx``."""

    kind = "gradient"

    def _default_name(self) -> str:
        return f"d{self.of.label}_d{self.wrt[0].label}"


class Jacobian(Request):
    """All first derivatives, shape ``(B, *out, *in)``: ``dy_dx``."""

    kind = "jacobian"
    _default_name = Gradient._default_name


class Hessian(Request):
    """Second derivatives, shape ``(B, *out, *in, *in2)``: ``d2y_dx2``, or ``d2y_dx_dt`` for two inputs."""

    kind = "hessian"
    orders = (1, 2)

    def _complete(self, wrt: tuple[Selection, ...]) -> tuple[Selection, ...]:
        return wrt * 2 if len(wrt) == 1 else wrt

    def _default_name(self) -> str:
        return _chain_name(self.of, self.wrt)

    def __str__(self) -> str:
        wrt = self.wrt[:1] if self.wrt[0] == self.wrt[1] else self.wrt
        return f"{self.kind}({', '.join(map(str, (self.of, *wrt)))})"


class Laplacian(Request):
    """Trace of the Hessian over all components of the input, shape ``(B, *out)``: ``lap_y_x``."""

    kind = "laplacian"

    def _default_name(self) -> str:
        return f"lap_{self.of.label}_{self.wrt[0].label}"

    @property
    def order(self) -> int:
        return 2


class Derivative(Request):
    """A chain of scalar coordinates, order up to 4, ``(B, *out)``: ``derivative(u, x, x, t)`` is ``d3u_dx2_dt``."""

    kind = "derivative"
    orders = tuple(range(1, MAXIMUM_ORDER + 1))

    def _default_name(self) -> str:
        return _chain_name(self.of, self.wrt)


class VJP(Request):
    """Vector-Jacobian product: takes ``adj_y (B, *out)``, gives ``adj_x (B, *in)``."""

    kind = "vjp"
    function = "vjp"

    def _default_name(self) -> str:
        return f"adj_{self.wrt[0].label}"

    @property
    def seed(self) -> str | None:
        return f"adj_{self.of.label}"


class JVP(Request):
    """Jacobian-vector product: takes ``fwd_x (B, *in)``, gives ``fwd_y (B, *out)``."""

    kind = "jvp"
    function = "jvp"

    def _default_name(self) -> str:
        return f"fwd_{self.of.label}"

    @property
    def seed(self) -> str | None:
        return f"fwd_{self.wrt[0].label}"


class HVP(Request):
    """Hessian-vector product of one scalar per sample: takes ``fwd_x (B, *in)``, gives ``hvp_y_x (B, *in)``."""

    kind = "hvp"
    function = "hvp"

    def _default_name(self) -> str:
        return f"hvp_{self.of.label}_{self.wrt[0].label}"

    @property
    def order(self) -> int:
        return 2

    @property
    def seed(self) -> str | None:
        return f"fwd_{self.wrt[0].label}"


def forces(energy: str, positions: str, name: str = "forces") -> Gradient:
    """Forces in physics' sign convention: minus the gradient of ``energy`` with respect to ``positions``."""
    return Gradient(energy, positions, scale=-1.0, name=name)


KINDS: dict[str, type[Request]] = {
    kind.kind: kind for kind in (Gradient, Jacobian, Hessian, Laplacian, Derivative, VJP, JVP, HVP)
}


def parse_request(request: str | Request) -> Request:
    """A request from its text form, such as ``"hessian(energy, x)"``.

    Raises :class:`ExportError` for an unknown kind or a malformed text.
    """
    if isinstance(request, Request):
        return request
    if not isinstance(request, str):
        raise ExportError(
            f"a derivative is a text such as 'gradient(y, x)' or a Gradient(...), got {type(request).__name__}"
        )
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", request)
    if match and match[1] == "forces":
        arguments = _arguments(match[2])
        if len(arguments) != 2:
            raise ExportError(f"cannot read {request!r}: write forces(energy, positions)")
        return forces(*arguments)
    if not match or match[1].lower() not in KINDS:
        raise ExportError(
            f"cannot read {request!r}: write one of {', '.join(sorted(KINDS))} with an output and an input,"
            " such as 'gradient(y, x)'"
        )
    arguments = _arguments(match[2])
    if len(arguments) < 2:
        raise ExportError(f"cannot read {request!r}: name an output and an input, such as '{match[1]}(y, x)'")
    return KINDS[match[1].lower()](*arguments)


def _arguments(text: str) -> list[str]:
    """Splits at the commas that stand outside of brackets."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [part for part in [*parts, current.strip()] if part]


def _chain_name(of: Selection, wrt: tuple[Selection, ...]) -> str:
    counts: dict[str, int] = {}
    for item in wrt:
        counts[item.label] = counts.get(item.label, 0) + 1
    order = f"{len(wrt)}" if len(wrt) > 1 else ""
    below = "_".join(f"d{label}{count if count > 1 else ''}" for label, count in counts.items())
    return f"d{order}{of.label}_{below}"


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
            None if part is None else ast.literal_eval(part) for part in (node.lower, node.upper, node.step)
        ]
        return parts[0], parts[1], parts[2]
    value = ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return value
