"""What users of each library do wrong, as a closed table: each mistake in each integration, and what comes of it.

A row ends with the right answer, or with an error whose message holds ``says``. Its libraries are imported when it is
tried, so that the table itself can be read in each of the environments that the tests make.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import pullback

TESTS = pathlib.Path(__file__).parents[2]

# The kinds of mistakes: the first four were seen at users, the others follow from them.
MISTAKES = {
    "sample": "one sample where a batch is expected, or the other way round",
    "memory": "an array that is changed after the call, or kept from it",
    "order": "arguments or seeds in the wrong order",
    "precision": "numbers and tolerances of float64 with a float32 model",
    "size": "a wrong size",
    "missing": "a derivative that was not exported",
}


class Bundles:
    """What the rows are tried with: bundles that lie in the repository, and ``atoms`` where TensorFlow makes it."""

    def __init__(self, atoms: pullback.Bundle | None = None) -> None:
        self._atoms = atoms

    @property
    def atoms(self) -> pullback.Bundle:
        """Energy, forces and the derivative by the strain, of whole tensors in float64."""
        assert self._atoms is not None
        return self._atoms

    @functools.cached_property
    def hill(self) -> pullback.Bundle:
        """``energy`` and the vector ``c`` of two, of ``x (3,)`` in float64, with both orders and hvps."""
        return pullback.load(TESTS / "runtime" / "fixtures" / "hill_float64.pullback")

    @functools.cached_property
    def hill32(self) -> pullback.Bundle:
        """The same in float32."""
        return pullback.load(TESTS / "runtime" / "fixtures" / "hill_float32.pullback")

    @functools.cached_property
    def mixed(self) -> pullback.Bundle:
        """Whole tensors with free axes; ``gradient(y, v)`` alone."""
        return pullback.load(TESTS / "runtime" / "fixtures" / "mixed.pullback")

    @functools.cached_property
    def picture(self) -> pullback.Bundle:
        """``score`` of ``image (8, 8, 1)`` in float64; its gradient alone."""
        return pullback.load(TESTS / "golden" / "v1" / "picture_float64.pullback")


@dataclasses.dataclass(frozen=True)
class Row:
    """One mistake. ``call`` raises what ``says``, or returns what came and what is right.

    ``theirs``: the error is the library's own, raised before anything of ours is reached.
    """

    integration: str
    mistake: str
    tried: str
    call: Callable[[Bundles], Any]
    says: str | None = None
    theirs: bool = False
    tolerance: float = 1e-12


@dataclasses.dataclass(frozen=True)
class Impossible:
    """A mistake that an interface leaves no room for, and why."""

    integration: str
    mistake: str
    why: str


Entry = Row | Impossible
