"""What the manifest says of inputs: the runtime must accept every call whose answer the bundle keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pullback.errors import InputError
from pullback.golden import Case
from pullback.inputs import Binder
from pullback.manifest import FunctionSpec
from pullback.parity import Report, Row


def rejected_calls(specs: Sequence[FunctionSpec], cases: Mapping[str, Sequence[Case]]) -> Report:
    """A failed row for each golden case whose inputs the runtime would refuse.

    The files are run as they are when they are compared; a size that the manifest states wrongly, such as that of a
    seed, changes no number there and would refuse what is right.
    """
    return Report(tuple(row for spec in specs for row in _rejected(spec, cases.get(spec.name, ()))))


def _rejected(spec: FunctionSpec, cases: Sequence[Case]) -> Iterator[Row]:
    binder = Binder(spec)
    for number, case in enumerate(cases):
        try:
            binder.feeds(case.inputs)
        except InputError as error:
            stage = f"manifest: {spec.name}, golden case {number}"
            problem = f"the runtime would refuse this call: {error}"
            yield Row(stage, spec.name, "", (), math.nan, math.nan, math.nan, 0.0, None, problem=problem)
