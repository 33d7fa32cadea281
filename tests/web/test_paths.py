"""Addresses that miss a route in a plain way are served; others are told what exists."""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from chat_kit import CHAT, assert_refused, chat_body
from ollama_kit import assert_ollama_refused
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.paths import canonical_path, family_of
from web_client import ROOT, app_over

CANONICAL = {
    CHAT: (
        f"{CHAT}/",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/api/v1/chat/completions",
        "/api/chat/completions",
        "/openai/v1/chat/completions",
        "/v1//chat/completions",
    ),
    "/v1/models": ("/models", "/v1/models/", "/api/v1/models", "/api/models", "/v1/v1/models"),
    "/v1/models/org/name": ("/models/org/name", "/api/v1/models/org/name/"),
    "/props": ("/props/", "/v1/props", "/api/v1/props"),
    "/v1/embeddings": ("/api/v1/embeddings", "/embeddings"),
    "/v1/rerank": ("/rerank", "/api/rerank"),
    "/api/embeddings": ("/api/api/embeddings",),
    "/api/chat": ("/api/chat/", "/api/api/chat", "/v1/api/chat", "/ollama/api/chat"),
    "/api/tags": ("/api/tags/", "/ollama/api/tags"),
}
UNCHANGED = (
    "/",
    "/v1",
    "/v1/",
    "/v1/chat",
    "/chat",
    "/tags",
    "/api/models/switch",
    "/api/models/cancel/",
    "/api/captions",
    "/api/captions/",
    "/api/status",
    "/metrics",
    "/v1/metrics",
    "/static/v1/models",
    "/api/v2/models",
)


def test_near_misses_have_one_canonical_path() -> None:
    for path, misses in CANONICAL.items():
        for miss in (path, *misses):
            assert canonical_path(miss) == path
            assert family_of(miss) == ("ollama" if path.startswith("/api/") else "openai")
    assert canonical_path("//v1//models") == "/v1/models"
    for path in UNCHANGED:
        assert canonical_path(path) == path


def test_near_misses_are_served_and_others_told_what_exists(web_worker: Worker) -> None:
    client = app_over(web_worker).test_client()
    for path in CANONICAL[CHAT]:
        assert client.post(path, json=chat_body(max_tokens=1)).get_json()["choices"]
    for path in CANONICAL["/v1/models"]:
        assert client.get(path).get_json()["data"]
    for path in CANONICAL["/api/tags"]:
        assert client.get(path).get_json()["models"]
    for path in ("/v1/completions", "/completions", "/v1/chat", "/api/v1/nothing", "/v1"):
        assert_refused(client.post(path), 404, "not_found", words=f"POST {CHAT}")
    assert_ollama_refused(client.get("/api/tags/all"), 404, "GET /api/tags")
    # Those of the page have its own form, and no near miss opens them.
    assert client.get("/api/nothing").get_json()["error"]["code"] == "not_found"
    for path in ("/v1/metrics", "/v1/api/status", "/api/api/models/switch"):
        assert client.post(path).status_code == 404


def test_the_key_and_allowed_pages_hold_for_each_api_and_its_near_misses(
    web_worker: Worker, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("a-key-of-the-house")
    origin = "https://chat.example"
    settings = Settings(client_key_file=str(file), allow_origin=(origin,))
    client: FlaskClient = app_over(web_worker, settings).test_client()
    key = {"Authorization": "Bearer a-key-of-the-house"}
    for path in ("/api/tags", "/api/version", "/api/ps", "/v1/api/tags", "/api/chat/none"):
        assert_ollama_refused(client.get(path), 401, "Authorization: Bearer KEY")
    for path in ("/props", "/models", "/api/v1/models", "/api/models", "/v1//models"):
        assert_refused(client.get(path), 401, "invalid_api_key")
    for path in ("/api/tags", "/props", "/models"):
        answer = client.get(path, headers=key | {"Origin": origin})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        stranger = client.get(path, headers=key | {"Origin": "https://evil.example"})
        assert stranger.status_code == 403
    # The page's own routes stay closed to other sites' pages.
    assert client.get("/api/status", headers={"Origin": origin}).status_code == 403


def test_llama_cpp_s_clients_read_the_model(web_worker: Worker) -> None:
    props = app_over(web_worker).test_client().get("/props?model=any").get_json()
    assert props["default_generation_settings"]["n_ctx"] == 2048
    assert props["modalities"] == {"vision": True, "audio": False}
    assert "{% for message in messages %}" in props["chat_template"]
    assert props["model_path"] == "nano"
    assert str(ROOT) not in str(props)
