"""Of the models that a server lists, the one that sees pictures is used, and kept while listed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from remote_kit import LIMITS, caption, engine_over
from upstream_server import UpstreamServer, upstreams

from vlm.errors import ModelFailedError
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from worker_kit import running, wait_until


def listed(*names: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": name, "object": "model", **fields} for name in names]


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", **fields}


TEXT_MODEL = model("a", architecture={"input_modalities": ["text"], "output_modalities": ["text"]})
SEES = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}

# A list of models, and the one of them that is used; None if none is.
LISTS: dict[str, tuple[object, str | None]] = {
    # By the fields of these servers.
    "OpenRouter": ([TEXT_MODEL, model("b", architecture=SEES)], "b"),
    "OpenRouter, a maker of pictures": (
        [
            model("a", architecture={"modality": "text+image->image"}),
            model("b", architecture={"modality": "text+image->text"}),
        ],
        "b",
    ),
    "LM Studio": (
        [model("a", type="llm"), model("b", type="vlm"), model("c", type="embeddings")],
        "b",
    ),
    "LM Studio, by flags": (
        [model("a", capabilities={"vision": False}), model("b", capabilities={"vision": True})],
        "b",
    ),
    "Mistral": (
        [
            model("a", capabilities={"completion_chat": True, "vision": False}),
            model("b", capabilities={"completion_chat": True, "vision": True}),
        ],
        "b",
    ),
    "Ollama": (
        [
            model("a", capabilities=["completion", "tools"]),
            model("b", capabilities=["completion", "vision"]),
        ],
        "b",
    ),
    "llama.cpp, beside the list": (
        {
            "models": [
                {"name": "a", "capabilities": ["completion"]},
                {"name": "b", "capabilities": ["completion", "multimodal"]},
            ],
            "data": listed("a", "b", owned_by="llamacpp"),
        },
        "b",
    ),
    "llama.cpp's router": (
        [model("a", status={"value": "loading"}), model("b", architecture=SEES)],
        "b",
    ),
    "modalities": (
        [model("a", modalities=["text"]), model("b", modalities=["text", "image"])],
        "b",
    ),
    "Together, without data": ([model("a", type="embedding"), model("b", type="chat")], "b"),
    "Fireworks": (
        [model("a", supports_image_input=False), model("b", supports_image_input=True)],
        "b",
    ),
    "Hugging Face": (
        [model("a", pipeline_tag="text-generation"), model("b", pipeline_tag="image-text-to-text")],
        "b",
    ),
    "Venice": (
        [
            model("a", model_spec={"capabilities": {"supportsVision": False}}),
            model("b", model_spec={"capabilities": {"supportsVision": True}}),
        ],
        "b",
    ),
    "another Sightline": (
        [model("a", capabilities=["completion", "vision"], architecture=SEES)],
        "a",
    ),
    "names alone": (["llama3", "b-vlm"], "b-vlm"),
    "Ollama's own list": (
        {
            "models": [
                {"name": "a", "model": "a", "capabilities": ["completion"]},
                {"name": "b", "model": "b", "capabilities": ["completion", "vision"]},
            ]
        },
        "b",
    ),
    "LM Studio's own list": (
        {
            "models": [
                {"key": "a", "capabilities": {"vision": False}},
                {"key": "b", "capabilities": {"vision": True}},
            ]
        },
        "b",
    ),
    # By their names.
    "vLLM": (
        listed("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct"),
        "Qwen/Qwen2.5-VL-3B-Instruct",
    ),
    "Ollama's names": (
        listed("llama3.2:3b", "nomic-embed-text:latest", "moondream:latest"),
        "moondream:latest",
    ),
    "LM Studio's names": (
        listed(
            "text-embedding-nomic-embed-text-v1.5", "qwen2.5-7b-instruct", "smolvlm-500m-instruct"
        ),
        "smolvlm-500m-instruct",
    ),
    "LocalAI": (listed("stablediffusion", "whisper-1", "tts-1", "minicpm-v-2_6"), "minicpm-v-2_6"),
    "OpenAI": (
        listed("text-embedding-3-small", "gpt-4o-transcribe", "dall-e-3", "gpt-4o-mini"),
        "gpt-4o-mini",
    ),
    "a field against a name": ([model("my-vlm", type="embedding"), model("b")], "b"),
    "a field for a name": ([model("llama3", capabilities=["completion", "vision"])], "llama3"),
    # Nothing is known of these.
    "names that say nothing": (listed("first", "second"), "first"),
    "one name that says nothing": (listed("model.gguf"), "model.gguf"),
    "beside others": (listed("bge-m3", "whisper-1", "mistral-7b", "mine"), "mine"),
    # None sees pictures.
    "embeddings": (listed("bge-m3"), None),
    "a text model": (listed("meta-llama/Llama-3.1-8B-Instruct"), None),
    "text by a field": ([TEXT_MODEL], None),
    "a reranker": (listed("jina-reranker-v2"), None),
    "speech": (listed("whisper-large-v3", "kokoro"), None),
    "pictures out, none in": ([model("a", type="image")], None),
    "a vision tower for search": (listed("Qwen3-VL-Embedding-2B", "siglip-so400m"), None),
}


@contextmanager
def opening(server: UpstreamServer, settings: Settings) -> Iterator[tuple[RemoteEngine, list[str]]]:
    """Yield an engine that was opened or stopped at its first report, and its reports."""
    settings = replace(settings, engine="openai", base_url=(server.base_url,))
    engine = RemoteEngine(settings, LIMITS, random.Random(0))
    reports: list[str] = []

    def stop(report: str) -> None:
        if report:
            reports.append(report)
            engine.stop_waiting()

    try:
        engine.open(stop)
    except ModelFailedError:
        assert reports
    try:
        yield engine, reports
    finally:
        engine.close()


def used_model(server: UpstreamServer, settings: Settings | None = None) -> str | None:
    """Return the model that is used, None if the error is that none takes pictures."""
    with opening(server, settings or Settings()) as (engine, reports):
        if not reports:
            return engine.info.model
    (report,) = reports
    assert "lists no model that sees pictures: " in report
    assert "--remote-model" in report
    return None


def test_the_model_that_sees_is_used_and_no_other_kind() -> None:
    wrong = {}
    for name, (models, model_used) in LISTS.items():
        with upstreams(1) as (server,):
            as_it_is = isinstance(models, dict) or "without data" in name
            server.models = models if as_it_is else {"data": models}
            found = used_model(server)
            if found != model_used:
                wrong[name] = found
            if not isinstance(models, list) or len(models) < 2:
                continue
            server.models = {"data": models[::-1]}
            if model_used != "first" and used_model(server) != model_used:
                wrong[f"{name}, turned round"] = used_model(server)
    assert wrong == {}


def test_a_named_model_is_used_whatever_is_listed(server: UpstreamServer) -> None:
    server.models = {"data": listed("bge-m3")}
    assert used_model(server, Settings(remote_model="bge-m3")) == "bge-m3"
    assert used_model(server, Settings(remote_model="mine")) == "mine"


NO_LIST = (
    *((status, {"error": "x"}) for status in (400, 403, 404, 405, 410, 500, 501)),
    (200, b"<html>Welcome</html>"),
    (200, {"models": []}),
    (200, {"data": []}),
    (200, b""),
)


def test_without_a_list_the_name_suffices() -> None:
    for status, models in NO_LIST:
        with upstreams(1) as (server,):
            server.list_status, server.models = status, models
            with engine_over(server, settings=Settings(remote_model="mine")) as engine:
                assert engine.info.model == "mine"
                for _ in range(2):
                    caption(engine)
                assert server.exchanges[-1].body["model"] == "mine"
                lists = server.lists
                wait_until(lambda server=server, lists=lists: server.lists > lists + 1)
                assert engine.upstreams()[0].healthy
            with opening(server, Settings()) as (_, reports):
                assert len(reports) == 1, status


def test_a_model_that_still_loads_is_waited_for(server: UpstreamServer) -> None:
    server.models = {"data": [model("mine", status={"value": "loading"})]}
    with opening(server, Settings(remote_model="mine")) as (_, reports):
        assert "still loads its model" in reports[0]


def test_the_model_is_kept_while_it_is_listed_and_then_told(server: UpstreamServer) -> None:
    server.models = {"data": listed("a-vlm", "b-vlm")}

    def list_now(*names: str) -> None:
        server.models = {"data": listed(*names)}
        lists = server.lists
        wait_until(lambda: server.lists >= lists + 3)

    with engine_over(server) as engine, running(engine) as worker:
        for names, used in (
            (("b-vlm", "a-vlm"), "a-vlm"),
            (("c-vlm", "b-vlm", "a-vlm"), "a-vlm"),
            (("b-vlm", "c-vlm"), "b-vlm"),
            (("c-vlm", "b-vlm"), "b-vlm"),
        ):
            list_now(*names)
            caption(engine)
            assert server.exchanges[-1].body["model"] == used
            # As the page names it.
            assert worker.info is not None
            assert (worker.info.model, engine.upstreams()[0].model) == (used, used)
        list_now("bge-m3")
        wait_until(lambda: not engine.upstreams()[0].healthy)
        assert "sees pictures: bge-m3" in str(engine.upstreams()[0].problem)


def test_a_choice_that_is_a_guess_is_told_once(
    server: UpstreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.models = {"data": listed("first", "second")}
    with engine_over(server):
        lists = server.lists
        wait_until(lambda: server.lists >= lists + 3)
    (record,) = caplog.records
    assert "first is used; --remote-model names another" in record.getMessage()
