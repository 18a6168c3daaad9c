"""Where the files of a bundle are: a folder, one zip file, or a folder or zip file far away."""

from __future__ import annotations

from typing import BinaryIO, Protocol


class Place(Protocol):
    """Opens files by their POSIX path relative to the bundle. What a manifest names has passed its checks of paths."""

    def open(self, relative: str, promised: bool) -> BinaryIO:
        """A file to read; raises ``BundleError``.

        ``promised``: its size and SHA-256 are known and checked, so that it does not matter where the bytes lie.
        """

    def where(self, relative: str) -> str:
        """The file as messages name it."""

    def state(self) -> tuple[object, ...]:
        """Changes when something else takes the place; empty where that cannot be told."""

    def listing(self, relative: str) -> set[str]:
        """POSIX paths, relative to the bundle, of everything that is no folder below ``relative``."""

    def is_plain(self, relative: str) -> bool:
        """Whether another program that opens the file by its path finds the file itself, not a link to elsewhere."""


__all__ = ["Place"]
