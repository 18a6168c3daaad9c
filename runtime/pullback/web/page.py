"""The folder of a page: ``index.html`` and four files beside it, which load nothing else."""

from __future__ import annotations

import html
import importlib.resources
import json
import os
import shutil
import tempfile
from pathlib import Path

from pullback.bundle import Bundle
from pullback.web import ort_web
from pullback.web.description import describe

# In the order in which they need each other; joined, they are ``page.js``.
SCRIPTS = ("tensors", "model", "drawings", "curve", "editors", "controls", "results", "page")
NAMES = ("index.html", "page.css", "page.js", "bundle.js", "runtime.js")


def write(bundle: Bundle, target: Path, dist: Path, title: str | None = None) -> dict[str, int]:
    """Write the page of ``bundle`` to the folder ``target``, at once or not at all; gives the size of each file.

    ``dist`` is the folder of ONNX Runtime Web's files; ``title`` stands where the bundle's name would.
    """
    contents = files(bundle, dist, title)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        for name, text in contents.items():
            (made / name).write_text(text, encoding="utf-8", newline="\n")
        made.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(made, target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return {name: len(text.encode()) for name, text in contents.items()}


def files(bundle: Bundle, dist: Path, title: str | None = None) -> dict[str, str]:
    """The text of each file by name: the same for the same bundle and the same ONNX Runtime Web."""
    described = describe(bundle)
    shown = title or str(described["name"])
    page = _static("index.html").replace("{{title}}", html.escape(shown))
    data = json.dumps({**described, "title": shown}, sort_keys=True)
    return {
        "index.html": page,
        "page.css": _static("page.css"),
        "page.js": "\n".join(['"use strict";', *(_static(f"{name}.js") for name in SCRIPTS)]),
        "bundle.js": f"globalThis.PULLBACK_BUNDLE = {data};\n",
        "runtime.js": ort_web.script(dist),
    }


def _static(name: str) -> str:
    return (importlib.resources.files("pullback.web") / "static" / name).read_text(encoding="utf-8")
