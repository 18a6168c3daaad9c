"""Weights in a file beside their graph, where one ONNX file cannot hold them or the caller wants them there.

ONNX Runtime maps such a file into memory: it is not copied, and processes share it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from pullback.manifest import FileSpec
from pullback.storage.external import ALIGNMENT

from pullback_export.errors import ExportError
from pullback_export.graph.wire import Piece, Place, Weight, contents

# Protobuf writes messages below 2 GiB; a hundredth is left for nodes and names.
LARGEST_FILE = 2**31 - 2**31 // 100

# Weights from so many bytes on are worth a place at a whole page of their own.
LEAST_BESIDE = 2**20


@dataclasses.dataclass(frozen=True)
class Beside:
    """The file ``name`` with weights of a graph: its ``pieces``, and the ``places`` of the weights in it."""

    name: str
    pieces: Sequence[Piece]
    places: dict[str, Place]

    def described(self) -> FileSpec | None:
        """What the graph's metadata and the manifest say of it; None where there is none."""
        if not self.pieces:
            return None
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return FileSpec(self.name, digest.hexdigest(), sum(len(piece) for piece in self.pieces))


def beside(weights: Sequence[Weight], name: str, external: bool | None) -> Beside:
    """The file ``name`` of the large ones among ``weights``; empty where all are in the graph.

    Args:
        weights: all weights of a graph.
        name: of the file.
        external: whether large weights go there; None: where one file cannot hold all.

    Raises:
        ExportError: the graph's own file would be larger than protobuf can write.
    """
    total = sum(array.nbytes for _, array in weights)
    if external is None:
        external = total > LARGEST_FILE
    chosen = [(label, array) for label, array in weights if external and array.nbytes >= LEAST_BESIDE]
    if (inside := total - sum(array.nbytes for _, array in chosen)) > LARGEST_FILE:
        kind = f"the weights of less than {LEAST_BESIDE:,} bytes each" if external else "the weights"
        remedy = "a part of the model (an inner layer as output)" if external else "with external_data=True or None"
        raise ExportError(
            f"{kind} take {inside:,} bytes, and one ONNX file holds at most {LARGEST_FILE:,}; export {remedy}, or"
            " weights of a shorter dtype"
        )
    pieces: list[Piece] = []
    places, end = {}, 0
    for label, array in chosen:
        pieces += [bytes(-end % ALIGNMENT), contents(array)]
        places[label] = Place(name, end + -end % ALIGNMENT)
        end = places[label].start + array.nbytes
    return Beside(name, pieces, places)
