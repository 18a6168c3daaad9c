"""What a bundle says about its functions, arrays, derivatives and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pullback import schema
from pullback.errors import DamagedError, InputError
from pullback.selection import Selection, selections

FORMAT_VERSION = 1
POINTS_VERSION = 2  # of bundles whose functions have two batch axes

# The batch among free sizes: "B" where rows are computed apart from each other, "N" where they may not be.
BATCH_NAMES = ("B", "N")
_BATCH_AXES = tuple((name,) for name in BATCH_NAMES)

# One dimension: a fixed size, or the name of a free one.
Dim = int | str


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A named array: ``dtype`` is NumPy's name; free dimensions of ``shape`` are names such as ``"B"``."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def is_batched(self) -> bool:
        """Whether the first axis is the batch."""
        return self.shape[:1] in _BATCH_AXES

    @property
    def sample(self) -> tuple[Dim, ...]:
        """The shape of one sample, without the batch axis where there is one."""
        return self.shape[1:] if self.is_batched else self.shape

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {shape_text(self.shape)}"


@dataclasses.dataclass(frozen=True)
class DerivativeSpec:
    """One requested derivative: ``request`` as written (``"gradient(y, x)"``), ``name`` of its result.

    ``of`` and ``wrt`` are names of outputs and inputs; ``wrt`` has one entry for each order.
    ``seed`` is the extra input (``adj_y``, ``fwd_x``) or None. ``scale`` multiplies the derivative
    (forces are a gradient with -1).

    ``of_selection`` and ``wrt_selections`` (one for each of ``wrt``) say what ``request`` says, without text: the name,
    the picked components or slices, and whether they are summed. No file holds them.
    """

    request: str
    kind: str
    name: str
    of: str
    wrt: tuple[str, ...]
    seed: str | None = None
    scale: float = 1.0
    of_selection: Selection = dataclasses.field(init=False, compare=False, repr=False)
    wrt_selections: tuple[Selection, ...] = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Reads ``request``; raises ``BundleError`` where it says something else than ``of`` and ``wrt``."""
        try:
            of, wrt = selections(self.request)
        except ValueError as problem:
            raise DamagedError(
                f"request {self.request[:200]!r}: {problem}; the file is damaged, or Pullback did not write it"
            ) from problem
        wrt = wrt * len(self.wrt) if len(wrt) == 1 else wrt
        if self.of and self.wrt and (of.name, *(item.name for item in wrt)) != (self.of, *self.wrt):
            raise DamagedError(
                f"derivative {self.name!r}: the request {self.request!r} is not of {self.of!r} with respect to"
                f" {', '.join(map(repr, self.wrt))}; the file is damaged, or Pullback did not write it"
            )
        object.__setattr__(self, "of_selection", of)
        object.__setattr__(self, "wrt_selections", wrt)


