"""Writes the fixture bundles of these tests, once: ``python tests/runtime/make_fixture.py``; needs onnx.

``net``: y = sum(tanh(x W + b)) per sample, with its gradient, vjp, jvp and hvp by hand, float32 and batched.
``mixed``: y = gain * <v, w> + bias[index] in float64, not batched, with inputs of every kind.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pullback import golden
from pullback.manifest import (
    DerivativeSpec,
    FileSpec,
    FunctionSpec,
    GraphSpec,
    Manifest,
    TensorSpec,
    Tolerance,
    metadata_props,
)

HERE = Path(__file__).parent / "fixtures"
OPSET = 18
TOLERANCE = Tolerance()


def spec(name, inputs, outputs, derivatives, batched):
    return FunctionSpec(
        name,
        tuple(TensorSpec(*tensor) for tensor in inputs),
        tuple(TensorSpec(*tensor) for tensor in outputs),
        tuple(DerivativeSpec(*derivative) for derivative in derivatives),
        batched,
    )


def graph(function, nodes, weights):
    """The ONNX bytes of ``nodes``, each ``(op, inputs, output)`` or with attributes."""
    made = [helper.make_node(op, i.split(), [o], **(rest[0] if rest else {})) for op, i, o, *rest in nodes]
    values = [
        [
            helper.make_tensor_value_info(t.name, helper.np_dtype_to_tensor_dtype(np.dtype(t.dtype)), t.shape)
            for t in side
        ]
        for side in (function.inputs, function.outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(made, function.name, *values, initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="make_fixture",
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    helper.set_model_props(model, metadata_props(function, TOLERANCE))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def write_bundle(name, functions, cases, ranges):
    """``functions`` maps a spec to its ONNX bytes."""
    folder = HERE / f"{name}.pullback"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for function, content in functions.items():
        (folder / f"{function.name}.onnx").write_bytes(content)
    golden.write(folder / "golden.npz", cases)

    def file(path):
        content = (folder / path).read_bytes()
        return FileSpec(path, hashlib.sha256(content).hexdigest(), len(content))

    manifest = Manifest(
        name=name,
        producer={"pullback": "0.1.0", "onnx": onnx.__version__},
        functions=tuple(GraphSpec(function, file(f"{function.name}.onnx"), OPSET) for function in functions),
        saved_model=(),
        golden=file("golden.npz"),
        tolerance=TOLERANCE,
        parity={"ok": True, "rows": [], "notes": ["written by hand"]},
        ranges=ranges,
    )
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")


def net():
    rng = np.random.default_rng(7)
    weight, bias = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    weights = {"W": weight, "Wt": weight.T.copy(), "b": bias, "one": np.float32(1), "two": np.float32(2), "last": [1]}
    x, row, scalar = ("x", "float32", ("B", 3)), ("B", 3), ("B",)
    forward = [("Gemm", "x W b", "z"), ("Tanh", "z", "t"), ("ReduceSum", "t last", "y", {"keepdims": 0})]
    slope = [("Mul", "t t", "t2"), ("Sub", "one t2", "s")]
    evaluate = spec(
        "evaluate",
        [x],
        [("y", "float32", scalar), ("dy_dx", "float32", row)],
        [("gradient(y, x)", "gradient", "dy_dx", "y", ("x",))],
        True,
    )
    vjp = spec(
        "vjp",
        [x, ("adj_y", "float32", scalar)],
        [("adj_x", "float32", row)],
        [("vjp(y, x)", "vjp", "adj_x", "y", ("x",), "adj_y")],
        True,
    )
    jvp = spec(
        "jvp",
        [x, ("fwd_x", "float32", row)],
        [("fwd_y", "float32", scalar)],
        [("jvp(y, x)", "jvp", "fwd_y", "y", ("x",), "fwd_x")],
        True,
    )
    hvp = spec(
        "hvp",
        [x, ("fwd_x", "float32", row)],
        [("hvp_y_x", "float32", row)],
        [("hvp(y, x)", "hvp", "hvp_y_x", "y", ("x", "x"), "fwd_x")],
        True,
    )
    functions = {
        evaluate: graph(evaluate, [*forward, *slope, ("MatMul", "s Wt", "dy_dx")], weights),
        vjp: graph(
            vjp,
            [
                *forward[:2],
                *slope,
                ("Unsqueeze", "adj_y last", "a"),
                ("Mul", "s a", "sa"),
                ("MatMul", "sa Wt", "adj_x"),
            ],
            weights,
        ),
        jvp: graph(
            jvp,
            [
                *forward[:2],
                *slope,
                ("MatMul", "fwd_x W", "v"),
                ("Mul", "s v", "sv"),
                ("ReduceSum", "sv last", "fwd_y", {"keepdims": 0}),
            ],
            weights,
        ),
        hvp: graph(
            hvp,
            [
                *forward[:2],
                *slope,
                ("MatMul", "fwd_x W", "v"),
                ("Mul", "s v", "sv"),
                ("Mul", "sv t", "svt"),
                ("Mul", "svt two", "c"),
                ("Neg", "c", "n"),
                ("MatMul", "n Wt", "hvp_y_x"),
            ],
            weights,
        ),
    }
    write_bundle("net", functions, net_cases(weight, bias, rng), {"x": (-4.0, 4.0)})


def net_cases(weight, bias, rng):
    cases = {"evaluate": [], "vjp": [], "jvp": [], "hvp": []}
    for batch in (1, 2, 7):
        x = np.clip(rng.normal(size=(batch, 3)), -4, 4).astype(np.float32)
        direction, adjoint = rng.normal(size=(batch, 3)).astype(np.float32), rng.normal(size=batch).astype(np.float32)
        w = weight.astype(np.float64)
        t = np.tanh(x @ w + bias)
        s, v = 1 - t**2, direction @ w
        answers = {
            "evaluate": ({"x": x}, {"y": t.sum(1), "dy_dx": s @ w.T}),
            "vjp": ({"x": x, "adj_y": adjoint}, {"adj_x": (s * adjoint[:, None]) @ w.T}),
            "jvp": ({"x": x, "fwd_x": direction}, {"fwd_y": (s * v).sum(1)}),
            "hvp": ({"x": x, "fwd_x": direction}, {"hvp_y_x": (-2 * t * s * v) @ w.T}),
        }
        for name, (inputs, outputs) in answers.items():
            cases[name].append(golden.Case(inputs, {key: value.astype(np.float32) for key, value in outputs.items()}))
    return cases


def mixed():
    bias = np.array([0.5, -1.5, 2.5])
    evaluate = spec(
        "evaluate",
        [
            ("gain", "float64", ()),
            ("v", "float64", ("n",)),
            ("w", "float64", ("n",)),
            ("index", "int32", ()),
            ("negate", "bool", ()),
        ],
        [("y", "float64", ()), ("dy_dv", "float64", ("n",)), ("picked", "int32", ())],
        [("gradient(y, v)", "gradient", "dy_dv", "y", ("v",))],
        False,
    )
    content = graph(
        evaluate,
        [
            ("Mul", "v w", "vw"),
            ("ReduceSum", "vw", "d", {"keepdims": 0}),
            ("Where", "negate minus plus", "sign"),
            ("Mul", "gain sign", "g"),
            ("Mul", "g d", "gd"),
            ("Gather", "bias index", "c"),
            ("Add", "gd c", "y"),
            ("Mul", "g w", "dy_dv"),
            ("Identity", "index", "picked"),
        ],
        {"bias": bias, "minus": np.float64(-1), "plus": np.float64(1)},
    )
    cases = []
    for index, size in enumerate((1, 4, 0)):
        v, w = np.linspace(-1, 2, size), np.linspace(3, 1, size)
        inputs = {"gain": np.float64(1.5), "v": v, "w": w, "index": np.int32(index), "negate": np.bool_(index == 1)}
        gain = -1.5 if index == 1 else 1.5
        outputs = {"y": np.float64(gain * (v @ w) + bias[index]), "dy_dv": gain * w, "picked": np.int32(index)}
        cases.append(golden.Case(inputs, outputs))
    write_bundle("mixed", {evaluate: content}, {"evaluate": cases}, {"gain": (0.5, 2.5)})


if __name__ == "__main__":
    net()
    mixed()
