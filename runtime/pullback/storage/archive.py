"""A bundle as one zip file, its members stored as they are: read in place, never unpacked, checked like a folder."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

from pullback.errors import BundleError, DamagedError
from pullback.manifest import FileSpec
from pullback.storage import Place, content

MANIFEST = "manifest.json"
MAGIC = b"PK\x03\x04"
MAX_MEMBERS = 100_000


class Archive:
    """The members of the zip file that ``open_file`` opens, each time anew; ``name`` stands in messages.

    The manifest is at the top, or in the one folder that was packed.
    """

    def __init__(self, name: str, open_file: Callable[[], BinaryIO], state: Callable[[], tuple[object, ...]]) -> None:
        self.name = name
        self._open_file = open_file
        self._state = state

    def open(self, relative: str, promised: bool) -> BinaryIO:
        """A member; raises ``BundleError`` for an archive that is not what a bundle's is."""
        stream = self._open_file()
        try:
            archive = zipfile.ZipFile(stream)
            members = self._members(archive)
            if relative not in members:
                raise BundleError(f"{self.where(relative)}: missing; the bundle is incomplete, copy or export it again")
            return cast(BinaryIO, _Member(archive.open(members[relative]), stream))
        except Exception as error:  # damage makes zipfile raise BadZipFile, NotImplementedError, RuntimeError ...
            stream.close()
            if isinstance(error, BundleError):
                raise
            raise DamagedError(f"{self.name}: not a readable zip file ({error}); it is damaged") from error

    def where(self, relative: str) -> str:
        """The archive and the member."""
        return f"{self.name}/{relative}"

    def state(self) -> tuple[object, ...]:
        """That of the file."""
        return self._state()

    def listing(self, relative: str) -> set[str]:
        """Members below a folder."""
        with contextlib.closing(self._open_file()) as stream, zipfile.ZipFile(stream) as archive:
            return {name for name in self._members(archive) if name.startswith(f"{relative}/")}

    def is_plain(self, relative: str) -> bool:
        """No other program finds a member by its path."""
        return False

    def _members(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        """By path relative to the bundle; raises ``BundleError``."""
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_MEMBERS:
            raise DamagedError(f"{self.name}: {len(entries)} members; at most {MAX_MEMBERS} are read")
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            self._check_name(entry)
            if entry.filename in found:
                raise DamagedError(f"{self.name}: member {entry.filename!r} occurs twice")
            found[entry.filename] = entry
        top = self._top(found)
        for entry in entries:
            self._check_form(entry)
        self._check_overlaps(entries)
        return {name[len(top) :]: entry for name, entry in found.items() if name.startswith(top)}

    def _check_name(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(c in entry.orig_filename for c in "\\:\0"):
            raise DamagedError(f"{self.name}: member {name!r} is not a plain relative path inside the bundle")

    def _check_form(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        if entry.flag_bits & 0x1:
            raise DamagedError(f"{self.name}: member {name!r} is encrypted; no bundle needs that")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleError(f"{self.name}: member {name!r} is a symbolic link; pack the file itself")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise BundleError(
                f"{self.name}: member {name!r} is compressed; store it uncompressed: pullback pack BUNDLE FILE.zip"
            )

    def _check_overlaps(self, entries: list[zipfile.ZipInfo]) -> None:
        """Members that share bytes make a small file large."""
        end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < end:
                raise DamagedError(f"{self.name}: member {entry.filename!r} overlaps another; the file is forged")
            end = entry.header_offset + entry.file_size + 30  # and the names, which are not empty

    def _top(self, members: dict[str, zipfile.ZipInfo]) -> str:
        if MANIFEST in members:
            return ""
        tops = [
            name.removesuffix(MANIFEST) for name in members if name.endswith(f"/{MANIFEST}") and name.count("/") == 1
        ]
        if len(tops) != 1:
            raise DamagedError(f"{self.name}: no {MANIFEST} in it, or several; it is damaged, or no bundle")
        return tops[0]


def write(target: Path, manifest: bytes, place: Place, files: Sequence[FileSpec]) -> None:
    """Pack a manifest and the ``files`` that it lists; the same bundle gives the same bytes.

    The file appears at once or not at all. Raises ``BundleError`` for a file that is not what was promised.
    """
    made = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(made, "x", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST), manifest)  # dated 1980
            for file in files:
                info = zipfile.ZipInfo(file.path)
                info.file_size = file.size  # tells whether it takes the form for large files
                with archive.open(info, "w") as member:
                    for block in content.blocks(place, file):
                        member.write(block)
        os.replace(made, target)
    finally:
        made.unlink(missing_ok=True)


class _Member:
    """A member, which closes the archive's file with itself."""

    def __init__(self, member: IO[bytes], stream: BinaryIO) -> None:
        self._member, self._stream = member, stream

    def read(self, size: int = -1) -> bytes:
        return self._member.read(size)

    def close(self) -> None:
        self._member.close()
        self._stream.close()
