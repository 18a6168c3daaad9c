"""``pullback serve`` over real HTTP: the protocol, the numbers, bad bodies, limits, a killed worker, shutdown."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.cli import main

from tests.anywhere.conftest import BUNDLES, GOLDEN

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

FIELD = GOLDEN / "field.pullback"


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, decoded JSON (or text), headers."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self.connection.request("GET" if body is None else "POST", path, content, headers or {})
        response = self.connection.getresponse()
        data = response.read()
        kind = response.headers.get("content-type", "")
        return response.status, json.loads(data) if kind == "application/json" else data, response.headers


@contextlib.contextmanager
def serving(bundle: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server of its own process, and its workers; its port, and the process."""
    command = [sys.executable, "-m", "pullback.cli", "serve", str(bundle), "--port", "0", *options]
    with tempfile.NamedTemporaryFile("r+", suffix=".log") as log:
        process = subprocess.Popen(command, stderr=log, text=True, start_new_session=True)
        try:
            yield ready_port(process, Path(log.name)), process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ready_port(process: subprocess.Popen[str], log: Path) -> int:
    """Waits until the server says where it listens and takes requests."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            with contextlib.suppress(OSError, http.client.HTTPException):
                if Client(int(found[1])).ask("/v2/health/ready")[0] == 200:
                    return int(found[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(FIELD, "--max-body", "1", "--timeout", "3") as (found, _):
        yield found


@pytest.fixture
def client(port: int) -> Client:
    return Client(port)


def request(x: Any, **more: Any) -> dict[str, Any]:
    array = np.asarray(x)
    return {"inputs": [{"name": "x", "datatype": "FP64", "shape": list(array.shape), "data": array.tolist()}], **more}


def test_health_and_metadata(client: Client) -> None:
    assert client.ask("/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert client.ask("/v2/health/live")[:2] == (200, {"live": True})
    assert client.ask("/v2/health/ready")[:2] == (200, {"ready": True})
    bundle = pullback.load(FIELD)
    for name, function in bundle.functions.items():
        status, found, _ = client.ask(f"/v2/models/field_{name}")
        assert status == 200
        for tensors, key in ((function.spec.inputs, "inputs"), (function.spec.outputs, "outputs")):
            want = [(t.name, "FP64", [-1 if isinstance(d, str) else d for d in t.shape]) for t in tensors]
            assert [(t["name"], t["datatype"], t["shape"]) for t in found[key]] == want
        assert client.ask(f"/v2/models/field_{name}/versions/1/ready")[1] == {"name": f"field_{name}", "ready": True}
    assert client.ask("/v2/models/nothing")[0] == client.ask("/v2/models/field_vjp/versions/2")[0] == 404
    assert client.ask("/elsewhere")[0] == 404


@pytest.mark.parametrize("path", [p for p in BUNDLES if p.stem in ("bowl", "picture_float64", "attention_float32")])
def test_golden_numbers(path: Path) -> None:
    bundle = pullback.load(path)
    with serving(path, "--name", "m") as (port, _):
        client = Client(port)
        for name, cases in bundle.samples().items():
            for case in cases:
                inputs = [
                    {"name": key, "datatype": {"float32": "FP32", "float64": "FP64"}[str(value.dtype)]}
                    | {"shape": list(value.shape), "data": value.tolist()}
                    for key, value in case.inputs.items()
                ]
                status, found, _ = client.ask(f"/v2/models/m_{name}/infer", {"inputs": inputs})
                assert status == 200, found
                want = bundle.function(name)(**case.inputs)._asdict()
                assert [output["name"] for output in found["outputs"]] == list(want)
                for output in found["outputs"]:
                    array = np.array(output["data"], want[output["name"]].dtype).reshape(output["shape"])
                    np.testing.assert_array_equal(array, want[output["name"]])  # JSON loses no bit


def test_chosen_outputs_and_id(client: Client) -> None:
    body = request([[1.0, 2, 3]], id="seven", outputs=[{"name": "lap_energy_x"}, {"name": "flow"}])
    status, found, _ = client.ask("/v2/models/field_evaluate/infer", body)
    assert status == 200
    assert found["id"] == "seven"
    assert [output["name"] for output in found["outputs"]] == ["lap_energy_x", "flow"]
    assert client.ask("/v2/models/field_evaluate/infer", request(np.zeros((0, 3))))[0] == 200
    assert client.ask("/v2/models/field_evaluate/infer", request([[1, 2, 3]]))[0] == 200  # whole numbers are numbers


def binary_body(x: np.ndarray[Any, Any], **message: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "datatype": "FP64", "shape": list(x.shape), "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor], **message}).encode()
    return head + x.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def test_binary_tensors(client: Client) -> None:
    x = np.array([[0.1, np.nan, 3.0], [1.0, 2.0, 1e300]])
    outputs = [{"name": "denergy_dx", "parameters": {"binary_data": True}}]
    body, headers = binary_body(x, outputs=outputs)
    status, content, answered = client.ask("/v2/models/field_evaluate/infer", body, headers)
    assert status == 200
    length = int(answered["inference-header-content-length"])
    head = json.loads(content[:length])
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 48}
    found = np.frombuffer(content[length:]).reshape(2, 3)
    np.testing.assert_array_equal(found, pullback.load(FIELD)(x).denergy_dx)
    body, headers = binary_body(x)  # the answer as JSON, which has no NaN
    status, found, _ = client.ask("/v2/models/field_evaluate/infer", body, headers)
    assert status == 400
    assert "binary_data" in found["error"]
    body, headers = binary_body(np.zeros((0, 3)), parameters={"binary_data_output": True})
    assert client.ask("/v2/models/field_evaluate/infer", body, headers)[0] == 200


GOOD = request([[1.0, 2.0, 3.0]])
TENSOR = GOOD["inputs"][0]
BAD = {
    "no JSON": b"\xff\xfe",
    "empty": b"",
    "a list": [],
    "no inputs": {},
    "inputs of another kind": {"inputs": {"x": 1}},
    "unknown input": {"inputs": [{**TENSOR, "name": "z"}]},
    "twice": {"inputs": [TENSOR, TENSOR]},
    "another datatype": {"inputs": [{**TENSOR, "datatype": "FP32"}]},
    "no datatype": {"inputs": [{key: value for key, value in TENSOR.items() if key != "datatype"}]},
    "another shape": {"inputs": [{**TENSOR, "shape": [3, 1]}]},
    "negative sizes": {"inputs": [{**TENSOR, "shape": [-1, 3]}]},
    "huge": {"inputs": [{**TENSOR, "shape": [2**60, 3]}]},
    "too few": {"inputs": [{**TENSOR, "data": [1.0, 2.0]}]},
    "ragged": {"inputs": [{**TENSOR, "data": [[1.0, 2.0], [3.0]]}]},
    "text": {"inputs": [{**TENSOR, "data": ["1", "2", "3"]}]},
    "truth values": {"inputs": [{**TENSOR, "data": [True, False, True]}]},
    "null": {"inputs": [{**TENSOR, "data": [None, 1.0, 2.0]}]},
    "objects": {"inputs": [{**TENSOR, "data": [{}, {}, {}]}]},
    "no data": {"inputs": [{**TENSOR, "data": None}]},
    "NaN": b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [NaN, 1, 2]}]}',
    "beyond float64": b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [1e999, 1, 2]}]}',
    "nested": b"[" * 100_000,
    "nested data": {"inputs": [{**TENSOR, "data": json.loads("[" * 200 + "]" * 200)}]},
    "unknown output": {**GOOD, "outputs": [{"name": "z"}]},
    "outputs of another kind": {**GOOD, "outputs": "y"},
    "an id of another kind": {**GOOD, "id": 7},
    "bytes that are not there": {"inputs": [{**TENSOR, "parameters": {"binary_data_size": 24}}]},
    "a size of another kind": {"inputs": [{**TENSOR, "parameters": {"binary_data_size": "24"}}]},
    "parameters of another kind": {"inputs": [{**TENSOR, "parameters": 3}]},
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_bad_bodies(client: Client, body: Any) -> None:
    status, found, _ = client.ask("/v2/models/field_evaluate/infer", body)
    assert status == 400, found
    assert set(found) == {"error"}
    assert found["error"] and "\n" not in found["error"] and "Traceback" not in found["error"]
    assert client.ask("/v2/models/field_evaluate/infer", GOOD)[0] == 200


@pytest.mark.parametrize("length", ["x", "-1", "99999", "1e3"])
def test_bad_header_length(client: Client, length: str) -> None:
    body, _ = binary_body(np.zeros((1, 3)))
    headers = {"Inference-Header-Content-Length": length}
    assert client.ask("/v2/models/field_evaluate/infer", body, headers)[0] == 400


def test_a_large_body_is_refused(port: int) -> None:
    assert Client(port).ask("/v2/models/field_evaluate/infer", request(np.zeros((40_000, 3)) + 0.123456))[0] == 413
    chunks = (b" " * 65536 for _ in range(40))  # of unknown length
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it stops reading
        connection.request("POST", "/v2/models/field_evaluate/infer", chunks, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_a_slow_client_is_told_and_no_other_waits(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"POST /v2/models/field_evaluate/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        start = time.monotonic()
        assert Client(port).ask("/v2/models/field_evaluate/infer", GOOD)[0] == 200
        assert time.monotonic() - start < 1
        slow.settimeout(10)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_many_at_once(port: int) -> None:
    """Small requests are computed together; everyone gets the own rows."""
    bundle, rng = pullback.load(FIELD), np.random.default_rng(3)
    batches = [rng.normal(size=(1 + i % 5, 3)) for i in range(400)]

    def ask(number: int) -> None:
        client = Client(port)
        for x in batches[number::16]:
            status, found, _ = client.ask("/v2/models/field_evaluate/infer", request(x, outputs=[{"name": "dflow_dx"}]))
            assert status == 200
            array = np.array(found["outputs"][0]["data"]).reshape(found["outputs"][0]["shape"])
            np.testing.assert_allclose(array, bundle(x).dflow_dx, rtol=0, atol=1e-14)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    text = Client(port).ask("/metrics")[1].decode()
    calls, rows = (
        float(re.search(f'^pullback_call_rows_{what}{{model="field_evaluate"}} (.*)$', text, re.M)[1])  # type: ignore[index]
        for what in ("count", "sum")
    )
    assert calls < rows  # the batches of these requests alone have 1200 rows in 400 requests
    assert 'pullback_requests_total{code="200",model="field_evaluate"}' in text
    assert "pullback_requests_underway 0.0" in text


def test_it_ends_after_the_last_answer() -> None:
    """SIGTERM while a body is on its way: the request is answered, then the process ends."""
    with serving(FIELD) as (port, process):
        body = json.dumps(GOOD).encode()
        with socket.create_connection(("127.0.0.1", port)) as late:
            late.sendall(
                b"POST /v2/models/field_evaluate/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            late.sendall(body[:10])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            late.sendall(body[10:])
            late.settimeout(10)
            assert late.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert process.wait(10) in (0, -signal.SIGTERM)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Children that have the server's sockets, and not the tracker of multiprocessing."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="on this system nothing lists the server's worker processes (/proc)"
)
def test_a_killed_worker_is_replaced() -> None:
    with serving(FIELD, "--workers", "2") as (port, process):
        for _ in range(100):
            if len(before := workers_of(process)) == 2:
                break
            time.sleep(0.1)
        assert Client(port).ask("/v2/models/field_evaluate/infer", GOOD)[0] == 200
        os.kill(before[0], signal.SIGKILL)
        for _ in range(200):
            time.sleep(0.1)
            if len(after := workers_of(process)) == 2 and before[0] not in after:
                break
        assert len(after) == 2 and before[0] not in after
        for _ in range(20):
            assert Client(port).ask("/v2/models/field_evaluate/infer", GOOD)[0] == 200
        text = Client(port).ask("/metrics")[1].decode()
        total = re.search(r'^pullback_requests_total{code="200",model="field_evaluate"} (\S+)$', text, re.M)
        assert total is not None and float(total[1]) >= 20


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="on this system nothing lists the server's worker processes (/proc)"
)
def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is killed cannot tell its workers: they answer what is under way, end, and leave nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(FIELD, "--workers", "2") as (port, process):
        for _ in range(100):
            if len(workers := workers_of(process)) == 2:
                break
            time.sleep(0.1)
        assert list(tmp_path.glob("pullback-metrics-*"))
        body = json.dumps(GOOD).encode()
        with socket.create_connection(("127.0.0.1", port)) as late:
            head = b"POST /v2/models/field_evaluate/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            late.sendall(head % len(body) + body[:10])
            time.sleep(0.5)
            process.kill()
            process.wait(10)
            time.sleep(0.5)
            late.sendall(body[10:])
            late.settimeout(10)
            assert late.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(200):
            if not (left := [worker for worker in workers if Path(f"/proc/{worker}/exe").exists()]):
                break
            time.sleep(0.1)
        assert not left
        assert not list(tmp_path.glob("pullback-metrics-*"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_servers_share_optimised_graphs(workers: str, tmp_path: Path) -> None:
    """The first server with ``--cache`` writes graphs, the next one writes none; the numbers are the bundle's."""
    folder, written = tmp_path / "cache", []
    x = np.random.default_rng(3).normal(size=(5, 3))
    want = pullback.load(FIELD)(x)._asdict()
    for _ in range(2):
        with serving(FIELD, "--workers", workers, "--cache", str(folder)) as (port, _process):
            status, found, _ = Client(port).ask("/v2/models/field_evaluate/infer", request(x))
            assert status == 200, found
            for output in found["outputs"]:
                np.testing.assert_array_equal(np.reshape(output["data"], output["shape"]), want[output["name"]])
        written.append({path: path.stat().st_mtime_ns for path in folder.rglob("*.onnx")})
    assert written[0] and written[1] == written[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cache", str(FIELD / "cache")], "choose a folder outside of it"),
        (["--workers", "0"], "--workers must be positive"),
        (["--batch", "-1"], "--batch"),
        (["--name", "a/b"], "not a valid model name"),
        (["--max-body", "0"], "--max-body must be positive"),
    ],
)
def test_wrong_usage(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(FIELD), *options]) in (1, 2)
    assert says in capsys.readouterr().err


def test_a_server_needs_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(FIELD)]) == 2
    assert 'pip install "pullback[serve]"' in capsys.readouterr().err


def test_no_bundle_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none"), "--workers", "2"]) == 1
    assert "no such file or folder" in capsys.readouterr().err
