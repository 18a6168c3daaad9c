"""``pullback serve``: serve a bundle over HTTP with the Open Inference Protocol, one model for each function."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from typing import Any

from pullback.errors import MissingDependencyError, PullbackError
from pullback.serving.options import Options

NAME = "serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any free port")
    parser.add_argument("--name", help="prefix of the models' names (default: the bundle's name)")
    parser.add_argument("--workers", type=int, default=1, help="processes; one that dies is replaced (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of one call (default 1)")
    parser.add_argument("--cache", metavar="DIR", help="keep optimised graphs there, for a faster start of workers")
    parser.add_argument("--batch", type=int, default=256, help="rows that are computed together; 0: requests apart")
    parser.add_argument("--max-requests", type=int, default=256, help="under way in a worker, others get 503")
    parser.add_argument("--max-body", type=float, default=64.0, metavar="MB", help="of a request (default 64)")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for a request (default 30)")
    parser.add_argument("--check-finite", action="store_true", help="refuse NaN and infinities, also in results")
    parser.add_argument("--check-range", choices=("warn", "raise"), help="of inputs outside of what was measured")


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is told to end; requests under way are answered first."""
    for option in ("workers", "max_requests", "max_body", "timeout"):
        if getattr(arguments, option) <= 0:
            raise argparse.ArgumentTypeError(f"--{option.replace('_', '-')} must be positive")
    if arguments.batch < 0:
        raise argparse.ArgumentTypeError("--batch must be a number of rows, or 0")
    try:
        import uvicorn

        from pullback.serving.app import application
    except ImportError as error:
        if isinstance(error, PullbackError):
            raise
        raise MissingDependencyError(
            f'serving needs {error.name or "a web server"}; pip install "pullback[serve]"'
        ) from error
    options = Options(
        arguments.bundle,
        arguments.backend,
        arguments.name,
        arguments.threads,
        arguments.batch,
        arguments.max_requests,
        int(arguments.max_body * 2**20),
        arguments.timeout,
        arguments.check_finite,
        arguments.check_range,
        arguments.cache,
    )
    settings: dict[str, Any] = {
        "host": arguments.host,
        "port": arguments.port,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": max(1, round(arguments.timeout)),
        "timeout_keep_alive": 30,
    }
    app = application(options)  # what is wrong with the bundle or the options is said here, not by every worker
    try:
        if arguments.workers == 1:
            uvicorn.run(app, **settings)
        else:
            _run_workers(uvicorn, options, arguments.workers, settings)
    except KeyboardInterrupt:
        pass  # how a server is told to end at a terminal
    return 0


def _run_workers(uvicorn: Any, options: Options, workers: int, settings: dict[str, Any]) -> None:
    options.to_environment()
    folder = tempfile.mkdtemp(prefix="pullback-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        uvicorn.run("pullback.serving.app:from_environment", factory=True, workers=workers, **settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
