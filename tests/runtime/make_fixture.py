"""Writes the fixture bundles of these tests, once: ``python tests/runtime/make_fixture.py``; needs onnx.

``net``: y = sum(tanh(x W + b)) per sample, with its gradient, vjp, jvp and hvp by hand, float32 and batched.
``mixed``: y = gain * <v, w> + bias[index] in float64, not batched, with inputs of every kind.
``words``: y = weight[word] * sum(x**2) in float32, batched, with an input of strings that are looked up.
``hill_float32`` and ``hill_float64``: a convex energy and two constraints, with what optimisers take; see ``hill``.
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
from pullback.texts import numpy_dtype

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
    domains = [helper.make_opsetid("ai.onnx.ml", 3)] if any(node.domain for node in made) else []
    values = [
        [
            helper.make_tensor_value_info(t.name, helper.np_dtype_to_tensor_dtype(numpy_dtype(t.dtype)), t.shape)
            for t in side
        ]
        for side in (function.inputs, function.outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(made, function.name, *values, initializers),
        opset_imports=[helper.make_opsetid("", OPSET), *domains],
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


WORDS = ["up", "Ärger", "", "日本", "a\0b"]
WORD_WEIGHTS = np.array([0.5, -1.0, 2.0, 3.0, -4.0, 7.0], np.float32)


def words():
    x, word = ("x", "float32", ("B", 2)), ("word", "string", ("B",))
    evaluate = spec(
        "evaluate",
        [word, x],
        [("y", "float32", ("B",)), ("dy_dx", "float32", ("B", 2))],
        [("gradient(y, x)", "gradient", "dy_dx", "y", ("x",))],
        True,
    )
    vjp = spec(
        "vjp",
        [word, x, ("adj_y", "float32", ("B",))],
        [("adj_x", "float32", ("B", 2))],
        [("vjp(y, x)", "vjp", "adj_x", "y", ("x",), "adj_y")],
        True,
    )
    places = {"keys_strings": WORDS, "values_int64s": list(range(5)), "default_int64": 5, "domain": "ai.onnx.ml"}
    found = [("LabelEncoder", "word", "place", places), ("Gather", "weights place", "w")]
    slope = [("Add", "x x", "x2"), ("Unsqueeze", "w last", "column"), ("Mul", "x2 column", "slope")]
    weights = {"weights": WORD_WEIGHTS, "last": [1]}
    values = [("Mul", "x x", "xx"), ("ReduceSum", "xx last", "r", {"keepdims": 0}), ("Mul", "r w", "y")]
    functions = {
        evaluate: graph(evaluate, [*found, *values, *slope, ("Identity", "slope", "dy_dx")], weights),
        vjp: graph(vjp, [*found, *slope, ("Unsqueeze", "adj_y last", "a"), ("Mul", "slope a", "adj_x")], weights),
    }
    rng, cases = np.random.default_rng(5), {"evaluate": [], "vjp": []}
    asked = ["up", "none", "", "日本", "a\0b", "Ärger", "Up"]
    for batch in (1, 2, 7):
        x, adjoint = rng.normal(size=(batch, 2)).astype(np.float32), rng.normal(size=batch).astype(np.float32)
        w = np.array([WORD_WEIGHTS[WORDS.index(text) if text in WORDS else 5] for text in asked[:batch]])
        given = {"word": np.array(asked[:batch], object), "x": x}
        slopes = 2 * x * w[:, None]
        cases["evaluate"].append(golden.Case(given, {"y": w * (x**2).sum(1), "dy_dx": slopes}))
        cases["vjp"].append(golden.Case({**given, "adj_y": adjoint}, {"adj_x": slopes * adjoint[:, None]}))
    write_bundle("words", functions, cases, {"x": (-3.0, 3.0)})


HILL_Q = np.array([[3.0, 0.5, -0.4], [0.5, 2.0, 0.3], [-0.4, 0.3, 1.5]])
HILL_B = np.array([1.0, -2.0, 0.5])
HILL_A = np.array([0.5, 1.0, -1.5])


def hill(dtype):
    """energy = x.Q.x / 2 + sum(x**4) / 4 - b.x, and c = (x.x, a.x), per sample.

    With gradient and Hessian of the energy, the Jacobian of c, and Hessian products of both.
    """
    name = f"hill_{dtype}"
    x, row = ("x", dtype, ("B", 3)), ("B", 3)
    evaluate = spec(
        "evaluate",
        [x],
        [
            ("energy", dtype, ("B",)),
            ("c", dtype, ("B", 2)),
            ("denergy_dx", dtype, row),
            ("dc_dx", dtype, ("B", 2, 3)),
            ("d2energy_dx2", dtype, ("B", 3, 3)),
        ],
        [
            ("gradient(energy, x)", "gradient", "denergy_dx", "energy", ("x",)),
            ("jacobian(c, x)", "jacobian", "dc_dx", "c", ("x",)),
            ("hessian(energy, x)", "hessian", "d2energy_dx2", "energy", ("x", "x")),
        ],
        True,
    )
    products = spec(
        "hvp",
        [x, ("adj_c", dtype, ("B", 2)), ("fwd_x", dtype, row)],
        [("hvp_energy_x", dtype, row), ("fwd_adj_x", dtype, row)],
        [
            ("hvp(energy, x)", "hvp", "hvp_energy_x", "energy", ("x", "x"), "fwd_x"),
            ("hvp(c, x)", "hvp", "fwd_adj_x", "c", ("x", "x"), "fwd_x"),
        ],
        True,
    )
    numbers = {"Q": HILL_Q, "b": HILL_B, "a": HILL_A[:, None], "row_a": HILL_A[None], "I": np.eye(3)}
    numbers |= {"half": 0.5, "quarter": 0.25, "zero": 0.0, "two": 2.0, "three": 3.0}
    weights = {key: np.asarray(value, dtype) for key, value in numbers.items()}
    axes = {"one": [1], "last": [2]}
    flat = {"keepdims": 0}
    nodes = [
        ("MatMul", "x Q", "xQ"),
        ("Mul", "xQ x", "q"),
        ("Mul", "x x", "x2"),
        ("Mul", "x2 x2", "x4"),
        ("Mul", "q half", "q2"),
        ("Mul", "x4 quarter", "x44"),
        ("Mul", "x b", "bx"),
        ("Add", "q2 x44", "s"),
        ("Sub", "s bx", "terms"),
        ("ReduceSum", "terms one", "energy", flat),
        ("Mul", "x2 x", "x3"),
        ("Add", "xQ x3", "slope"),
        ("Sub", "slope b", "denergy_dx"),
        ("Mul", "x2 three", "bend"),
        ("Unsqueeze", "bend last", "column"),
        ("Mul", "column I", "diagonal"),
        ("Add", "diagonal Q", "d2energy_dx2"),
        ("ReduceSum", "x2 one", "r"),
        ("MatMul", "x a", "l"),
        ("Concat", "r l", "c", {"axis": 1}),
        ("Mul", "x two", "dr"),
        ("Mul", "x zero", "nothing"),
        ("Add", "nothing row_a", "dl"),
        ("Unsqueeze", "dr one", "first"),
        ("Unsqueeze", "dl one", "second"),
        ("Concat", "first second", "dc_dx", {"axis": 1}),
    ]
    ends = {"pick": np.array([[2.0], [0.0]], dtype), "Q": weights["Q"], "three": weights["three"]}
    second = [
        ("Mul", "x x", "x2"),
        ("Mul", "x2 three", "bend"),
        ("Mul", "bend fwd_x", "bent"),
        ("MatMul", "fwd_x Q", "turned"),
        ("Add", "bent turned", "hvp_energy_x"),
        ("MatMul", "adj_c pick", "weight"),
        ("Mul", "weight fwd_x", "fwd_adj_x"),
    ]
    functions = {evaluate: graph(evaluate, nodes, weights | axes), products: graph(products, second, ends)}
    write_bundle(name, functions, hill_cases(dtype), {"x": (-2.0, 2.0)})


def hill_cases(dtype):
    rng, cases = np.random.default_rng(11), {"evaluate": [], "hvp": []}
    for batch in (1, 2, 7):
        x, p, w = (rng.uniform(-2, 2, size=(batch, size)).astype(dtype) for size in (3, 3, 2))
        z, t, v = (array.astype(np.float64) for array in (x, p, w))
        answers = {
            "energy": np.einsum("bi,ij,bj->b", z, HILL_Q, z) / 2 + (z**4).sum(1) / 4 - z @ HILL_B,
            "c": np.stack([(z**2).sum(1), z @ HILL_A], 1),
            "denergy_dx": z @ HILL_Q + z**3 - HILL_B,
            "dc_dx": np.stack([2 * z, np.broadcast_to(HILL_A, z.shape)], 1),
            "d2energy_dx2": HILL_Q + 3 * z[:, :, None] ** 2 * np.eye(3),
        }
        products = {"hvp_energy_x": t @ HILL_Q + 3 * z**2 * t, "fwd_adj_x": 2 * v[:, :1] * t}
        for function, inputs, found in (
            ("evaluate", {"x": x}, answers),
            ("hvp", {"x": x, "adj_c": w, "fwd_x": p}, products),
        ):
            cases[function].append(golden.Case(inputs, {key: value.astype(dtype) for key, value in found.items()}))
    return cases


if __name__ == "__main__":
    net()
    mixed()
    words()
    hill("float32")
    hill("float64")
