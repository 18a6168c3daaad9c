"""``golden.npz`` from a stranger: refused before NumPy unpacks or unpickles anything."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import golden
from pullback.texts import packed, unpacked

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

KEY = "evaluate/0/in/x.npy"


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(items: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in items:
            archive.writestr(name, content)
    return out.getvalue()


def with_member(name: str, content: bytes | None) -> Callable[[bytes], bytes]:
    """Replace, add or (None) remove one member."""

    def change(archive: bytes) -> bytes:
        held = {**members(archive), name: content}
        return zipped([(key, value) for key, value in held.items() if value is not None])

    return change


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An npy file with a header of our own."""
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + data


BOMB = zipped([("evaluate/0/in/x.npy", bytes(2**20))])
HUGE = header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 3), }\n")

ATTACKS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("a pickle", with_member(KEY, npy(np.array([[{}] * 3]), allow_pickle=True)), "object"),
    ("a bare pickle", with_member(KEY, b"\x80\x04K\x01."), "not a plain NumPy array"),
    ("another dtype", with_member(KEY, npy(np.zeros((1, 3)))), "float64 (1, 3)"),
    ("another byte order", with_member(KEY, npy(np.zeros((1, 3), ">f4"))), ">f4"),
    ("another shape", with_member(KEY, npy(np.zeros((1, 4), np.float32))), "(1, 4)"),
    ("another rank", with_member(KEY, npy(np.zeros(3, np.float32))), "(3,)"),
    ("another batch", with_member(KEY, npy(np.zeros((5, 3), np.float32))), "specification says"),
    ("structured", with_member(KEY, npy(np.zeros((1, 3), [("a", "<f4")]))), "it holds"),
    ("shape beyond the data", with_member(KEY, HUGE), "cannot hold"),
    ("negative shape", with_member(KEY, HUGE.replace(b"(1000000000", b"(-999999999")), "not an array of numbers"),
    (
        "boolean shape",
        with_member(KEY, HUGE.replace(b"(1000000000, 3)", b"(True, 3)      ")),
        "not an array of numbers",
    ),
    ("code in the header", with_member(KEY, header("__import__('os').system('true')\n")), "not a plain NumPy array"),
    ("header of another version", with_member(KEY, header("{}", version=b"\x03\x00")), "not a plain NumPy array"),
    ("deep header", with_member(KEY, header("(" * 3000)), "not a plain NumPy array"),
    ("cut header", with_member(KEY, b"\x93NUMPY\x01\x00\xff"), "not a plain NumPy array"),
    ("empty member", with_member(KEY, b""), "not a plain NumPy array"),
    ("more data than shape", with_member(KEY, npy(np.zeros((1, 3), np.float32)) + bytes(10000)), "cannot hold"),
    ("an input missing", with_member(KEY, None), "no sample for function 'evaluate'"),
    ("an output missing", with_member("evaluate/0/out/y.npy", None), "'evaluate/0/out/y' is missing"),
    ("a case missing", with_member("evaluate/1/in/x.npy", None), "belongs to no input or output"),
    ("an array too many", with_member("evaluate/0/in/z.npy", npy(np.zeros(1))), "belongs to no input or output"),
    ("path out of the archive", with_member("../../evil.npy", npy(np.zeros(1))), "belongs to no input or output"),
    ("no array", with_member("evil.txt", b"x"), "is not an array"),
    ("a name twice", lambda c: zipped([*members(c).items(), (KEY, b"x")]), "occurs twice"),
    ("no archive", lambda c: b"hello", "not a readable archive"),
    ("empty", lambda c: b"", "not a readable archive"),
    ("cut", lambda c: c[: len(c) // 2], "not a readable archive"),
    ("a wrong CRC", lambda c: c[:60] + bytes([c[60] ^ 255]) + c[61:], "readable"),
    ("no arrays", lambda c: zipped([]), "no sample for function"),
]


WORDS = "evaluate/0/in/word"
BYTES, ENDS = f"{WORDS}/utf8.npy", f"{WORDS}/ends.npy"
U8 = np.uint8


def ends(*places: int) -> Callable[[bytes], bytes]:
    return with_member(ENDS, npy(np.array(places, np.int64)))


# The first case has one string, "up".
STRINGS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    (
        "strings as a pickle",
        with_member(f"{WORDS}.npy", npy(np.array(["up"], object), allow_pickle=True)),
        "belongs to",
    ),
    ("bytes as a pickle", with_member(BYTES, npy(np.array(["up"], object), allow_pickle=True)), "object"),
    ("ends as a pickle", with_member(ENDS, npy(np.array([2], object), allow_pickle=True)), "object"),
    ("no ends", with_member(ENDS, None), "'evaluate/0/in/word/ends' is missing"),
    ("no bytes", with_member(BYTES, None), "'evaluate/0/in/word/utf8' is missing"),
    ("an end behind the bytes", ends(3), "do not divide their bytes"),
    ("an end before the last byte", ends(1), "do not divide their bytes"),
    ("an end below zero", ends(-1), "do not divide their bytes"),
    ("an end that overflows", ends(-(2**63)), "do not divide their bytes"),
    ("an end of too many bits", ends(2**32 + 2), "do not divide their bytes"),
    ("a string too many", ends(0, 2), "specification says"),
    ("ends of two axes", with_member(ENDS, npy(np.array([[2]], np.int64))), "specification says"),
    ("ends that are floats", with_member(ENDS, npy(np.array([2.0]))), "specification says"),
    ("ends without a sign", with_member(ENDS, npy(np.array([2], np.uint64))), "specification says"),
    ("bytes of two axes", with_member(BYTES, npy(np.zeros((1, 2), U8))), "specification says"),
    ("bytes that are signed", with_member(BYTES, npy(np.zeros(2, np.int8))), "specification says"),
    ("bytes that are no UTF-8", with_member(BYTES, npy(np.array([0xC3, 0x28], U8))), "not an array of strings"),
    (
        "half a surrogate",
        lambda c: ends(3)(with_member(BYTES, npy(np.array([0xED, 0xA0, 0x80], U8)))(c)),
        "not an array",
    ),
    ("a NUL written in two bytes", with_member(BYTES, npy(np.array([0xC0, 0x80], U8))), "not an array of strings"),
    (
        "ends that go back",
        with_member("evaluate/1/in/word/ends.npy", npy(np.array([9, 6], np.int64))),
        "do not divide their bytes",
    ),
    (
        "a letter in two strings",
        with_member("evaluate/2/in/word/ends.npy", npy(np.array([2, 6, 6, 7, 15, 21, 23], np.int64))),
        "not an array of strings",
    ),
    ("numbers for strings", with_member(f"{WORDS}.npy", npy(np.zeros(1, np.int64))), "belongs to no input or output"),
    ("more bytes than shape", with_member(BYTES, npy(np.zeros(2, U8)) + bytes(10000)), "cannot hold"),
    (
        "a shape beyond the bytes",
        with_member(BYTES, header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000,), }\n")),
        "cannot hold",
    ),
]


