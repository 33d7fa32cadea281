"""`/openapi.json`: a valid document of all routes, and the answers agree with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV32SpecValidator

from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.openapi import OPENAPI_VERSION, document
from web.paths import family_of
from web_client import HANG_GUARD_S, JPEG, ROOT, picture, read_events, served

# The page and its files, and routes that this server does not offer.
UNDOCUMENTED = {
    *("/", "/static/{}", "/favicon.ico", "/apple-touch-icon.png"),
    "/v1/responses/{}",
}
NOT_OFFERED = {"pull", "push", "create", "copy", "delete", "blobs/{}", "embed", "embeddings"}
UNDOCUMENTED |= {f"/api/{name}" for name in NOT_OFFERED}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return document(Settings())


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


def operations(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in spec["paths"].items()
        for method, operation in item.items()
    }


def without_extra_fields(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the document with `additionalProperties: false` in every schema."""
    schemas = {
        name: {"additionalProperties": False, **schema} if "properties" in schema else schema
        for name, schema in spec["components"]["schemas"].items()
    }
    return {"components": {"schemas": schemas}}


def assert_matches(spec: dict[str, Any], name: str, value: object) -> None:
    """Check that `value` has the fields of the schema `name` and no others."""
    schema = {"$ref": f"#/components/schemas/{name}", **without_extra_fields(spec)}
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    assert errors == []


@pytest.mark.parametrize("settings", [Settings(), Settings(client_key_file="a", engine="openai")])
def test_the_document_is_valid(settings: Settings) -> None:
    OpenAPIV32SpecValidator(document(settings)).validate()  # type: ignore[arg-type]


def test_the_document_is_served(client: FlaskClient, spec: dict[str, Any]) -> None:
    answer = client.get("/openapi.json")
    assert answer.mimetype == "application/json"
    assert answer.get_json() == spec
    assert spec["openapi"] == OPENAPI_VERSION


def test_the_document_has_every_route_and_no_other(web_app: Flask, spec: dict[str, Any]) -> None:
    routes = {
        f"{method} {re.sub(r'<[^>]*>', '{}', rule.rule)}"
        for rule in web_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {re.sub(r"\{[^}]*\}", "{}", name) for name in operations(spec)}
    assert {name for name in routes if name.split()[1] not in UNDOCUMENTED} == documented


def test_each_operation_has_a_name_a_summary_and_a_tag(spec: dict[str, Any]) -> None:
    found = operations(spec).values()
    assert len({operation["operationId"] for operation in found}) == len(found)
    tags = {tag["name"] for tag in spec["tags"]}
    for operation in found:
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        assert {"403", "500"} <= set(operation["responses"])


def test_each_schema_is_used(spec: dict[str, Any]) -> None:
    used = set(re.findall(r"#/components/schemas/(\w+)", str(spec)))
    assert used == set(spec["components"]["schemas"])


def test_the_status_matches_the_document(client: FlaskClient, spec: dict[str, Any]) -> None:
    assert_matches(spec, "Status", client.get("/api/status").get_json())
    assert_matches(spec, "Health", client.get("/healthz").get_json())
    assert_matches(spec, "ModelsStatus", client.post("/api/models/dismiss").get_json())


def test_the_events_of_a_caption_match_the_document(
    client: FlaskClient, spec: dict[str, Any]
) -> None:
    events = read_events(client.post("/api/captions", data=picture(), headers=JPEG).text)
    for name, data in events:
        assert_matches(spec, {"token": "Token", "done": "CaptionResult"}[name], data)
    assert events[-1][0] == "done"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/api/captions", "ErrorAnswer"),
        ("POST", "/api/models/switch", "ErrorAnswer"),
        ("GET", "/v1/models/nothing", "OpenAIErrorAnswer"),
        ("POST", "/v1/chat/completions", "OpenAIErrorAnswer"),
        ("POST", "/v1/responses", "OpenAIErrorAnswer"),
        ("POST", "/api/chat", "OllamaErrorAnswer"),
        ("POST", "/api/generate", "OllamaErrorAnswer"),
    ],
)
def test_errors_match_the_document(
    client: FlaskClient, spec: dict[str, Any], method: str, path: str, name: str
) -> None:
    answer = client.open(path, method=method, data=b"{}", headers={"Content-Type": "text/plain"})
    documented = operations(spec)[f"{method} {path.replace('nothing', '{model}')}"]["responses"]
    assert str(answer.status_code) in documented
    assert_matches(spec, name, answer.get_json())


def test_the_settings_are_in_the_document() -> None:
    spec = document(Settings(max_tokens=7, client_key_file="key"))
    parameters = operations(spec)["POST /api/captions"]["parameters"]
    (max_tokens,) = [each for each in parameters if each["name"] == "max_tokens"]
    assert max_tokens["schema"]["default"] == 7
    for name, operation in operations(spec).items():
        is_of_others = family_of(name.split()[1]) != "own"
        assert ("401" in operation["responses"]) == is_of_others
        assert bool(operation.get("security")) == is_of_others
    assert spec["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_schemathesis_finds_no_failure(web_worker: Worker, tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is not installed"
    with served(
        web_worker, Settings(model="nano", offline=True, timeline_file=str(tmp_path / "kept"))
    ) as (
        port,
        _,
    ):
        options = ["--seed", "1", "--max-examples", "3", "--no-color", "--request-timeout", "60"]
        done = subprocess.run(
            [program, "run", f"http://127.0.0.1:{port}/openapi.json", *options],
            cwd=ROOT,
            env=os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=4 * HANG_GUARD_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    # It skips the route of the document itself.
    tested = len(operations(document(Settings()))) - 1
    assert re.findall(r"Tested: +(\d+)", done.stdout) == [str(tested)]
