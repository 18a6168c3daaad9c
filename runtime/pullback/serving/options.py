"""What a server is told, as it goes to its workers."""

from __future__ import annotations

import dataclasses
import json
import os

ENVIRONMENT = "PULLBACK_SERVE"  # the options as JSON: workers are processes of their own


@dataclasses.dataclass(frozen=True)
class Options:
    """``rows``: of the largest batch that is put together; 0: none is. ``requests``: under way at a time, at most.

    ``body``: bytes of a request, at most; ``seconds``: for a request, from its first byte to its answer.
    """

    bundle: str
    backend: str | None = None
    name: str | None = None
    threads: int | None = 1
    rows: int = 256
    requests: int = 256
    body: int = 64 * 2**20
    seconds: float = 30.0
    check_finite: bool = False
    check_range: str | None = None
    cache: str | None = None

    def to_environment(self) -> None:
        """For workers that this process starts."""
        os.environ[ENVIRONMENT] = json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_environment(cls) -> Options:
        """In a worker."""
        return cls(**json.loads(os.environ[ENVIRONMENT]))
