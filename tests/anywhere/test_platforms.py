"""The files that docs/howto/platforms.md shows are what KServe and TensorFlow Serving take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pullback.cli import _parser

from tests.anywhere.conftest import GOLDEN

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "platforms.md"


def files() -> dict[str, str]:
    """The fenced blocks whose first line names the file that they are."""
    tokens = [token for token in markdown_it.MarkdownIt().parse(PAGE.read_text("utf-8")) if token.type == "fence"]
    named = [token.content.split("\n", 1) for token in tokens if token.content.startswith("# ")]
    return {first.removeprefix("# "): rest for first, rest in named}


@pytest.mark.parametrize("name", ["kserve_triton.yaml", "kserve_pullback.yaml"])
def test_inference_services(name: str) -> None:
    """Keys of https://kserve.github.io/website/docs/reference/crd-api (InferenceService, v1beta1)."""
    service = yaml.safe_load(files()[name])
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert set(service) == {"apiVersion", "kind", "metadata", "spec"} and set(service["spec"]) == {"predictor"}
    predictor: dict[str, Any] = service["spec"]["predictor"]
    if name == "kserve_triton.yaml":
        model = predictor["model"]
        assert set(model) == {"runtime", "protocolVersion", "modelFormat", "storageUri"}
        # config/runtimes/kserve-tritonserver.yaml: supportedModelTypes
        assert model["runtime"] == "kserve-tritonserver" and model["modelFormat"] == {"name": "triton", "version": "2"}
        assert model["protocolVersion"] == "v2"
    else:
        (container,) = predictor["containers"]
        assert container["name"] == "kserve-container"  # KServe's name for the container that answers
        port = str(container["ports"][0]["containerPort"])
        assert f'"--port", "{port}"' in files()["Dockerfile"] and '"--host", "0.0.0.0"' in files()["Dockerfile"]
        for probe, path in (("readinessProbe", "/v2/health/ready"), ("livenessProbe", "/v2/health/live")):
            assert container[probe]["httpGet"] == {"path": path, "port": int(port)}


def test_the_command_of_the_image_is_one() -> None:
    (line,) = [line for line in files()["Dockerfile"].splitlines() if line.startswith("CMD ")]
    program, *arguments = json.loads(line.removeprefix("CMD "))
    assert program == "pullback"
    assert _parser().parse_args(arguments).port == 8080


def test_tensorflow_serving_reads_its_configuration() -> None:
    text_format = pytest.importorskip("google.protobuf.text_format", reason="protobuf is not installed")
    reason = "tensorflow-serving-api is not installed"
    messages = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason=reason)
    found = text_format.Parse(files()["models.config"], messages.ModelServerConfig())
    (model,) = found.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("bowl", "/models/bowl", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1


def test_the_saved_model_is_where_the_page_copies_it_from() -> None:
    assert (GOLDEN / "bowl.pullback" / "saved_model" / "saved_model.pb").is_file()
