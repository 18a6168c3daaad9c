"""Why an engine has no time: it refuses the work, or something went wrong in it."""

from __future__ import annotations


class Refused(Exception):
    """An engine has no such derivative, or no rule for an operator of the graph."""


def told(problem: Exception) -> str:
    """An exception in a line of a table: a refusal in its own words, anything else with its class."""
    first = (str(problem).strip().splitlines() or [""])[0][:100]
    return first if isinstance(problem, Refused) else f"{type(problem).__name__}: {first}"
