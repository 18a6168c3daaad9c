"""The SavedModel of a bundle, for TensorFlow, which opens files by their paths and follows links."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from pullback.manifest import FileSpec
from pullback.storage import Place
from pullback.storage.content import blocks


class Program:
    """The checked ``files`` at ``place``, those of the SavedModel ``relative``; ``path`` is where that is.

    Links, and members of an archive, are not what TensorFlow may be pointed at: between our check and its reading
    someone might have put other bytes there. Those are checked once more while they are copied into a folder that only
    this user can write.
    """

    def __init__(self, place: Place, relative: str, path: Path, files: Sequence[FileSpec]) -> None:
        self.path = path
        self._place, self._relative, self._files = place, relative, tuple(files)
        self._copy: Path | None = None

    def folder(self) -> Path:
        """A folder that TensorFlow may load; raises ``BundleError``."""
        if all(self._place.is_plain(file.path) for file in self._files):
            return self.path
        if self._copy is None or not self._copy.exists():
            made = Path(tempfile.mkdtemp(prefix="pullback-"))
            weakref.finalize(self, _remove, made, os.getpid())
            for file in self._files:
                target = made / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    stream.writelines(blocks(self._place, file))
            self._copy = made / self._relative
        return self._copy


def _remove(folder: Path, owner: int) -> None:
    """A forked child leaves the folder to its parent."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
