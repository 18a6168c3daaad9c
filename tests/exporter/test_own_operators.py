"""Rules from outside of the package: registered, listed, replaced, refused when wrong."""

from __future__ import annotations

import json
import pathlib
import re
import runpy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback_export import export, lowers, own_rules
from pullback_export.errors import ExportError, UnsupportedOpsError
from pullback_export.lowering import registry

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "own_operators.md"
VECTOR = tf.TensorSpec([None, 3], tf.float32, name="x")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    with own_rules():
        yield


def notes(folder: pathlib.Path) -> list[str]:
    found: list[str] = json.loads((folder / "manifest.json").read_text())["parity"]["notes"]
    return found


def contrast(x: Any) -> Any:
    """Bins of ``x (B, 3)``: ``HistogramFixedWidth`` counts, no derivative goes through it, and no rule is ours."""
    counts = tf.histogram_fixed_width(x, [-5.0, 5.0], nbins=1)
    return {"y": tf.reduce_sum(x**2, 1) + tf.cast(counts[0], x.dtype)}


def test_the_page_exports(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(block)  # AutoGraph reads the source again
    space = runpy.run_path("mine.py", run_name="mine")
    image = np.random.default_rng(0).normal(size=(1, 6, 6, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        x = tf.constant(image)
        tape.watch(x)
        y = space["energy"](x)["energy"]
    found = space["bundle"](image=image)
    np.testing.assert_allclose(found.denergy_dimage, tape.gradient(y, x), rtol=1e-4, atol=1e-5)
    note = "ExtractGlimpseV2: converted by a rule of your own, mine.glimpse"
    assert note in notes(tmp_path / "energy.pullback")


def test_without_a_rule_the_operator_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsupportedOpsError, match=r"own_operators\.md") as caught:
        export(contrast, tmp_path / "a.pullback", inputs=[VECTOR], batched=False)
    assert "HistogramFixedWidth" in caught.value.ops
    assert not (tmp_path / "a.pullback").exists()


def test_a_wrong_rule_is_refused_by_the_gate(tmp_path: pathlib.Path) -> None:
    @lowers("Softsign", replace=True)
    def wrong(op: Any, x: Any) -> Any:
        return x / (op.Abs(x) + 1.001)

    with pytest.raises(ParityError):
        export(lambda x: {"y": tf.nn.softsign(x)}, tmp_path / "b.pullback", inputs=[VECTOR])
    assert not (tmp_path / "b.pullback").exists()


def test_a_rule_of_another_rank_is_named(tmp_path: pathlib.Path) -> None:
    @lowers("Softsign", replace=True)
    def flat(op: Any, x: Any) -> Any:
        return op.Reshape(x, [-1])

    with pytest.raises(ExportError, match=r"Softsign .*its rule returns shape .*correct the rule") as caught:
        export(lambda x: {"y": tf.nn.softsign(x)}, tmp_path / "c.pullback", inputs=[VECTOR])
    assert "bug of Pullback, in" not in str(caught.value)
    assert not (tmp_path / "c.pullback").exists()


def test_a_second_rule_is_an_error() -> None:
    for name in ("Softsign", "MyOperator"):
        if name == "MyOperator":
            lowers(name)(lambda op, x: x)
        with pytest.raises(ValueError, match="has a rule already"):
            lowers("NewOne", name)(lambda op, x: x)
        assert "NewOne" not in registry.RULES


def test_replace_wants_something_to_replace() -> None:
    with pytest.raises(ValueError, match="no rule that could be replaced"):
        lowers("MyOperator", replace=True)
    with pytest.raises(ValueError, match="name the operators"):
        lowers()


def test_rules_are_forgotten_and_back() -> None:
    before, linear = dict(registry.load_rules()), set(registry.COMPLEX)
    with own_rules():
        lowers("Softsign", replace=True, complex_parts=True)(lambda op, x: x)
        lowers("MyOperator")(lambda op, x: x)
        assert before != registry.RULES and "Softsign" in registry.COMPLEX
    assert before == registry.RULES and linear == registry.COMPLEX
