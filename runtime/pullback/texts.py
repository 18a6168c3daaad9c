"""Arrays of strings: what a caller may pass, what the backends get, and how ``golden.npz`` keeps them without pickles.

Inside, an array of strings has NumPy's dtype ``object`` and holds nothing but ``str`` that UTF-8 can encode. That is
checked element by element: ONNX Runtime takes an array of any objects, and finds ``b"up"`` and ``7`` in no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STRING = "string"
# What ``golden.npz`` has for an array of strings: the bytes of all, and where each of them ends.
BYTES, ENDS = "utf8", "ends"


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of arrays of what the manifest calls ``name``."""
    return np.dtype(object) if name == STRING else np.dtype(name)


def as_texts(value: Any) -> Array:
    """``value`` as a new array of strings, of the same shape.

    Taken are arrays of NumPy's ``str`` and ``StringDType``, arrays of objects and lists; ``bytes``, such as
    TensorFlow's ``numpy()`` gives, are read as UTF-8.

    Raises:
        ValueError: an element is neither ``str`` nor ``bytes``, or no UTF-8; the message says which one.
    """
    array = np.asarray(value) if hasattr(value, "dtype") else np.asarray(value, dtype=object)
    if array.dtype.kind not in "UST" and array.dtype != object and array.size:
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    items = array.astype(object).ravel().tolist()
    texts = [item if type(item) is str else _text(item, array.shape, place) for place, item in enumerate(items)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        place = next(place for place, item in enumerate(texts) if not _is_encodable(item))
        raise ValueError(f"{texts[place]!r}{_at(array.shape, place)}, which UTF-8 cannot encode") from None
    return _shaped(texts, array.shape)


def _shaped(texts: list[str], shape: tuple[int, ...]) -> Array:
    return objects(texts).reshape(shape)


def objects(values: Sequence[Any]) -> Array:
    """A vector of whatever they are."""
    return np.fromiter(values, object, len(values))


def _text(item: object, shape: tuple[int, ...], place: int) -> str:
    if isinstance(item, str):
        return str(item)
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{item!r}{_at(shape, place)}, bytes that are not UTF-8; decode them first") from error
    if item is None or type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, float) and item != item):
        raise ValueError(f"{item!r}{_at(shape, place)}; fill what is missing with a string, such as the mask token")
    raise ValueError(f"{_shown(item)}{_at(shape, place)}, of type {type(item).__name__}; pass str")


def _shown(item: object) -> str:
    text = " ".join(repr(item).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _at(shape: tuple[int, ...], place: int) -> str:
    """Where an element stands, for a message."""
    return f" at {tuple(int(i) for i in np.unravel_index(place, shape))}" if shape else ""


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def packed(texts: Array) -> dict[str, Array]:
    """The strings as arrays of numbers: UTF-8 one after the other (uint8), and each one's end (int64, same shape)."""
    encoded = [text.encode() for text in texts.flat]
    ends = np.cumsum([len(item) for item in encoded], dtype=np.int64).reshape(texts.shape)
    return {BYTES: np.frombuffer(b"".join(encoded), np.uint8), ENDS: ends}


def unpacked(content: Array, ends: Array) -> Array:
    """The inverse of :func:`packed`; raises ``ValueError`` where the two do not describe strings."""
    flat = ends.ravel()
    if (flat[:1] < 0).any() or (flat[1:] < flat[:-1]).any() or (flat[-1] if flat.size else 0) != content.size:
        raise ValueError("the ends of its strings do not divide their bytes")
    whole, stops = content.tobytes(), flat.tolist()
    # A UnicodeDecodeError is a ValueError.
    return _shaped([whole[start:end].decode() for start, end in zip([0, *stops], stops, strict=False)], ends.shape)
