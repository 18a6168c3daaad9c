"""``pullback eval`` on files: the same rows in every format, interrupted anywhere, bad rows dropped."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pullback import Bundle, cli
from pullback.function import Function
from pullback.streams import sinks

from tests.runtime import long_job
from tests.runtime.conftest import FIXTURES

Array = npt.NDArray[Any]
NET = str(FIXTURES / "net.pullback")
ROWS = 1000


@pytest.fixture
def x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    """Rows, also in the files rows.npy, rows.npz and rows.csv of the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(3).normal(size=(ROWS, 3)).astype(np.float32)
    write_inputs(rows)
    return rows


def write_inputs(rows: Array) -> None:
    np.save("rows.npy", rows)
    np.savez_compressed("rows.npz", x=rows, other=np.zeros(2))
    with open("rows.csv", "w", encoding="utf-8") as stream:
        stream.write("x[2],label,x[0],x[1]\n")
        stream.writelines(f"{c:.9g},7,{a:.9g},{b:.9g}\n" for a, b, c in rows)


def read_results(path: str) -> dict[str, Array]:
    """``y`` and ``dy_dx`` of any result file."""
    if path.endswith(".npz"):
        with np.load(path) as found:
            return dict(found)
    if path.endswith(".csv"):
        with open(path, encoding="utf-8", newline="") as stream:
            table = list(csv.reader(stream))
        numbers = np.array(table[1:], dtype=np.float32).reshape(-1, 4)
    else:
        import pyarrow.parquet

        table_ = pyarrow.parquet.read_table(path)
        assert table_.column_names == ["y", "dy_dx[0]", "dy_dx[1]", "dy_dx[2]"]
        numbers = np.stack([column.to_numpy() for column in table_.columns], axis=1)
    return {"y": numbers[:, 0], "dy_dx": numbers[:, 1:]}


def evaluate(*arguments: str) -> int:
    return cli.main(["eval", NET, *arguments, "--quiet"])


@pytest.mark.parametrize("rows", ["1", "7", "250", "1000", "5000"])
@pytest.mark.parametrize("source", ["rows.npy", "rows.npz", "rows.csv"])
@pytest.mark.parametrize("target", ["out.npz", "out.csv"])
def test_formats(net: Bundle, x: Array, source: str, target: str, rows: str) -> None:
    if rows == "1":
        write_inputs(x[:20])
        x = x[:20]
    assert evaluate(source, "-o", target, "--rows", rows) == 0
    found, want = read_results(target), net(x)
    np.testing.assert_allclose(found["y"], want.y, atol=1e-6)
    np.testing.assert_allclose(found["dy_dx"], want.dy_dx, atol=1e-6)
    assert not list(Path().glob("*.part"))


@pytest.mark.parametrize("source", ["rows.npy", "rows.npz", "rows.csv"])
@pytest.mark.parametrize("target", ["out.npz", "out.csv"])
def test_no_rows(x: Array, source: str, target: str) -> None:
    write_inputs(x[:0])
    assert evaluate(source, "-o", target) == 0
    found = read_results(target)
    assert found["y"].shape == (0,)
    assert found["dy_dx"].shape == (0, 3)


def test_parquet(net: Bundle, x: Array) -> None:
    pytest.importorskip("pyarrow", reason="the extra io is not installed")
    assert evaluate("rows.npy", "-o", "out.parquet", "--rows", "300") == 0
    np.testing.assert_array_equal(read_results("out.parquet")["y"], net(x).y)
    import pyarrow
    import pyarrow.parquet

    columns = {f"x[{i}]": pyarrow.array([*map(float, x[:, i]), None]) for i in range(3)}
    pyarrow.parquet.write_table(pyarrow.table(columns), "rows.parquet")
    assert evaluate("rows.parquet", "-o", "again.npz") == 1
    assert evaluate("rows.parquet", "-o", "again.npz", "--skip-bad", "--rows", "300") == 0
    np.testing.assert_allclose(read_results("again.npz")["y"], net(x).y, atol=1e-6)
    assert Path("again.npz.bad.csv").read_text(encoding="utf-8") == f"row,reason\n{ROWS},a cell is null\n"


