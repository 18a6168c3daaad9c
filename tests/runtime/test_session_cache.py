"""``load(cache=)``: graphs that ONNX Runtime has optimised are kept in a folder, and the numbers stay the same."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pullback
import pytest
from pullback import cli
from pullback.backends import session_cache, sessions
from pullback.errors import InputError

from tests.runtime.test_fetch import GOLDEN, choices, inputs

BOWL = GOLDEN / "bowl.pullback"
X = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]

# Small weights in the graph, as with small nets; and as many as may be (shapes may not) in the file that is mapped.
MAPPED = {"in the graph": 2**20, "mapped": 256}


@pytest.fixture(params=MAPPED)
def weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    least = str(MAPPED[request.param])
    monkeypatch.setattr(sessions, "_EXTERNAL", {**sessions._EXTERNAL, "min_size_in_bytes": least})
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def optimised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Functions whose graphs were optimised, so far."""
    names: list[str] = []
    write = session_cache.SessionCache.write

    def spied(self: Any, function: str, *args: Any) -> None:
        names.append(function)
        write(self, function, *args)

    monkeypatch.setattr(session_cache.SessionCache, "write", spied)
    return names


def bits(result: Any) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in result._asdict().items()}


def answers(path: Path, **options: Any) -> list[dict[str, tuple[Any, ...]]]:
    """Of every function, for all of its results and for parts of them."""
    found = []
    for function in pullback.load(path, **options).functions.values():
        given = inputs(function.spec)
        names = [None, *choices(function.fetch_names(None))]
        found += [bits(function(**given, fetch=fetch)) for fetch in names]
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_same_bits_with_and_without(name: str, folder: Path, weights: str, optimised: list[str]) -> None:
    path = GOLDEN / name
    without = answers(path)
    assert answers(path, cache=folder) == without
    assert optimised
    optimised.clear()
    assert answers(path, cache=folder) == without
    assert not optimised
    mapped = list(folder.glob(f"*/{session_cache.WEIGHTS}"))
    assert bool(mapped) == (weights == "mapped" and name != "field.pullback")  # which has none so large
    pullback.load(path, cache=folder).verify()


@pytest.mark.parametrize("level", sessions.LEVELS)
def test_levels_have_graphs_of_their_own(level: str, folder: Path, optimised: list[str]) -> None:
    pullback.load(GOLDEN / "picture_float32.pullback", cache=folder)(**image())
    optimised.clear()
    expected = bits(pullback.load(GOLDEN / "picture_float32.pullback", optimization=level)(**image()))
    for _ in range(2):
        bundle = pullback.load(GOLDEN / "picture_float32.pullback", optimization=level, cache=folder)
        assert bits(bundle(**image())) == expected
    assert optimised == ([] if level == "all" else ["evaluate"])


def image() -> dict[str, Any]:
    return inputs(pullback.load(GOLDEN / "picture_float32.pullback").spec)


@pytest.mark.parametrize("batch", [0, 1, 2, 7, 5000])
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_batches_and_threads(batch: int, threads: int | None, folder: Path, weights: str) -> None:
    x = np.linspace(-2, 2, batch, dtype=np.float32)[:, None]
    expected = bits(pullback.load(BOWL, threads=threads)(x))
    for _ in range(2):
        assert bits(pullback.load(BOWL, threads=threads, cache=folder)(x)) == expected


