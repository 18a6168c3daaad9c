"""Strings in requests (``BYTES`` of the Open Inference Protocol), in Triton's configuration, and not on the page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import InputError, NotExportedError
from pullback.serving import protocol, triton
from pullback.web.description import describe

from tests.runtime.conftest import FIXTURES
from tests.runtime.test_strings import ASKED, X

WORDS = pullback.load(FIXTURES / "words.pullback")
SPEC = WORDS.functions["evaluate"].spec
XS = {"name": "x", "datatype": "FP32", "shape": [7, 2], "data": X.ravel().tolist()}
BYTES = b"".join(len(item.encode()).to_bytes(4, "little") + item.encode() for item in ASKED)


def request(word: dict[str, Any], tail: bytes = b"", x: dict[str, Any] = XS) -> protocol.Request:
    head = json.dumps({"inputs": [{"name": "word", "datatype": "BYTES", "shape": [7], **word}, x]}).encode()
    return protocol.parse(head + tail, str(len(head)) if tail else None, SPEC)


def binary(content: bytes) -> protocol.Request:
    return request({"parameters": {"binary_data_size": len(content)}}, content)


def test_strings_of_a_request() -> None:
    for found in (request({"data": ASKED}), binary(BYTES)):
        assert found.feeds["word"].tolist() == ASKED
        results = WORDS(**found.feeds)._asdict()
        body, _ = protocol.respond("words_evaluate", found, results)
        np.testing.assert_allclose(json.loads(body)["outputs"][0]["data"], WORDS(ASKED, X).y, rtol=1e-6)


BAD: dict[str, tuple[Any, str]] = {
    "numbers": (lambda: request({"data": list(range(7))}), "of type int; pass str"),
    "a null": (lambda: request({"data": [None, *ASKED[1:]]}), "None at (0,); fill what is missing"),
    "half a surrogate": (lambda: request({"data": ["\ud800", *ASKED[1:]]}), "which UTF-8 cannot encode"),
    "too few": (lambda: request({"data": ASKED[1:]}), "there are 6 strings, the shape says 7"),
    "one string": (lambda: request({"data": "up"}), "'data' must be a list of strings"),
    "another datatype": (lambda: request({"datatype": "FP32", "data": [0.0] * 7}), "the datatype must be BYTES"),
    "a length behind the end": (lambda: binary(BYTES[:-1]), "the last string is cut off"),
    "half a length": (lambda: binary(BYTES + b"\1\0"), "the last string is cut off"),
    "a huge length": (lambda: binary(b"\xff\xff\xff\xff"), "the last string is cut off"),
    "one too many": (lambda: binary(BYTES + bytes(4)), "there are 8 strings, the shape says 7"),
    "no UTF-8": (lambda: binary(BYTES[:4] + b"\xff\xfe" + BYTES[6:]), "bytes that are not UTF-8"),
    "deep": (lambda: request({"data": [[[[["up"]]]]] * 6}), "there are 6 strings"),
    "ragged": (lambda: request({"data": [*ASKED[:6], ["up"]]}), "of type list; pass str"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_strings(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)


def test_metadata_and_configuration() -> None:
    described = protocol.metadata("words_evaluate", SPEC)
    assert described["inputs"][0] == {"name": "word", "datatype": "BYTES", "shape": [-1]}
    assert "data_type: TYPE_STRING" in triton.config("words_evaluate", SPEC)


def test_the_page_has_no_control_for_them() -> None:
    with pytest.raises(NotExportedError, match="'word' holds strings, which the page has no control for"):
        describe(WORDS)
