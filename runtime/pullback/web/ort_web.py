"""The files of ONNX Runtime Web that a page computes with, taken from the npm package ``onnxruntime-web``.

Pullback does not ship them (14 MB), and a command that fetches programs unasked would be a surprise: they come from
where the user installed them, ``npm install onnxruntime-web``.
"""

from __future__ import annotations

import json
from pathlib import Path

from pullback.errors import BundleError, MissingDependencyError
from pullback.web.encoding import packed

PACKAGE = "onnxruntime-web"
TESTED_VERSION = "1.30.0"

# The build for the CPU: a classic script, so that a page works from file:// too, and what it loads.
SCRIPT = "ort.wasm.min.js"
LOADER = "ort-wasm-simd-threaded.mjs"
BINARY = "ort-wasm-simd-threaded.wasm"


def find(folder: Path | None) -> Path:
    """The ``dist`` folder with the three files: in ``folder``, or in ``node_modules`` as Node looks for it.

    Raises:
        MissingDependencyError: they are nowhere.
    """
    if folder is not None:
        places = [folder, folder / "dist", folder / "node_modules" / PACKAGE / "dist"]
    else:
        here = Path.cwd()
        places = [parent / "node_modules" / PACKAGE / "dist" for parent in (here, *here.parents)]
    for place in places:
        if all((place / name).is_file() for name in (SCRIPT, LOADER, BINARY)):
            return place
    where = str(folder) if folder is not None else "node_modules of this folder or of one above it"
    raise MissingDependencyError(
        f"{where}: there is no {BINARY} with its {SCRIPT} and {LOADER}; run npm install {PACKAGE}@{TESTED_VERSION},"
        " or name the folder of the package with --runtime"
    )


def version(dist: Path) -> str:
    """What the package says of itself; ``"unknown"`` where only its files were copied."""
    described = dist.parent / "package.json"
    try:
        found = json.loads(described.read_text(encoding="utf-8"))
        return str(found["version"]) if found.get("name") == PACKAGE else "unknown"
    except (OSError, ValueError, KeyError, AttributeError):
        return "unknown"


def script(dist: Path) -> str:
    """One classic script: ONNX Runtime Web, and its loader and WebAssembly as gzip in base64.

    Browsers neither fetch nor import files beside a page that was opened from the disk; a script they do load. Packed
    so, the runtime is a third of its own size, also for servers that do not compress.
    """
    try:
        program = (dist / SCRIPT).read_text(encoding="utf-8")
        parts = {"mjs": packed((dist / LOADER).read_bytes()), "wasm": packed((dist / BINARY).read_bytes())}
    except (OSError, ValueError) as error:
        raise BundleError(f"{dist}: cannot be read ({error})") from error
    lines = [line for line in program.splitlines() if not line.startswith("//# sourceMappingURL=")]
    data = json.dumps({**parts, "version": version(dist)}, sort_keys=True)
    return "\n".join([*lines, f"globalThis.PULLBACK_RUNTIME = {data};", ""])
