"""A bundle in a folder. Files that the manifest promises may be links to anywhere; everything else lies inside."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from pullback.errors import BundleError


class Folder:
    """The files below ``root``.

    The cache of the Hugging Face Hub is known: there every file of ``snapshots/<revision>/`` is a link into ``blobs/``,
    the manifest too. No other link that leads out is followed for a file whose checksum is not known.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, relative: str, promised: bool) -> BinaryIO:
        """A regular file; raises ``BundleError``."""
        path = self.resolve(relative, promised)
        try:
            return open_regular(path)
        except BundleError as error:
            link = "" if self.is_plain(relative) else "; a symbolic link leads out of the bundle to it"
            raise BundleError(f"{error}{link}") from error

    def where(self, relative: str) -> str:
        """Its path."""
        return str(self.root / relative)

    def state(self) -> tuple[object, ...]:
        """Another folder or another manifest is another state."""
        try:
            place, held = os.stat(self.root), os.stat(self.root / "manifest.json")
        except OSError:
            return ()
        return (place.st_ino, place.st_mtime_ns, held.st_ino, held.st_mtime_ns, held.st_size)

    def listing(self, relative: str) -> set[str]:
        """Links are listed, not followed."""
        found = set()
        for folder, folders, files in os.walk(self.resolve(relative, promised=False)):
            for name in [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]:
                found.add((Path(folder) / name).relative_to(self.root).as_posix())
        return found

    def is_plain(self, relative: str) -> bool:
        """Whether the path leads to a place inside of the folder."""
        try:
            return (self.root / relative).resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):
            return False

    def resolve(self, relative: str, promised: bool) -> Path:
        """``root / relative``; raises ``BundleError`` when a link leads out of ``root`` that may not."""
        path = self.root / relative
        try:
            target = path.resolve(strict=True)
            inside, home = target.is_relative_to(self.root.resolve()), path.parent.resolve(strict=True)
        except FileNotFoundError as error:
            raise BundleError(f"{path}: missing; the bundle is incomplete, copy or export it again") from error
        except (OSError, RuntimeError) as error:
            raise BundleError(f"{path}: cannot be opened ({error}); check its permissions") from error
        # Only the file itself may be a link: a folder that is one leads everything below it elsewhere.
        if inside or (home.is_relative_to(self.root.resolve()) and (promised or target.parent == _blobs(self.root))):
            return path
        raise BundleError(f"{path}: a symbolic link leads out of the bundle, to {target}; copy the file itself")


def open_regular(path: Path) -> BinaryIO:
    """A file that is no folder, pipe or device; raises ``BundleError``."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleError(f"{path}: not a regular file; copy or export the bundle again")
        # What took its place since then may not make us wait, as a pipe without a writer would.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: cannot be read ({error}); check its permissions") from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise BundleError(f"{path}: not a regular file; copy or export the bundle again")
    return stream


def _blobs(root: Path) -> Path | None:
    """Where the Hub's cache keeps the files of the snapshot that ``root`` is, or lies in; None for another folder."""
    for start in (root, root.resolve()):
        for folder in (start, *start.parents):
            if folder.parent.name == "snapshots":
                return (folder.parent.parent / "blobs").resolve()
    return None
