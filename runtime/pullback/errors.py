"""The errors of the runtime; each message says what is wrong, where, and what to do next.

``ParityError`` carries a report and stands beside it, in :mod:`pullback.parity`.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


class PullbackError(Exception):
    """Base class of every error that Pullback raises on purpose."""


class BundleError(PullbackError, ValueError):
    """A bundle, or a file in it, is missing, damaged, forged or not ours.

    Messages quote what is in the file: control characters, which could break lines or steer a terminal, are escaped.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_CONTROL.sub(_escaped, item) if isinstance(item, str) else item for item in args))


class DamagedError(BundleError):
    """A file breaks the format: it was cut off, changed or forged, or Pullback did not write it.

    Nothing in it can be mended by hand, so each message ends with the same advice.
    """

    ADVICE = "; copy or export the bundle again"

    def __init__(self, message: str) -> None:
        super().__init__(message if message.endswith(self.ADVICE) else message + self.ADVICE)


class FormatVersionError(BundleError):
    """The bundle was written in a format version that this runtime does not read."""


class InputError(PullbackError, ValueError):
    """What the caller passed does not fit the signature of the function."""


class NotExportedError(PullbackError, LookupError, AttributeError):
    """The bundle does not hold what was asked for; export it again with the request.

    An ``AttributeError`` too: ``hasattr(bundle, "hvp")`` is False where there is none, and ``getattr`` has its default.
    """


class MissingDependencyError(PullbackError, ImportError):
    """An optional package is needed; the message names the ``pip install`` that brings it."""
