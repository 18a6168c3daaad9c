"""The table of rewrites: every row has a reason and a test that is there, and the one it names is in the folder."""

from __future__ import annotations

import ast
import pathlib
from typing import Any

import pytest
from pullback_export.optimize import pipeline
from pullback_export.optimize.pipeline import FINAL, LOCAL, LOOPS
from pullback_export.optimize.rewrite import Row

ROOT = pathlib.Path(__file__).parents[3]
ROWS: tuple[Row[Any], ...] = (*LOCAL, *LOOPS, *FINAL)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_names_its_function_its_reason_and_its_test(row: Row[Any]) -> None:
    assert row.name == row.apply.__name__
    assert row.reason
    path, name = row.test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_new_graph_has_the_local_rewrites_and_hands_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = pipeline.new_graph()
    assert graph.rewrites == tuple(row.apply for row in LOCAL)
    monkeypatch.setattr(pipeline, "LOCAL", ())
    assert pipeline.new_graph().rewrites == ()
    assert type(graph)(graph).rewrites == graph.rewrites
