"""Names of inputs and outputs: which outputs are kept, and what stands for a name that is no identifier."""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Mapping, Sequence

from pullback_export.errors import ExportError

Outputs = str | Sequence[str] | Mapping[str, str] | None

# Names that Keras and TensorFlow generate where the user gave none.
_MADE_UP = re.compile(r"(keras_tensor|input|input_layer|inputs|output|Identity|args?)(_\d+)*")
_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Kept:
    """The outputs that are exported: their positions among all that the model has, and their names, in order."""

    positions: tuple[int, ...]
    names: tuple[str, ...]


def kept(wanted: Outputs, found: Sequence[str], originals: Sequence[str] | None = None) -> Kept:
    """What ``outputs=`` says about outputs that are called ``found``, or ``originals`` where the model is asked.

    Names that the model has, or a dictionary ``{name: new name}``, keep these and drop the others; as many new
    names as there are outputs rename them all. Raises :class:`ExportError` for anything else.
    """
    if wanted is None:
        return Kept(tuple(range(len(found))), tuple(found))
    known = {name: index for names in (originals or (), found) for index, name in enumerate(names)}
    if isinstance(wanted, Mapping):
        pairs = list(wanted.items())
    else:
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        if len(names) == len(found) and _rename_all(names, known):
            return Kept(tuple(range(len(found))), tuple(names))
        pairs = [(name, name) for name in names]
    unknown = [name for name, _ in pairs if name not in known]
    if unknown or not pairs:
        raise ExportError(
            f"outputs={wanted!r}: the model has {len(found)} output(s), {_listed(found)}; give the names of those to"
            " keep, a dictionary {name: new name} of them, or a list with one new name for each"
        )
    return Kept(tuple(known[name] for name, _ in pairs), tuple(new for _, new in pairs))


def _rename_all(names: Sequence[str], known: Mapping[str, int]) -> bool:
    """Whether as many names as outputs are new ones: some are not known, and each that is known stands in its place.

    A known name in another place with an unknown one beside it is a selection with a slip of the pen.
    """
    return not set(names) <= set(known) and all(known.get(name, index) == index for index, name in enumerate(names))


def readable(names: Sequence[str], stem: str) -> tuple[str, ...]:
    """``names`` as identifiers; those that Keras and TensorFlow made up give way to ``stem``, or ``stem`` and a number.

    The number is the position. Names that somebody chose stay, see :func:`identifiers`.
    """
    chosen = [None if _MADE_UP.fullmatch(name) else name for name in names]
    spelled = identifiers([name for name in chosen if name is not None])
    taken, rest = set(spelled), iter(spelled)
    alone = chosen.count(None) == 1 and stem not in taken and len(names) == 1
    result = []
    for index, name in enumerate(chosen):
        label = next(rest) if name is not None else stem if alone else f"{stem}{index}"
        while name is None and label in taken:
            label += "_"
        result.append(label)
    return tuple(result)


def identifiers(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` as identifiers of Python: ``_`` for each character that none may have, told apart where they meet.

    ``dense/out`` is ``dense_out``, ``2nd`` is ``_2nd``, ``lambda`` is ``lambda_``. Where two names would become one,
    the later of those that had to change gets a number, ``a_b_2``. :func:`renamed` states each for the report, by which
    the spelling can be undone.
    """
    taken = {name for name in names if _is_identifier(name)}
    result: list[str] = []
    for name in names:
        if _is_identifier(name):
            result.append(name)
            continue
        stem = re.sub(r"\W", "_", name)
        stem = f"_{stem}" if not stem or stem[0].isdigit() else stem
        stem = f"{stem}_" if keyword.iskeyword(stem) else stem
        label, number = stem, 2
        while label in taken:
            label, number = f"{stem}_{number}", number + 1
        taken.add(label)
        result.append(label)
    return tuple(result)


def renamed(originals: Sequence[str], names: Sequence[str], what: str) -> tuple[str, ...]:
    """Notes for the report: what each name that is no identifier is called in the bundle, and how to choose another."""
    remedy = "outputs={{{!r}: 'name'}}" if what == "output" else "inputs=[tf.TensorSpec(..., name='name')]"
    return tuple(
        f"the {what} {original!r} is called {name} in the bundle; {remedy.format(original)} gives it another name"
        for original, name in zip(originals, names, strict=True)
        if original != name and not _is_identifier(original)
    )


def structure_names(result: object, count: int) -> tuple[str, ...]:
    """Keys of a dictionary, fields of a named tuple, else ``y`` or ``y0, y1, ...``."""
    if isinstance(result, dict) and all(isinstance(key, str) for key in result):
        return tuple(sorted(result)) if len(result) == count else numbered("y", count)
    fields = getattr(result, "_fields", None)
    return tuple(fields) if fields and len(fields) == count else numbered("y", count)


def numbered(stem: str, count: int) -> tuple[str, ...]:
    return (stem,) if count == 1 else tuple(f"{stem}{index}" for index in range(count))


def _is_identifier(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None and not keyword.iskeyword(name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
