"""Requests by inputs that all rows share, and names of batched inputs: what is refused, and what to do instead."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tensorflow as tf
from pullback_export import ExportError, Jacobian, export

S = tf.TensorSpec
X, P = S([None, 3], tf.float32, "x"), S([3], tf.float32, "p")
REFUSED: list[tuple[Any, str, Any, str]] = [
    (lambda x, p: {"y": tf.reduce_sum(x * p, 1)}, "hvp(y, p)", True, r"hvp is defined by inputs of each row.*hessian"),
    (lambda x, p: {"y": x * p}, "hvp(y, p)", True, "hvp is defined by inputs of each row only"),
    (lambda x, p: {"y": x * p}, "weighted_hessian(y, p)", True, r"request hessian\(y, p\)"),
    (lambda x, p: {"y": x * p}, "weighted_hessian(y, x, p)", True, r"request hessian\(y, x, p\)"),
    (lambda x, p: {"y": x * p, "c": p}, "jacobian(c, p)", True, "c has no batch axis; export with batched=False"),
    (lambda x, p: {"y": x * p}, "jacobian(y, p[3])", True, "component 3 is out of range"),
    (lambda x, p: {"y": x * p}, "gradient(y, p)", True, "not one scalar per sample"),
    (lambda x, p: {"y": x * p}, "jacobian(y, p)", ["z"], "there is no input 'z'; inputs: x, p"),
    (lambda x, p: {"y": x * p}, "jacobian(y, p)", ["x", "p"], "'p' has no batch axis, a free first one"),
    (lambda x, p: {"y": x * p}, "jacobian(y, p)", [], "write True, False, None or the names"),
    (lambda x, p: {"y": x * p - tf.reduce_mean(x, 0)}, "jacobian(y, p)", True, "changes with the other samples"),
    (lambda x, p: {"y": x * tf.stop_gradient(p)}, "jacobian(y, p)", True, "does not depend on p"),
]


@pytest.mark.parametrize(("call", "request_", "batched", "problem"), REFUSED)
def test_what_cannot_be_had_is_refused(
    call: Any, request_: str, batched: Any, problem: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ExportError, match=problem):
        export(call, tmp_path / "it", [request_], inputs=[X, P], batched=batched)
    assert not list(tmp_path.iterdir())


def test_reverse_mode_would_sum_over_the_rows(tmp_path: pathlib.Path) -> None:
    request = Jacobian("y", "p", mode="reverse")
    with pytest.raises(ExportError, match=r"reverse mode gives the sum over the rows.*vjp\(y, p\)"):
        export(lambda x, p: {"y": x * p}, tmp_path / "it", [request], inputs=[X, P], batched=True)
