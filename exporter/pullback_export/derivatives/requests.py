"""Requests in text form: ``hessian(energy, x)``."""

from __future__ import annotations

import re

from pullback.selection import arguments

from pullback_export.derivatives.kinds import KINDS, Gradient, Request
from pullback_export.errors import ExportError


def forces(energy: str, positions: str, name: str = "forces") -> Gradient:
    """Forces in physics' sign convention: minus the gradient of ``energy`` with respect to ``positions``."""
    return Gradient(energy, positions, scale=-1.0, name=name)


def parse_request(request: str | Request) -> Request:
    """A request from its text form, such as ``"hessian(energy, x)"``.

    Raises :class:`ExportError` for an unknown kind or a malformed text.
    """
    if isinstance(request, Request):
        return request
    if not isinstance(request, str):
        raise ExportError(
            f"a derivative must be a string such as 'gradient(y, x)' or a Gradient(...), got {type(request).__name__}"
        )
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", request)
    if match and match[1] == "forces":
        given = arguments(match[2])
        if len(given) != 2:
            raise ExportError(f"cannot read {request!r}: write forces(energy, positions)")
        return forces(*given)
    if not match or match[1].lower() not in KINDS:
        raise ExportError(
            f"cannot read {request!r}: write one of {', '.join(sorted(KINDS))} with an output and an input,"
            " such as 'gradient(y, x)'"
        )
    given = arguments(match[2])
    if len(given) < 2:
        raise ExportError(f"cannot read {request!r}: name an output and an input, such as '{match[1]}(y, x)'")
    return KINDS[match[1].lower()](*given)
