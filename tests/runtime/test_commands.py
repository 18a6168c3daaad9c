"""The commands: what they print, their exit codes, and one line of error for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pullback import cli
from pullback.commands.info import worst_lines
from pullback.parity import Report, Row

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

NET, MIXED = str(FIXTURES / "net.pullback"), str(FIXTURES / "mixed.pullback")

# Arguments, exit code, and a piece of what is printed to standard output or (for an error) standard error.
WORKS: list[tuple[str, str]] = [
    (f"info {NET}", "dy_dx  float32  (B, 3)  gradient(y, x)"),
    (f"info {NET} --json", '"format_version": 1'),
    (f"info {MIXED}", "whole arrays"),
    (f"info {NET}/vjp.onnx", "adj_x"),
    (f"verify {NET}", "passed"),
    (f"verify {NET} --backend onnx --json", '"ok": true'),
    (f"pack {NET} net.zip", "bytes, digest"),
    (f"bench {NET} --seconds 0.01", "rows per s"),
    (f"bench {NET} --seconds 0.01 --batch 3 --function hvp --profile", "MatMul"),
    (f"bench {NET}/vjp.onnx --function vjp --seconds 0.01 --json", '"median"'),
    (f"bench {MIXED} --seconds 0.01 --fetch y", "evaluate of y"),
    (f"eval {NET} rows.csv -o out.csv", "5 rows of y, dy_dx"),
    (f"eval {NET} rows.npy -o out.npz", "5 rows of y, dy_dx"),
    (f"eval {NET} rows.npz -o out.npy --fetch dy_dx", "5 rows of dy_dx"),
    (f"eval {NET} rows.npz -o out.csv --function vjp", "5 rows of adj_x"),
    (f"eval {MIXED} whole.npz -o out.npz", "y"),
    (f"eval {MIXED} whole.npz -o out.npy --fetch y", "y"),
]

FAILS: list[tuple[str, int, str]] = [
    ("", 2, "required: COMMAND"),
    ("train x", 2, "invalid choice"),
    ("info", 2, "required: BUNDLE"),
    ("info nothing", 1, "no such file or folder"),
    (f"info {NET} --color", 2, "unrecognized arguments"),
    (f"info {NET} --backend torch", 2, "invalid choice"),
    (f"info {NET} --backend saved_model", 2, "holds no SavedModel"),
    ("info rows.csv", 1, "damaged"),
    ("verify broken", 1, "SHA-256"),
    (f"verify {NET}/vjp.onnx", 2, "no golden samples"),
    (f"pack {NET} rows.csv", 2, "exists; --overwrite replaces it"),
    (f"pack {NET} no/net.zip", 2, "no such folder"),
    (f"pack {NET}/vjp.onnx net.zip", 2, "a bare file, not a bundle"),
    (f"eval {NET}", 2, "required"),
    (f"eval {NET} rows.csv", 2, "-o/--output"),
    (f"eval {NET} rows.txt -o out.csv", 1, "unknown type of file"),
    (f"eval {NET} rows.csv -o out.txt", 2, "unknown kind of output"),
    (f"eval {NET} rows.csv -o no/out.csv", 2, "no such folder"),
    (f"eval {NET} rows.csv -o rows.csv", 2, "exists; --overwrite replaces it"),
    (f"eval {NET} nothing.csv -o out.csv", 1, "nothing.csv"),
    (f"eval {NET} rows.npy -o out.npy", 2, "choose with --fetch"),
    (f"eval {NET} rows.npy -o out.csv --fetch z", 2, "no output 'z'"),
    (
        f"eval {MIXED} rows.npy -o out.npz --function vjp",
        2,
        "holds no function 'vjp', only evaluate; export the model with",
    ),
    (f"eval {NET} rows.npy -o out.csv --function vjp", 1, "holds one array"),
    (f"eval {NET} rows.npy -o out.csv --rows 0", 2, "at least 1"),
    (f"eval {NET} rows.npy -o out.csv --rows many", 2, "invalid"),
    (f"eval {NET} rows.npy -o out.csv --threads -1", 1, "threads must be"),
    (f"eval {NET} wide.npy -o out.csv", 1, "shape (5, 4) does not fit"),
    (f"eval {NET} flat.npy -o out.csv", 1, "shape (5,) does not fit"),
    (f"eval {NET} columns.npy -o out.csv", 1, "stored column by column"),
    (f"eval {NET} objects.npy -o out.csv", 1, "dtype object does not fit"),
    (f"eval {NET} complex.npy -o out.csv", 1, "dtype complex64 does not fit"),
    (f"eval {NET} huge.npy -o out.csv", 1, "which float32 cannot hold"),
    (f"eval {NET} short.npy -o out.csv", 1, "ends too early"),
    (f"eval {NET} text.npy -o out.csv", 1, "not a plain NumPy array"),
    (f"eval {NET} text.npz -o out.csv", 1, "not an npz file"),
    (f"eval {NET} moved.npz -o out.csv", 1, "x cannot be read"),
    (f"eval {NET} flipped.npz -o out.csv", 1, "Bad CRC-32"),
    (f"eval {NET} other.npz -o out.csv", 1, "no array 'x'"),
    (f"eval {NET} uneven.npz -o out.csv --function vjp", 1, "have different numbers of rows"),
    (f"eval {NET} empty.csv -o out.csv", 1, "no column 'x[0]'"),
    (f"eval {NET} other.csv -o out.csv", 1, "no column 'x[2]'"),
    (f"eval {NET} twice.csv -o out.csv", 1, "two columns"),
    (f"eval {NET} words.csv -o out.csv", 1, "row 1"),
    (f"eval {NET} ragged.csv -o out.csv", 1, "2 cells instead of 3"),
    (f"eval {NET} gap.csv -o out.csv", 1, "row 1"),
    (f"eval {NET} latin.csv -o out.csv", 1, "row 0"),
    (f"eval {NET} beyond.csv -o out.csv", 1, "does not fit float32"),
    (f"eval {NET} nan.csv -o out.csv --check-finite", 1, "row 1: input 'x' is not finite"),
    (f"eval {MIXED} rows.csv -o out.csv", 2, "takes whole arrays"),
    (f"eval {MIXED} whole.npz -o out.npz --dask tcp://127.0.0.1:9", 2, "nothing to spread"),
    (f"eval {MIXED} text.npz -o out.npz", 1, "cannot be read"),
    (f"eval {MIXED} text.npy -o out.npz", 1, "cannot be read"),
    (f"eval {MIXED} rows.npy -o out.npz", 1, "is missing"),
    (f"eval {MIXED} other.npz -o out.npz", 1, "is missing"),
    (f"bench {NET} --batch 0", 2, "--batch must be"),
    (f"bench {NET} --batch one", 2, "--batch must be"),
    (f"bench {MIXED} --function jvp", 2, "holds no function 'jvp', only evaluate; export the model with"),
    (f"bench {NET} --seconds -1", 2, "--seconds must be"),
    (f"verify {NET} --html no/report.html", 2, "no such folder"),
    (f"plot {NET} -o no/out.png", 2, "no such folder"),
    (f"plot {NET} -o out.txt", 2, "unknown kind of picture"),
    (f"plot {NET}", 2, "required"),
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of input files, good and bad, and a damaged bundle."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    head, body = "x[0],x[1],x[2]\n", [",".join(map(repr, map(float, row))) + "\n" for row in rows]
    arrays = {
        **{"rows": rows, "wide": np.zeros((5, 4)), "flat": np.zeros(5), "columns": np.asfortranarray(rows)},
        **{"complex": rows * 1j, "huge": np.full((5, 3), 1e300), "objects": np.full((5, 3), None)},
    }
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    Path("short.npy").write_bytes(Path("rows.npy").read_bytes()[:-1])
    np.savez("rows.npz", x=rows, adj_y=np.ones(5, np.float32))
    archive = Path("rows.npz").read_bytes()
    Path("moved.npz").write_bytes(archive.replace(b"PK\x03\x04", b"PK\x03\x05", 1))
    middle = archive.index(rows.tobytes()) + 5
    Path("flipped.npz").write_bytes(archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :])
    np.savez("uneven.npz", x=rows, adj_y=np.ones(4))
    np.savez("other.npz", z=rows)
    np.savez("whole.npz", gain=1.0, v=[1.0, 2], w=[3.0, 4], index=1, negate=False)
    texts = {
        **{"rows.csv": head + "".join(body), "empty.csv": "", "other.csv": "x[0],x[1],y\n1,2,3\n"},
        **{"twice.csv": "x[0],x[1],x[2],x[2]\n1,2,3,4\n", "words.csv": head + "1,2,3\n1,two,3\n"},
        **{"ragged.csv": head + "1,2,3\n1,2\n", "gap.csv": head + "1,2,3\n\n1,2,3\n", "rows.txt": "1 2 3"},
        **{"beyond.csv": head + "1,2,1e300\n", "nan.csv": head + "1,2,3\n1,nan,3\n", "text.npy": "x", "text.npz": "x"},
    }
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("latin.csv").write_bytes(head.encode() + "1,2,ü\n".encode("latin-1"))
    import shutil

    broken = Path(shutil.copytree(NET, "broken"))
    (broken / "evaluate.onnx").write_bytes((broken / "evaluate.onnx").read_bytes()[:-1] + b"?")
    return tmp_path


def run(arguments: str) -> int:
    try:
        return cli.main(arguments.split())
    except SystemExit as exit_:  # argparse's own
        return int(exit_.code or 0)


@pytest.mark.parametrize(("arguments", "text"), WORKS, ids=[row[0].replace(str(FIXTURES), "") for row in WORKS])
def test_works(work: Path, capsys: pytest.CaptureFixture[str], arguments: str, text: str) -> None:
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert text in printed.out
    if arguments.startswith("eval"):
        assert list(work.glob("out.*"))
        assert not list(work.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "code", "text"), FAILS, ids=[row[0].replace(str(FIXTURES), "") or "nothing" for row in FAILS]
)
def test_fails(work: Path, capsys: pytest.CaptureFixture[str], arguments: str, code: int, text: str) -> None:
    before = sorted(work.iterdir())
    assert run(arguments) == code
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if "error: " in line]) == 1
    assert sorted(work.iterdir()) == before


def test_verify_fails_on_wrong_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((folder / "evaluate.onnx").read_bytes())
    content[bytes(content).index(b"\x42\x01b") + 8] ^= 0x40
    forge.replace(folder, "evaluate.onnx", bytes(content))
    assert run(f"verify {folder}") == 1
    printed = capsys.readouterr().out
    assert "FAILED" in printed
    assert "off by" in printed


def test_debug_shows_the_traceback(work: Path) -> None:
    with pytest.raises(Exception, match="no such file or folder"):
        cli.main(["info", "nothing", "--debug"])


def test_as_a_process(work: Path) -> None:
    command = [sys.executable, "-m", "pullback.cli", "info"]
    done = subprocess.run([*command, NET, "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)["backend"] == "onnx"
    failed = subprocess.run([*command, "nothing"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1


def parity_row(stage: str, error: float, **more: object) -> Row:
    return Row(stage, "y", "float32", (2,), error, error, 2.0, 2e-5, (0,), **more)  # type: ignore[arg-type]


def test_info_tells_of_the_worst_comparison_in_one_line() -> None:
    """Of files alone: laws and differences have bounds of their own."""
    rows = (
        parity_row("ONNX Runtime: zeros", 1e-7),
        parity_row("ONNX Runtime: 7 random rows", 1e-6, live_error=5e-7, reference="float64 truth"),
        parity_row("law H == H': zeros", 1.0),
        parity_row("evaluate: live model", 1.0),
    )
    (line,) = worst_lines(Report(rows).to_dict())
    assert line == (
        "worst in parity: y (ONNX Runtime) is off by 5.0e-07 of a scale of 2 from float64 truth, the live model by"
        " 2.5e-07; allowed are 2.0e-05"
    )
    assert "live" not in worst_lines(Report(rows[:1]).to_dict())[0]


@pytest.mark.parametrize("parity", [{}, {"rows": 3}, {"rows": [3, {}, {"max_error": "nan", "scale": 1, "bound": 1}]}])
def test_info_without_such_numbers(parity: dict[str, object]) -> None:
    assert worst_lines(parity) == []
