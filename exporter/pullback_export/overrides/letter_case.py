"""Lets a SavedModel have inputs whose names differ in the case of letters only, such as ``t`` and ``T``.

TensorFlow makes the names of operators unique without regard to case, for file systems that know none; the placeholder
of ``T`` then is ``T_1``, and ``tf.saved_model.save`` refuses the signature (tensorflow/python/framework/ops.py,
``Graph.unique_name``). The formats themselves keep the two apart.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pullback_export.overrides.temporary_change import TemporaryChange


@contextlib.contextmanager
def exact_names(names: Iterable[str]) -> Iterator[None]:
    """Within it, operators may have these names where only others in another case do; nothing changes without any."""
    lower = Counter(name.lower() for name in set(names))
    alike = frozenset(name for name in names if lower[name.lower()] > 1)
    if not alike:
        yield
        return
    with TemporaryChange(lambda: _change(alike)).active():
        yield


def _change(alike: frozenset[str]) -> Any:
    from tensorflow.python.framework import ops

    original = ops.Graph.unique_name

    def unique_name(self: Any, name: str, mark_as_used: bool = True) -> str:
        found: str = original(self, name, mark_as_used)
        if found == name or name not in alike or self._name_stack:
            return found
        try:
            self.get_operation_by_name(name)
        except KeyError:
            return name
        return found

    ops.Graph.unique_name = unique_name
    return lambda: setattr(ops.Graph, "unique_name", original)
