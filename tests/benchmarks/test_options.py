"""What cannot be measured as requested is an error before anything is measured."""

from __future__ import annotations

import pathlib
import sys

import pytest

from tests.benchmarks import __main__ as command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("nothing", "there is no row nothing; rows are bowl, surrogate"),
        ("--quick resnet50", "--quick excludes resnet50"),
        ("--threads 1000", "--threads must be from 1 to"),
        ("--threads 0", "--threads must be from 1 to"),
        ("--engines jaxx", "invalid choice: 'jaxx'"),
        ("bowl --batches 2", "bowl has no batch of 2"),
        ("--report", "holds no results; measure first"),
    ],
)
def test_wrong_option(
    options: str,
    message: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options.split(), "--folder", str(tmp_path)])
    with pytest.raises(SystemExit):
        command.main()
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "names", "resources"),
    [
        ("hvp bowl", ["bowl", "hvp"], False),
        ("--quick", ["bowl", "surrogate", "jacobian", "jacobian_1000", "hessian", "hvp"], False),
        ("hvp --resources", ["hvp"], True),
        ("", [item.name for item in command.work.ROWS], True),
    ],
)
def test_what_is_measured(
    options: str, names: list[str], resources: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options.split(), "--folder", str(tmp_path), "--engines", "jax"])
    found = command._options()
    assert [item.name for item in found.work] == names
    assert found.resources is resources
    assert [item.name for item in found.engines] == ["forward", "pullback", "jax"]


def test_batches_that_are_measured(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "bowl", "lstm", "--batches", "1", "64", "--folder", str(tmp_path)])
    found = command._options()
    assert [command._batches(found, item) for item in found.work] == [(1, 64), (1,)]
