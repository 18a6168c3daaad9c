"""What the server counts, in Prometheus' text format; workers of one server are added up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pullback.errors import MissingDependencyError
from pullback.serving.supervisor import is_alive

# Seconds; a call of a small network takes some tens of microseconds, a large one seconds.
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)


class Metrics:
    """Requests by model and status, their time, the rows of calls, and what is under way."""

    def __init__(self) -> None:
        try:
            import prometheus_client as prometheus
            import prometheus_client.multiprocess as multiprocess
        except ImportError as error:
            raise MissingDependencyError('serving needs prometheus-client; pip install "pullback[serve]"') from error
        self._prometheus = prometheus
        self._multiprocess: Any = multiprocess if "PROMETHEUS_MULTIPROC_DIR" in os.environ else None
        self._registry = prometheus.CollectorRegistry()
        options: Any = {"registry": self._registry}
        self.requests = prometheus.Counter("pullback_requests", "Requests answered", ["model", "code"], **options)
        self.seconds = prometheus.Histogram(
            "pullback_request_seconds", "From the first byte to the answer", ["model"], buckets=SECONDS, **options
        )
        self.rows = prometheus.Histogram(
            "pullback_call_rows", "Rows that one call computed", ["model"], buckets=ROWS, **options
        )
        self.underway = prometheus.Gauge(
            "pullback_requests_underway", "Requests being answered", multiprocess_mode="livesum", **options
        )

    def text(self) -> tuple[bytes, str]:
        """The page and its content type."""
        registry = self._registry
        if self._multiprocess is not None:
            self._forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
            registry = self._prometheus.CollectorRegistry()
            self._multiprocess.MultiProcessCollector(registry)
        return self._prometheus.generate_latest(registry), self._prometheus.CONTENT_TYPE_LATEST

    def _forget_the_dead(self, folder: Path) -> None:
        """What a worker had under way when it was killed is under way no more; what it had answered still counts."""
        for file in folder.glob("gauge_live*_*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not is_alive(process):
                self._multiprocess.mark_process_dead(process)
