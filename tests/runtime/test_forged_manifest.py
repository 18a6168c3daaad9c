"""Every way to get the manifest wrong, and the error it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pullback
import pytest

from tests.runtime import forge
from tests.runtime.forge import setting

FIRST = "functions/0"
X = f"{FIRST}/function/inputs/0"
SLOPE = f"{FIRST}/function/derivatives/0"

# What was changed, how, and a piece of the message.
EDITS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("unknown key", setting("color", "red"), "unknown key 'color'"),
    ("unknown key inside", setting(f"{X}/color", "red"), "unknown key 'color'"),
    ("missing key", setting("golden", ...), "'golden' is missing"),
    ("missing key inside", setting(f"{X}/dtype", ...), "'dtype' is missing"),
    ("no version", setting("format_version", ...), "'format_version'"),
    ("version a string", setting("format_version", "1"), "'format_version'"),
    ("version a boolean", setting("format_version", True), "'format_version'"),
    ("version a float", setting("format_version", 1.0), "'format_version'"),
    ("name empty", setting("name", ""), "'name' is empty"),
    ("name a number", setting("name", 7), "name must be str"),
    ("producer a list", setting("producer", []), "producer must be an object"),
    ("producer of numbers", setting("producer", {"onnx": 1}), "producer.onnx must be str"),
    ("no functions", setting("functions", []), "no function 'evaluate'"),
    ("functions an object", setting("functions", {}), "functions must be a list"),
    ("no evaluate", setting(f"{FIRST}", ...), "no function 'evaluate'"),
    ("function twice", setting("functions/1/function/name", "evaluate"), "listed twice"),
    ("unknown function", setting("functions/1/function/name", "exec"), "function 'exec' is not one of"),
    ("no inputs", setting(f"{FIRST}/function/inputs", []), "needs an input"),
    ("no outputs", setting(f"{FIRST}/function/outputs", []), "needs an input"),
    ("two inputs of one name", setting("functions/1/function/inputs/1/name", "x"), "share a name"),
    ("a keyword as name", setting(f"{X}/name", "lambda"), "'lambda' cannot name an array"),
    ("a reserved name", setting(f"{X}/name", "fetch"), "'fetch' cannot name an array"),
    ("a name with a slash", setting(f"{X}/name", "a/b"), "cannot name an array"),
    ("a name with an underscore first", setting(f"{X}/name", "_make"), "cannot name an array"),
    ("a name beyond ASCII", setting(f"{X}/name", "ξ"), "cannot name an array"),
    ("an empty name", setting(f"{X}/name", ""), "cannot name an array"),
    ("a very long name", setting(f"{X}/name", "x" * 1000), "cannot name an array"),
    ("a name with a newline", setting(f"{X}/name", "x\n"), "cannot name an array"),
    ("unknown dtype", setting(f"{X}/dtype", "float31"), "dtype 'float31'"),
    ("complex dtype", setting(f"{X}/dtype", "complex64"), "dtype 'complex64'"),
    ("an input of strings that has a derivative", setting(f"{X}/dtype", "string"), "is by 'x', which holds strings"),
    ("an output of strings", setting(f"{FIRST}/function/outputs/0/dtype", "string"), "dtype 'string'"),
    ("a seed of strings", setting("functions/1/function/inputs/1/dtype", "string"), "which holds strings"),
    ("object dtype", setting(f"{X}/dtype", "object"), "dtype 'object'"),
    ("negative size", setting(f"{X}/shape", ["B", -3]), "cannot have shape"),
    ("fractional size", setting(f"{X}/shape", ["B", 3.0]), "must be int or str"),
    ("boolean size", setting(f"{X}/shape", ["B", True]), "must be int or str"),
    ("null size", setting(f"{X}/shape", ["B", None]), "must be int or str"),
    ("a free axis that is not named", setting(f"{X}/shape", ["B", "a b"]), "free axis that is not named"),
    ("a huge shape", setting(f"{X}/shape", [2**40, 2**40]), "cannot have shape"),
    ("too many axes", setting(f"{X}/shape", [1] * 33), "33 axes"),
    ("shape a number", setting(f"{X}/shape", 3), "shape must be a list"),
    ("batched a number", setting(f"{FIRST}/function/batched", 1), "batched must be bool"),
    ("points a number", setting(f"{FIRST}/function/points", 2), "points must be str"),
    ("points in version 1", setting(f"{FIRST}/function/points", "points"), "format version 1 with points"),
    ("unknown kind", setting(f"{SLOPE}/kind", "curl"), "derivative kind 'curl'"),
    ("a derivative that is no output", setting(f"{SLOPE}/name", "dz_dx"), "'dz_dx' is not among the outputs"),
    ("a seed that is no input", setting(f"{SLOPE}/seed", "adj_z"), "seed 'adj_z' is not among the inputs"),
    ("a derivative of nothing", setting(f"{SLOPE}/of", ""), "must say of what"),
    ("with respect to nothing", setting(f"{SLOPE}/wrt", []), "must say of what"),
    ("opset zero", setting(f"{FIRST}/opset", 0), "opset 0"),
    ("opset a string", setting(f"{FIRST}/opset", "18"), "opset must be int"),
    ("no file at all", setting(f"{FIRST}/file", None), "neither an ONNX file nor a SavedModel"),
    ("path to the parent", setting(f"{FIRST}/file/path", "../evaluate.onnx"), "not a plain relative path"),
    ("path through the parent", setting(f"{FIRST}/file/path", "a/../../evaluate.onnx"), "not a plain relative path"),
    ("absolute path", setting(f"{FIRST}/file/path", "/etc/passwd"), "not a plain relative path"),
    ("path with backslashes", setting(f"{FIRST}/file/path", "..\\evaluate.onnx"), "not a plain relative path"),
    ("path on a drive", setting(f"{FIRST}/file/path", "C:evaluate.onnx"), "not a plain relative path"),
    ("path with a dot", setting(f"{FIRST}/file/path", "./evaluate.onnx"), "not a plain relative path"),
    ("path with an empty part", setting(f"{FIRST}/file/path", "a//evaluate.onnx"), "not a plain relative path"),
    ("path with NUL", setting(f"{FIRST}/file/path", "evaluate.onnx\0"), "not a plain relative path"),
    ("empty path", setting(f"{FIRST}/file/path", ""), "not a plain relative path"),
    ("very long path", setting(f"{FIRST}/file/path", "a" * 2000), "not a plain relative path"),
    ("path too long for the system", setting(f"{FIRST}/file/path", "a" * 1000), "cannot be opened"),
    ("one file for two functions", setting("functions/1/file/path", "evaluate.onnx"), "listed twice"),
    ("the manifest as a file", setting("golden/path", "manifest.json"), "listed twice"),
    ("SHA-256 too short", setting(f"{FIRST}/file/sha256", "abc"), "64 hexadecimal"),
    ("SHA-256 in capitals", setting(f"{FIRST}/file/sha256", "A" * 64), "64 hexadecimal"),
    ("SHA-256 of something else", setting(f"{FIRST}/file/sha256", "0" * 64), "SHA-256 is not the one"),
    ("negative file size", setting(f"{FIRST}/file/size", -1), "is negative"),
    ("wrong file size", setting(f"{FIRST}/file/size", 5), "more than 5 bytes"),
    ("enormous file size", setting(f"{FIRST}/file/size", 2**60), "at most"),
    ("tolerance zero", setting("tolerance/float32", 0), "tolerance float32"),
    ("tolerance negative", setting("tolerance/float64", -1e-9), "tolerance float64"),
    ("tolerance beyond one", setting("tolerance/float32", 1e9), "tolerance float32"),
    ("tolerance a string", setting("tolerance/float32", "1e-5"), "float32 must be float"),
    ("another tolerance than the graph's", setting("tolerance/float32", 0.5), "differs from the manifest's"),
    ("parity a list", setting("parity", []), "parity must be an object"),
    ("range of no input", setting("ranges", {"z": [0, 1]}), "range of 'z'"),
    ("range upside down", setting("ranges", {"x": [1, 0]}), "range of 'x' is empty"),
    ("range of three", setting("ranges", {"x": [0, 1, 2]}), "a list of 2"),
    (
        "SavedModel elsewhere",
        setting("saved_model", [{"path": "a", "sha256": "0" * 64, "size": 1}]),
        "outside saved_model",
    ),
    ("other shape than the graph", setting(f"{X}/shape", ["B", 4]), "differs from the manifest's"),
    ("other dtype than the graph", setting(f"{X}/dtype", "float64"), "differs from the manifest's"),
]

TEXTS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "not valid JSON"),
    ("no JSON", b"hello", "not valid JSON"),
    ("a list", b"[]", "'format_version'"),
    ("null", b"null", "'format_version'"),
    ("cut off", b'{"format_version": 1, "name": "n', "not valid JSON"),
    ("garbage at the end", b'{"format_version": 1} x', "not valid JSON"),
    ("a key twice", b'{"format_version": 1, "format_version": 1}', "repeated"),
    ("NaN", b'{"format_version": 1, "name": NaN}', "NaN is not allowed"),
    ("Infinity", b'{"format_version": 1, "name": Infinity}', "Infinity is not allowed"),
    ("nested lists", b'{"format_version": 1, "parity": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper"),
    ("nested objects", b'{"a": ' * 5000 + b"1" + b"}" * 5000, "nested deeper"),
    ("unclosed brackets", b"[" * 1000, "nested deeper"),
    ("too long", b" " * (16 * 2**20 + 1), "larger than"),
    ("not UTF-8", b'{"format_version": 1, "name": "\xff"}', "not valid JSON"),
    ("UTF-16", '{"format_version": 1}'.encode("utf-16"), "not valid JSON"),
    ("a number of 5000 digits", b'{"format_version": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ("a lone surrogate", b'{"format_version": 1, "\\ud800": 1}', "unknown key"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS])
def test_edited(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    forge.edit_manifest(folder, change)
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_no_manifest_at_all(folder: Path, text: bytes, message: str) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("version", [0, 3, -1, 10**9])
def test_other_versions(folder: Path, version: int) -> None:
    forge.edit_manifest(folder, setting("format_version", version))
    with pytest.raises(pullback.FormatVersionError, match=f"format version {version}; this runtime reads 1, 2"):
        pullback.load(folder)