@pytest.mark.parametrize(("attack", "message"), [row[1:] for row in STRINGS], ids=[row[0] for row in STRINGS])
def test_strings_refused(tmp_path: Path, attack: Callable[[bytes], bytes], message: str) -> None:
    copy = Path(shutil.copytree(FIXTURES / "words.pullback", tmp_path / "words.pullback"))
    forge.replace(copy, "golden.npz", attack((copy / "golden.npz").read_bytes()))
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(copy).verify()
    assert message in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("attack", "message"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
def test_refused(folder: Path, attack: Callable[[bytes], bytes], message: str) -> None:
    warned = attack((folder / "golden.npz").read_bytes())
    forge.replace(folder, "golden.npz", warned)
    bundle = pullback.load(folder)
    with pytest.raises(pullback.BundleError) as caught:
        bundle.verify()
    assert message in str(caught.value)


def test_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to a large one is refused by what its directory says."""
    monkeypatch.setattr(golden, "MAX_BYTES", 2**19)
    assert len(BOMB) < 2**12
    forge.replace(folder, "golden.npz", BOMB)
    with pytest.raises(pullback.BundleError, match="when unpacked"):
        pullback.load(folder).verify()


@pytest.mark.parametrize("name", ["net", "words"])
def test_round_trip_is_exact_and_stable(name: str) -> None:
    bundle = pullback.load(FIXTURES / f"{name}.pullback")
    cases = bundle.samples()
    first, second = io.BytesIO(), io.BytesIO()
    golden.write(first, cases)
    golden.write(second, cases)
    assert first.getvalue() == second.getvalue() == (bundle.path / "golden.npz").read_bytes()


@pytest.mark.parametrize("shape", [(0,), (), (2, 0), (3,), (2, 2)])
def test_strings_of_any_shape(shape: tuple[int, ...]) -> None:
    some = ["", "a\0", "\0", "日本 \U0001f600"]
    array = np.array(some * 2, object)[: int(np.prod(shape))].reshape(shape)
    parts = packed(array)
    assert {part.dtype.kind for part in parts.values()} == {"u", "i"}
    back = unpacked(parts["utf8"], parts["ends"])
    assert back.shape == shape and back.tolist() == array.tolist()
