"""``export(features=)``: names of the components of inputs and outputs, checked before anything is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pullback.features import checked
from pullback.manifest import FunctionSpec

from pullback_export.errors import ExportError


def features_of(
    spec: FunctionSpec, features: Mapping[str, Sequence[str]] | Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """The names by input and output of ``evaluate``; raises :class:`ExportError`."""
    if features is None:
        return {}
    if not isinstance(features, Mapping):
        if len(spec.inputs) != 1:
            names = ", ".join(tensor.name for tensor in spec.inputs)
            raise ExportError(f"features: the model has several inputs; name them, {{input: [...]}} of {names}")
        features = {spec.inputs[0].name: features}
    try:
        return {name: checked(spec, name, names) for name, names in features.items()}
    except ValueError as problem:
        raise ExportError(str(problem)) from problem
