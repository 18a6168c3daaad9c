"""``pullback triton``: write a model repository of NVIDIA Triton, one model for each function."""

from __future__ import annotations

import argparse
from pathlib import Path

from pullback.bundle import load
from pullback.serving import triton

NAME = "triton"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("target", metavar="REPO", type=Path, help="the model repository; made where there is none")
    parser.add_argument("--name", help="what the models' names begin with, else the bundle's name")
    parser.add_argument("--batch", type=int, default=256, help="rows that Triton computes together; 0: requests apart")
    parser.add_argument("--threads", type=int, default=1, help="of one call; 0: ONNX Runtime's default (default 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace models that this command wrote")


def run(arguments: argparse.Namespace) -> int:
    """Write the models and say how to serve them."""
    for option in ("batch", "threads"):
        if getattr(arguments, option) < 0:
            raise argparse.ArgumentTypeError(f"--{option} must not be negative")
    bundle = load(arguments.bundle, arguments.backend)
    written = triton.write(
        bundle, arguments.target, arguments.name, arguments.batch, arguments.threads, arguments.overwrite
    )
    for folder in written.values():
        print(f"{folder}: {triton.CONFIG} and {triton.GRAPH}")
    print(f"serve them: tritonserver --model-repository {arguments.target.absolute()}")
    return 0