def damaged(change: Callable[[Path], Any], kind: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (path,) = folder.glob({"entry": "*.json"}.get(kind, f"*/{kind}"))
        change(path)

    return damage


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def entry_says(**changed: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


FILES = ("entry", session_cache.GRAPH, session_cache.WEIGHTS)
CHANGES = (cut_off, flipped, longer, emptied, Path.unlink, a_folder, a_pipe)
ENTRIES: dict[str, Callable[[Path], Any]] = {
    "folder elsewhere": entry_says(folder="../elsewhere"),
    "absolute folder": entry_says(folder="/tmp"),
    "folder a number": entry_says(folder=3),
    "no files": entry_says(files={}),
    "files a list": entry_says(files=[]),
    "another key": entry_says(key={}),
    "size a text": entry_says(size="large"),
    "size none": entry_says(size=None),
    "a list": lambda path: path.write_text("[]"),
    "null": lambda path: path.write_text("null"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
}
DAMAGES = {f"{kind}: {change.__name__}": damaged(change, kind) for kind in FILES for change in CHANGES} | {
    f"entry: {name}": damaged(change, "entry") for name, change in ENTRIES.items()
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage(damage: str, folder: Path, optimised: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not as it was stored is not used, and stored again."""
    monkeypatch.setattr(sessions, "_EXTERNAL", {**sessions._EXTERNAL, "min_size_in_bytes": "256"})
    expected = bits(pullback.load(BOWL, cache=folder)(X))
    DAMAGES[damage](folder)
    optimised.clear()
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected
    assert optimised == ["evaluate"]
    optimised.clear()
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected
    stuck = damage == "entry: a_folder"  # a folder is nobody's to remove
    assert optimised == (["evaluate"] if stuck else [])
    assert not list(folder.glob("*.new"))


def test_weights_of_another_bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a whole other entry, under the names of ours."""
    monkeypatch.setattr(sessions, "_EXTERNAL", {**sessions._EXTERNAL, "min_size_in_bytes": "256"})
    expected = bits(pullback.load(BOWL)(X))
    pullback.load(BOWL, cache=folder)(X)
    (entry,) = folder.glob("*.json")
    field = GOLDEN / "field.pullback"
    other = tmp_path / "other"
    pullback.load(field, cache=other)(**inputs(pullback.load(field).spec))
    (foreign,) = other.glob("*.json")
    shutil.copytree(other, folder, dirs_exist_ok=True)
    shutil.copy(foreign, entry)
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected


KEYS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "ONNX Runtime": lambda patch: patch.setattr(onnxruntime, "__version__", "9.9.9"),
    "its build": lambda patch: patch.setattr(onnxruntime, "get_build_info", lambda: "another"),
    "processor": lambda patch: patch.setattr(session_cache, "processor", lambda: ["another"]),
    "format": lambda patch: patch.setattr(session_cache, "FORMAT", 2),
}


@pytest.mark.parametrize("what", KEYS)
def test_another_key_is_another_graph(
    what: str, folder: Path, optimised: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bits(pullback.load(BOWL, cache=folder)(X))
    (mine,) = folder.glob("*.json")
    KEYS[what](monkeypatch)
    optimised.clear()
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected
    assert optimised == ["evaluate"]
    (other,) = set(folder.glob("*.json")) - {mine}
    shutil.copy(mine, other)  # as when a cache is copied from machine to machine and renamed
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected
    assert optimised == ["evaluate"] * 2


def test_providers_and_their_options_are_in_the_key(folder: Path, optimised: list[str]) -> None:
    for providers in (None, ["CPUExecutionProvider"], [("CPUExecutionProvider", {"use_arena": "0"})]):
        pullback.load(BOWL, cache=folder, providers=providers)(X)
    assert optimised == ["evaluate"] * 2


def test_processor_is_known_in_detail() -> None:
    assert len(session_cache.processor()) > 2
    assert len(" ".join(session_cache.processor())) > 20


@pytest.mark.parametrize("failing", ["mkdir", "rename", "write_text"])
def test_folder_that_cannot_be_written(
    failing: str, folder: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    folder.mkdir(parents=True)

    def refuse(self: Path, *args: Any, **options: Any) -> None:
        if failing != "mkdir" or self != folder:
            raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, failing, refuse)
    expected = bits(pullback.load(BOWL)(X))
    assert bits(pullback.load(BOWL, cache=folder)(X)) == expected
    assert not list(folder.iterdir())
    assert not recwarn.list


_FULL = """
import resource, sys, numpy as np, pullback
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
bundle = pullback.load(sys.argv[1], cache=sys.argv[2])
print(*(array.tobytes().hex() for array in bundle(np.linspace(-1, 1, 7, dtype=np.float32)[:, None])))
"""


@pytest.mark.parametrize("room", [0, 1000, 4096, 8192])
def test_full_disk(room: int, folder: Path) -> None:
    """No file may grow beyond ``room`` bytes; the graph has 15 kB."""
    expected = " ".join(array.tobytes().hex() for array in pullback.load(BOWL)(X))
    command = [sys.executable, "-W", "error", "-c", _FULL, str(BOWL), str(folder), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (expected, "")
    assert not list(folder.iterdir())


_RACE = """
import sys, time, numpy as np, pullback
bundle = pullback.load(sys.argv[1], cache=sys.argv[2])
time.sleep(max(0, float(sys.argv[3]) - time.time()))
for _ in range(3):
    bundle = pullback.load(sys.argv[1], cache=sys.argv[2])
    print(*(array.tobytes().hex() for array in bundle(np.linspace(-1, 1, 7, dtype=np.float32)[:, None])))
"""


def test_processes_at_the_same_time(folder: Path, optimised: list[str]) -> None:
    expected = " ".join(array.tobytes().hex() for array in pullback.load(BOWL)(X))
    command = [sys.executable, "-c", _RACE, str(BOWL), str(folder), str(time.time() + 3)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.communicate(timeout=60)[0].splitlines() == [expected] * 3
    assert bits(pullback.load(BOWL, cache=folder)(X)) == bits(pullback.load(BOWL)(X))
    assert not optimised
    assert len(list(folder.glob("*.json"))) == 1
    assert not list(folder.glob("*.new"))


def test_what_another_process_is_storing_is_left_to_it(folder: Path) -> None:
    """It would remove this one's folder before the entry names it, or the other way round."""
    pullback.load(BOWL, cache=folder)(X)
    (entry,) = folder.glob("*.json")
    lock = entry.with_suffix(".lock.new")
    lock.touch()
    before = entry.read_bytes()
    (folder / json.loads(before)["folder"] / "graph.onnx").write_bytes(b"damaged")
    assert bits(pullback.load(BOWL, cache=folder)(X)) == bits(pullback.load(BOWL)(X))
    assert entry.read_bytes() == before
    assert [path.name for path in folder.glob("*.new")] == [lock.name]
    lock.unlink()
    pullback.load(BOWL, cache=folder)(X)
    assert entry.read_bytes() != before
    assert not list(folder.glob("*.new"))


def test_half_written_by_a_killed_process_is_removed(folder: Path) -> None:
    folder.mkdir(parents=True)
    old, young = folder / "a-b.new", folder / "c-d.new"
    for path in (old, young):
        path.mkdir()
        (path / "graph.onnx").write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    pullback.load(BOWL, cache=folder)(X)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("where", [".", "cache", "saved_model/cache", "../bowl.pullback/cache"])
@pytest.mark.parametrize("bundle", ["", "evaluate.onnx"])
def test_never_inside_of_the_bundle(where: str, bundle: str, tmp_path: Path) -> None:
    path = tmp_path / "bowl.pullback"
    shutil.copytree(BOWL, path)
    before = sorted(path.rglob("*"))
    with pytest.raises(InputError, match="inside of the bundle"):
        pullback.load(path / bundle, cache=path / where)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(InputError, match="inside of the bundle"):
        pullback.load(path / bundle, cache=link / "cache")
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize("cache", [3, "", b"cache", ["cache"], True, {}])
def test_not_a_path(cache: Any) -> None:
    with pytest.raises(InputError, match="cache must be the path of a folder"):
        pullback.load(BOWL, cache=cache)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "cache", "nul\0"):
        with pytest.raises(InputError, match=r"cache: .* cannot be made a folder .* choose another one"):
            pullback.load(BOWL, cache=place)


def test_pickled_bundle_takes_it_along(folder: Path, optimised: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    pickled = pickle.dumps(pullback.load(BOWL, cache=folder.name))
    monkeypatch.chdir("/")
    expected = bits(pickle.loads(pickled)(X))
    assert optimised == ["evaluate"]
    assert bits(pickle.loads(pickled)(X)) == expected
    assert optimised == ["evaluate"]
    assert list(folder.glob("*.json"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_opens_it_again(folder: Path, weights: str) -> None:
    bundle = pullback.load(BOWL, cache=folder)
    expected = bits(bundle(X))
    shutil.rmtree(folder)  # and where it is gone by then, the child optimises the graph itself
    child = os.fork()
    if not child:
        os._exit(0 if bits(bundle(X)) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_results_outlive_the_folder(folder: Path, weights: str) -> None:
    pullback.load(BOWL, cache=folder)(X)
    bundle = pullback.load(BOWL, cache=folder)
    expected = bits(bundle(X))
    shutil.rmtree(folder)
    assert bits(bundle(X)) == expected


def test_profiles_and_prepared_calls(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        bundle = pullback.load(BOWL, cache=folder)
        prepared = bundle.prepared(7)
        assert bits(prepared(X)) == bits(bundle(X))
        session = bundle.session(profile=str(tmp_path / "profile"))
        assert Path(session.end_profiling()).exists()


def test_commands(folder: Path, tmp_path: Path, optimised: list[str]) -> None:
    np.save(tmp_path / "x.npy", X)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.npz")
        line = ["eval", str(BOWL), str(tmp_path / "x.npy"), "-o", str(files[-1]), "--cache", str(folder)]
        assert cli.main(line) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert optimised == ["evaluate"]
    assert cli.main(["eval", str(BOWL), str(tmp_path / "x.npy"), "-o", "o.npz", "--cache", str(BOWL / "c")]) == 1
