"""What the gate says of one export, right or wrong."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np
import pullback
import tensorflow as tf

from tests.error_rates.rows import export_row, named_outputs
from tests.lowering.case import Case, draw_inputs

# A number that differs by more than this part of the largest is wrong, whatever the tolerance of the row.
VISIBLE = 1e-4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``verdict``: caught, missed, unseen (the fault changed no number), not planted; accepted, refused."""

    name: str
    family: str
    kind: str
    verdict: str
    detail: str = ""


def try_fault(fault: Any, rows: list[Case]) -> Outcome:
    """Plants ``fault`` under each row in turn, until one shows what the gate says of it."""
    last = Outcome(fault.name, fault.family, fault.kind, "not planted")
    for case in rows:
        verdict, detail = _under_fault(fault, case)
        last = Outcome(fault.name, fault.family, fault.kind, verdict, f"{case.name}: {detail}" if detail else case.name)
        if verdict in ("caught", "missed"):
            return last
    return last


def _under_fault(fault: Any, case: Case) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "it.pullback"
        with fault.planted() as planted:
            try:
                export_row(case, case.dtypes[-1], case.free[0], path)
            except pullback.ParityError as refusal:
                return ("caught", "") if planted.changed else ("not planted", " ".join(str(refusal).split())[:200])
            except Exception as problem:  # the mistake stops the conversion: loud, but no proof of the gate
                return "stopped", f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        if not planted.changed:
            return "not planted", ""
        error = _worst_error(case, pullback.load(path))
        return ("missed", f"off by {error:.2g} of the largest") if error > VISIBLE else ("unseen", "")


def _worst_error(case: Case, bundle: pullback.Bundle) -> float:
    """How far values and vjps of the bundle are from TensorFlow's on the row's inputs, whatever the gate said."""
    arrays = draw_inputs(case, case.dtypes[-1])
    feeds = {f"x{index}": array for index, array in enumerate(arrays)}
    tensors = {name: tf.constant(array) for name, array in feeds.items()}
    watched = {name: tensor for name, tensor in tensors.items() if tensor.dtype.is_floating}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(list(watched.values()))
        outputs = named_outputs(case.function)(*tensors.values())
    found = bundle(**feeds, fetch=tuple(outputs))
    worst = max((_error(getattr(found, name), want) for name, want in outputs.items()), default=0.0)
    if "vjp" not in bundle.functions:
        return worst
    for name, want in outputs.items():
        seed_name = f"adj_{name}"
        if seed_name not in {spec.name for spec in bundle.functions["vjp"].spec.inputs}:
            continue
        rng = np.random.default_rng(7)
        seeds = {
            f"adj_{other}": rng.normal(size=tensor.shape).astype(tensor.dtype.as_numpy_dtype) * (other == name)
            for other, tensor in outputs.items()
            if tensor.dtype.is_floating
        }
        results = bundle.vjp(**feeds, **seeds)
        for wrt, tensor in watched.items():
            expected = tape.gradient(want, tensor, tf.constant(seeds[seed_name]), unconnected_gradients="zero")
            worst = max(worst, _error(getattr(results, f"adj_{wrt}"), tf.convert_to_tensor(expected)))
    return worst


def _error(actual: Any, expected: Any) -> float:
    want, got = np.asarray(expected), np.asarray(actual)
    if want.shape != got.shape:
        return float("inf")
    if want.dtype.kind != "f":
        return float((want != got).any())
    if not np.array_equal(np.isfinite(want), np.isfinite(got)):
        return float("inf")
    finite = np.isfinite(want)
    scale = np.abs(want[finite]).max(initial=0.0)
    difference = np.abs(want[finite].astype(float) - got[finite]).max(initial=0.0)
    return float(difference / scale) if scale else float(difference)


def try_right(case: Case, dtype: str, free: bool) -> Outcome:
    """Exports a row as it is: the gate must accept."""
    name = f"{case.name}, {dtype}, {'free' if free else 'fixed'} sizes"
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_row(case, dtype, free, pathlib.Path(folder) / "it.pullback")
        except Exception as problem:
            return Outcome(
                name, "", "right export", "refused", f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"
            )
    return Outcome(name, "", "right export", "accepted")
