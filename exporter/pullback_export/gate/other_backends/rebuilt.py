"""Why a bundle says something else than the live model on its own backend: what Keras builds again, or TensorFlow.

A live model reaches the process with TensorFlow as a ``.keras`` file, its configuration and its weights. What is in
neither is lost, and Keras does not notice: an attribute that was set later, a constant that was drawn anew.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pullback
from pullback.manifest import Tolerance
from pullback.parity import Report, compare

from pullback_export.gate.other_backends.live_values import LiveModel, cases
from pullback_export.gate.other_backends.own_objects import classes_of

Save = Callable[[Any, pathlib.Path], None]
_SHOWN = 3
_SAME = Tolerance(1e-3, 1e-7)
_ON_TENSORFLOW = (
    "built again on {} the model agrees with itself, so that it computes something else on TensorFlow: look for code"
    " that depends on the backend"
)


def explained(report: Report, live: LiveModel, bundle: pullback.Bundle, samples: Any, save: Save) -> Report:
    """``report`` of a comparison that failed, whose failed rows name the cause; unchanged where none is found.

    The model is saved and built again on its own backend, as it was for TensorFlow: where it then says something else
    than before, the file does not hold it; where it says the same, TensorFlow computes something else.
    """
    try:
        again = dataclasses.replace(live, model=_built_again(live.model, save))
        agree = _agree(live, again, bundle, samples)
        cause = _ON_TENSORFLOW.format(live.backend) if agree else _lost(live.model, again.model)
    except Exception:  # it explains a failure, and must not hide it behind another
        return report
    rows = tuple(row if row.ok else dataclasses.replace(row, problem=f"{row.problem}; {cause}") for row in report.rows)
    return Report(rows, report.notes)


def _agree(live: LiveModel, again: LiveModel, bundle: pullback.Bundle, samples: Any) -> bool:
    """Whether both models give the same outputs, on one backend."""
    for _, case in cases(bundle, samples):
        one, other = ({key: np.array(array) for key, array in case.items()} for _ in range(2))
        if not compare(live(bundle, one), again(bundle, other), _SAME).ok:
            return False
    return True


def _built_again(model: Any, save: Save) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        save(model, file)
        return keras.saving.load_model(file, classes_of(model), compile=False, safe_mode=False)


def _lost(model: Any, again: Any) -> str:
    """What the file did not bring back, by name as far as it can be seen."""
    found = list(_differences(model, again))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    seen = f" ({'; '.join(found[:_SHOWN])}{more})" if found else ""
    return (
        f"what Keras builds again from the model's .keras file is another model{seen}: let __init__ take what it needs,"
        " get_config return that, add_weight hold its numbers, and attributes of the model its layers"
    )


def _differences(model: Any, again: Any) -> Iterator[str]:
    """Weights, and plain attributes layer by layer, that differ."""
    if len(model.weights) != len(again.weights):
        yield f"{len(model.weights)} weights, built again {len(again.weights)}"
    for weight, new in zip(model.weights, again.weights, strict=False):
        if not _same(keras.ops.convert_to_numpy(weight), keras.ops.convert_to_numpy(new)):
            yield f"the weight {weight.path} differs"
    for one, other in zip(model._flatten_layers(), again._flatten_layers(), strict=False):
        if type(one) is not type(other):
            return
        for name, value in vars(one).items():
            new = vars(other).get(name)
            if name != "name" and not name.startswith("_") and _is_plain(value) and not _same(value, new):
                yield f"{type(one).__name__}.{name} {_told(value, new)}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | np.ndarray | np.generic)


def _same(value: Any, new: Any) -> bool:
    floats = isinstance(value, float | np.ndarray) and np.asarray(value).dtype.kind == "f"
    if np.shape(value) != np.shape(new) or (floats and np.asarray(new).dtype.kind not in "fiu"):
        return False
    return bool(np.array_equal(value, new, equal_nan=floats))


def _told(value: Any, new: Any) -> str:
    return "has other numbers" if isinstance(value, np.ndarray) else f"is {value!r:.60}, built again {new!r:.60}"
