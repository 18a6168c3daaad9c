"""The errors of the runtime; each message says what is wrong, where, and what to do next.

``ParityError`` carries a report and is defined with it, in :mod:`pullback.parity`.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


class PullbackError(Exception):
    """Base class of every error that Pullback raises on purpose."""


class BundleError(PullbackError, ValueError):
    """A bundle, or a file in it, is missing, damaged or forged, or Pullback did not write it.

    Messages quote the file; control characters, which could break lines or control a terminal, are escaped.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_CONTROL.sub(_escaped, item) if isinstance(item, str) else item for item in args))


class DamagedError(BundleError):
    """A file violates the format: it was truncated, changed or forged, or Pullback did not write it.

    It cannot be repaired, so each message ends with the same advice.
    """

    ADVICE = "; copy or export the bundle again"

    def __init__(self, message: str) -> None:
        super().__init__(message if message.endswith(self.ADVICE) else message + self.ADVICE)


class FormatVersionError(BundleError):
    """The bundle was written in a format version that this runtime does not read."""


class InputError(PullbackError, ValueError):
    """An argument does not fit the signature of the function."""


class NotExportedError(PullbackError, LookupError, AttributeError):
    """The bundle does not hold the requested result; export it again with that request.

    Also an ``AttributeError``, so that ``hasattr(bundle, "hvp")`` is False and ``getattr`` uses its default.
    """


class MissingDependencyError(PullbackError, ImportError):
    """An optional package is missing; the message gives the ``pip install`` command."""
