"""Outputs and inner layers of which TensorFlow does not know how many axes they have: what calls have shown of them.

``tf.cond`` of branches that it cannot compare, axes and strides that are tensors, and others lose the rank. Derivatives
need it, and a bundle states it; a call with real inputs tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from pullback.selection import Selection

from pullback_export.derivatives.request_checks import check_rank
from pullback_export.errors import ExportError

# Inputs by name that the live model takes, at several sizes where it has free ones.
Seen = Callable[[], Sequence[Mapping[str, Any]]]


def ensured(ranks: Mapping[str, int], name: str, tensor: Any) -> Any:
    """``tensor`` with the rank that ``ranks`` holds for ``name``, where TensorFlow does not know it.

    The graph checks it when it runs. Raises :class:`~pullback_export.derivatives.request_checks.UnknownRank` where
    neither knows it.
    """
    if tensor.shape.rank is None and name in ranks:
        tensor = tf.ensure_shape(tensor, [None] * ranks[name])
    check_rank(name, tensor.shape)
    return tensor


def ranks_of(answers: Sequence[Mapping[Selection, Any]], unknown: ExportError) -> dict[str, int]:
    """The rank of each name, which all ``answers`` must agree on; they were needed because it was ``unknown``."""
    found: dict[str, int] = {}
    for answer in answers:
        for selection, tensor in answer.items():
            rank = tensor.shape.rank
            if selection.is_whole and found.setdefault(selection.name, rank) != rank:
                raise ExportError(
                    f"{selection.name!r} has {found[selection.name]} axes for some inputs and {rank} for others;"
                    " reshape it to one number of axes"
                ) from unknown
    return found