@dataclasses.dataclass(frozen=True)
class FunctionSpec:
    """One graph, ``evaluate`` or one of products (:data:`FUNCTION_NAMES`); its inputs and results in calling order.

    ``points`` names the second batch axis, behind the rows, where derivatives are those of each row at each point.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    derivatives: tuple[DerivativeSpec, ...]
    batched: bool
    points: str | None = dataclasses.field(default=None, metadata=schema.OMITTED_WHERE_NONE)

    @property
    def batch_axes(self) -> int:
        """The number of batch axes, 0 to 2; two where rows meet points."""
        return int(self.batched) + (self.points is not None)

    @property
    def granularity(self) -> str:
        """What derivatives belong to, in words."""
        names = ("of the whole arrays", "per sample", f"per sample and each of its {self.points}")
        return names[self.batch_axes]

    def refuse_points(self, what: str) -> None:
        """Raises ``InputError`` for ``what`` takes samples of one batch, where there are two batch axes."""
        if self.points is not None:
            raise InputError(
                f"{what}: derivatives here are those of each row at each of its {self.points} (batch_axes=2), and this"
                " takes rows alone; call the bundle itself, take bundle.flat for one row at one point, or export pairs"
                " as the rows of one batch (docs/howto/points.md)"
            )

    def batch_of(self, tensor: TensorSpec) -> tuple[Dim, ...]:
        """The batch axes of an input or output: the first axes of its shape that are the rows and the points."""
        rows = int(self.batched and tensor.is_batched)
        points = self.points is not None and tensor.shape[rows : rows + 1] == (self.points,)
        return tensor.shape[: rows + points]

    @property
    def seeds(self) -> frozenset[str]:
        """Names of the inputs that carry a direction or an adjoint."""
        adjoints = {f"adj_{d.of_selection.label}" for d in self.derivatives if d.kind == "hvp"}
        inputs = {tensor.name for tensor in self.inputs}
        return frozenset(d.seed for d in self.derivatives if d.seed is not None) | (adjoints & inputs)

    @property
    def requested(self) -> tuple[DerivativeSpec, ...]:
        """The derivatives that were requested; a function of products may hold others at no extra cost."""
        return tuple(d for d in self.derivatives if self.name in (d.kind, "evaluate"))

    @property
    def byproducts(self) -> tuple[DerivativeSpec, ...]:
        """The first derivatives that a function of second-order products gives from the same passes."""
        return tuple(d for d in self.derivatives if self.name not in (d.kind, "evaluate"))

    @property
    def default_outputs(self) -> tuple[str, ...]:
        """The outputs of a call without ``fetch``. Of a function of products, the products; otherwise every output."""
        names = tuple(tensor.name for tensor in self.outputs)
        products = {d.name for d in self.requested} if self.name != "evaluate" else set()
        return tuple(name for name in names if name in products) or names

    @property
    def rowwise(self) -> bool:
        """Whether every array has the batch axis first, so that rows may be computed separately."""
        return self.batched and all(tensor.shape[:1] == ("B",) for tensor in (*self.inputs, *self.outputs))

    @property
    def shared_inputs(self) -> frozenset[str]:
        """Names of the inputs and seeds without a batch axis of what is batched; all rows share their values."""
        if not self.batched:
            return frozenset()
        return frozenset(tensor.name for tensor in self.inputs if not tensor.is_batched)

    @property
    def divisible(self) -> bool:
        """Whether rows may be computed separately, each with the whole of what all share.

        Every array has the batch axis first, except for :attr:`shared_inputs`.
        """
        shared = self.shared_inputs
        apart = [tensor for tensor in self.inputs if tensor.name not in shared]
        return bool(apart) and self.batched and all(tensor.shape[:1] == ("B",) for tensor in (*apart, *self.outputs))

    def __str__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"{self.name}({inputs}) -> ({', '.join(map(str, self.outputs))})"


@dataclasses.dataclass(frozen=True)
class FileSpec:
    """A file of the bundle: POSIX path relative to the bundle, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """A function together with the ONNX file that computes it (None: SavedModel only) and its opset.

    ``weights``: the file beside it that holds its large weights; None where they are in the graph.
    """

    function: FunctionSpec
    file: FileSpec | None
    opset: int
    weights: FileSpec | None = dataclasses.field(default=None, metadata=schema.OMITTED_WHERE_NONE)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Largest ``|actual - expected|``, relative to ``max|expected|`` of the array."""

    float32: float = 2e-5
    float64: float = 1e-11

    def of(self, dtype: str) -> float:
        """The bound for an array of ``dtype``: whole numbers and booleans must agree exactly."""
        return {"float16": 2e-3, "float32": self.float32, "float64": self.float64}.get(dtype, 0.0)


def version_of(functions: Iterable[FunctionSpec]) -> int:
    """The format version that a bundle of these functions has."""
    return POINTS_VERSION if any(function.points is not None for function in functions) else FORMAT_VERSION


def shape_text(shape: Sequence[Dim]) -> str:
    """The shape as text, such as ``(B, 3)``."""
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"