def test_parquet_without_pyarrow(x: Array, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    Path("rows.parquet").write_bytes(b"PAR1")
    assert evaluate("rows.parquet", "-o", "out.npz") == 2
    assert 'pip install "pullback[io]"' in capsys.readouterr().err


def test_csv_numbers_come_back_exactly(net: Bundle, x: Array) -> None:
    assert evaluate("rows.npy", "-o", "out.csv", "--rows", "1000") == 0
    np.testing.assert_array_equal(read_results("out.csv")["y"], net(x).y)


@pytest.mark.parametrize("skip", [False, True])
def test_bad_rows(net: Bundle, x: Array, capsys: pytest.CaptureFixture[str], skip: bool) -> None:
    lines = Path("rows.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines[1 + 10] = "1,2\n"
    lines[1 + 500] = "1,2,oops,3\n"
    lines[1 + 999] = "1e300,2,3,4\n"
    Path("rows.csv").write_text("".join(lines) + "\n\n", encoding="utf-8")
    options = ["--skip-bad"] if skip else []
    assert evaluate("rows.csv", "-o", "out.npz", "--rows", "64", *options) == (0 if skip else 1)
    if not skip:
        assert "row 10: 2 cells instead of 4" in capsys.readouterr().err
        assert not Path("out.npz").exists()
        return
    good = [row for row in range(ROWS) if row not in (10, 500, 999)]
    np.testing.assert_allclose(read_results("out.npz")["y"], net(x[good]).y, atol=1e-6)
    side = list(csv.DictReader(open("out.npz.bad.csv", encoding="utf-8")))  # noqa: SIM115
    assert [row["row"] for row in side] == ["10", "500", "999"]
    assert "oops" in side[1]["reason"]


@pytest.mark.parametrize("count", [0, 40])
def test_whole_blocks_of_bad_rows(net: Bundle, x: Array, count: int) -> None:
    """Blocks without one good row, and a file without one."""
    good = [f"{a:.9g},{b:.9g},{c:.9g}\n" for a, b, c in x[:count]]
    lines = ["x[0],x[1],x[2]\n", *good[:20], *["bad,2,3\n"] * 100, *good[20:]]
    Path("rows.csv").write_text("".join(lines), encoding="utf-8")
    assert evaluate("rows.csv", "-o", "out.npz", "--rows", "10", "--skip-bad") == 0
    found = read_results("out.npz")
    np.testing.assert_allclose(found["y"], net(x[:count]).y, atol=1e-6)
    assert found["dy_dx"].shape == (count, 3)
    assert len(Path("out.npz.bad.csv").read_text(encoding="utf-8").splitlines()) == 101


@pytest.mark.parametrize("source", ["rows.npy", "rows.csv"])
def test_rows_that_are_not_finite(net: Bundle, x: Array, source: str) -> None:
    x[[0, 70, 999], 1] = np.nan, np.inf, -np.inf
    write_inputs(x)
    assert evaluate(source, "-o", "out.npz", "--rows", "64", "--check-finite", "--skip-bad") == 0
    good = [row for row in range(ROWS) if row not in (0, 70, 999)]
    np.testing.assert_allclose(read_results("out.npz")["y"], net(x[good]).y, atol=1e-6)
    side = list(csv.DictReader(open("out.npz.bad.csv", encoding="utf-8")))  # noqa: SIM115
    assert [row["row"] for row in side] == ["0", "70", "999"]
    assert evaluate(source, "-o", "all.npz") == 0
    assert np.isnan(read_results("all.npz")["y"][0])


@pytest.mark.parametrize("source", ["rows.npy", "rows.npz", "rows.csv"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_resume(net: Bundle, x: Array, monkeypatch: pytest.MonkeyPatch, source: str, after: int) -> None:
    """Stopped after some blocks, in the middle of a write, and continued: the file of an undisturbed run."""
    arguments = (source, "-o", "out.npz", "--rows", "100", "--skip-bad")
    assert evaluate(*arguments) == 0
    undisturbed = Path("out.npz").read_bytes()
    Path("out.npz").unlink()
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        assert evaluate(*arguments) == 1
    assert not Path("out.npz").exists()
    if Path("out.npz.part").exists():
        with open("out.npz.part/y.raw", "ab") as stream:
            stream.write(b"half a block")
        assert evaluate(*arguments) == 2
    calls = count_calls(monkeypatch)
    assert evaluate(*arguments, "--resume") == 0
    assert len(calls) <= 10 - after + 1
    assert Path("out.npz").read_bytes() == undisturbed


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    append, done = sinks.Store.append, [0]

    def failing(store: sinks.Store, *arguments: Any) -> None:
        if len(next(iter(arguments[0].values()))):
            done[0] += 1
        if done[0] > after:
            raise KeyboardInterrupt
        append(store, *arguments)

    monkeypatch.setattr(sinks.Store, "append", failing)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    call, calls = Function.__call__, list[int]()

    def counting(function: Function, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        return call(function, *arguments, **named)

    monkeypatch.setattr(Function, "__call__", counting)
    return calls


@pytest.mark.parametrize("seconds", [0, 0.5, 1e9])
@pytest.mark.parametrize("where", ["raw of dy_dx", "after the bad rows", "put together"])
def test_resume_after_half_a_block(x: Array, monkeypatch: pytest.MonkeyPatch, where: str, seconds: float) -> None:
    """Interrupted between two files of one block, or when all blocks are done; with bad rows in every block."""
    monkeypatch.setattr(sinks, "SAVE_SECONDS", seconds)
    x[::37] = np.nan
    write_inputs(x)
    arguments = ("rows.npy", "-o", "out.npz", "--rows", "100", "--skip-bad", "--check-finite")
    assert evaluate(*arguments) == 0
    undisturbed = Path("out.npz").read_bytes(), Path("out.npz.bad.csv").read_bytes()
    Path("out.npz").unlink()
    with monkeypatch.context() as patch:
        if where == "put together":
            patch.setitem(sinks.WRITERS, ".npz", fail)
        elif where == "raw of dy_dx":
            raw = sinks.Store._file
            patch.setattr(
                sinks.Store, "_file", lambda s, name: raw(s, name) if s.rows_read < 500 or name == "y" else fail()
            )
        else:
            writer = csv.writer
            patch.setattr(FailsLater, "written", 0)
            patch.setattr(csv, "writer", lambda stream: FailsLater(writer(stream)))
        with pytest.raises(OSError, match="No space"):
            cli.main(["eval", NET, *arguments, "--quiet", "--debug"])
    calls = count_calls(monkeypatch)
    assert evaluate(*arguments, "--resume") == 0
    assert len(calls) <= {"raw of dy_dx": 5, "after the bad rows": 6, "put together": 0}[where]
    assert (Path("out.npz").read_bytes(), Path("out.npz.bad.csv").read_bytes()) == undisturbed


def fail(*arguments: Any) -> Any:
    raise OSError(28, "No space left on device")


class FailsLater:
    """Writes its rows, then fails, in the fifth block."""

    written = 0

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def writerows(self, rows: Any) -> None:
        self.writer.writerows(rows)
        FailsLater.written += 1
        if FailsLater.written == 5:
            fail()


def test_resume_refuses_another_job(
    x: Array, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        assert evaluate("rows.npy", "-o", "out.npz", "--rows", "100") == 1
    capsys.readouterr()
    assert evaluate("rows.npz", "-o", "out.npz", "--rows", "100", "--resume") == 1
    assert "this run differs in input" in capsys.readouterr().err
    assert evaluate("rows.npz", "-o", "out.npz", "--rows", "100", "--overwrite") == 0


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX thing")
def test_killed_and_resumed(net: Bundle, x: Array) -> None:
    rows = np.random.default_rng(4).normal(size=(5000, 3)).astype(np.float32)
    np.save("rows.npy", rows)
    command = [sys.executable, "-m", "pullback.cli", "eval", NET, "rows.npy", "-o", "out.csv", "--rows", "10"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while not Path("out.csv.part/state.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out.csv").exists()
    assert evaluate("rows.npy", "-o", "out.csv", "--rows", "10", "--resume") == 0
    np.testing.assert_allclose(read_results("out.csv")["y"], net(rows).y, atol=1e-6)


def test_progress_is_shown_on_a_terminal(x: Array, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("tqdm", reason="the extra io is not installed")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["eval", NET, "rows.npy", "-o", "out.npz", "--rows", "100"]) == 0
    printed = capsys.readouterr()
    assert "100%" in printed.err
    assert "1.00k/1.00k" in printed.err
    assert printed.out == f"out.npz: {ROWS} rows of y, dy_dx\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("source", [".npy", ".csv", ".parquet"])
def test_memory_is_bounded_and_kills_lose_nothing(source: str) -> None:
    """``python -m tests.runtime.long_job``, shortened."""
    if source == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra io is not installed")
    same, largest = long_job.measure(2_000_000, 3, 1, source, ".npz")
    assert same
    assert largest < long_job.LIMIT
