"""The page of export times: shares add up, and its picture is one."""

from __future__ import annotations

import pathlib

from tests.benchmarks import export_time


def _row(count: int) -> export_time.Row:
    stages = dict.fromkeys(export_time.STAGES, count / len(export_time.STAGES))
    return {
        "name": f"blocks {count}",
        "layers": 3 * count,
        "nodes": 10 * count,
        "pb": 2000,
        "wall": 2.0,
        "stages": stages,
    }


def test_page_and_picture(tmp_path: pathlib.Path) -> None:
    rows = [_row(count) for count in (1, 10, 100)]
    text = export_time.page(rows)
    assert "| blocks 100 | 300 | 1,000 | 100.0 | 2.0 | 20 % | 20 % | 20 % | 20 % | 20 % | 2 |" in text
    export_time.picture(tmp_path / "picture.png", rows)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_every_row_is_a_network_with_a_request() -> None:
    for name in ("bowl", "blocks 2"):
        model, request = export_time.network(name)
        assert model.count_params() > 0 and request.endswith("x)")
    assert set(export_time.ROWS) >= {"bowl", "blocks 100", "ResNet50 224"}
