"""Released clients of OpenAI's API against a real server: `pytest -m slow tests/clients`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from client_programs import Environments, run_node, run_python

from chat_kit import MODEL, client_of, image_part, text_part

PROMPT = "What do you see?"


class Client(NamedTuple):
    """A program, its packages, and the keys of what it prints, by what they hold."""

    program: str
    packages: tuple[str, ...]
    scenes: tuple[str, ...]
    """Answers of the schema that all programs have."""
    objects: tuple[str, ...] = ()
    """Answers that are any JSON object."""


PYTHON_CLIENTS = [
    Client(
        "langchain_openai_client",
        ("langchain-openai==1.7.4",),
        scenes=("json_schema", "function_calling", "responses schema"),
        objects=("json_mode",),
    ),
    Client(
        "instructor_client",
        ("instructor==1.17.0",),
        scenes=("TOOLS", "JSON_SCHEMA", "RESPONSES_TOOLS"),
    ),
    Client(
        "pydantic_ai_client",
        ("pydantic-ai-slim[openai]==2.68.0",),
        scenes=("tool", "native", "responses tool"),
    ),
    Client("litellm_client", ("litellm==1.110.2",), scenes=("schema", "tool")),
    Client("llm_client", ("llm==0.36",), scenes=("schema",)),
    Client("openai_agents_client", ("openai-agents==0.24.0",), scenes=("typed", "responses typed")),
]
NODE_CLIENT = Client(
    "ai_sdk_client",
    ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92", "zod@4.4.3"),
    scenes=("object", "responses object"),
    objects=("free",),
)


def check(client: Client, found: dict[str, Any], port: int, scene_file: Path) -> None:
    """Check all that the program printed; texts are what OpenAI's own client receives."""
    for name in client.scenes:
        scene = found.pop(name)
        assert set(scene) == {"shape", "count", "note"}, (name, scene)
    for name in client.objects:
        assert isinstance(found.pop(name), dict)
    parts = [text_part(PROMPT), image_part(scene_file.read_bytes())]
    messages: Any = [{"role": "user", "content": parts}]
    with client_of(port) as openai:
        answer = openai.chat.completions.create(model=MODEL, messages=messages)
    text = answer.choices[0].message.content
    assert text
    assert found == dict.fromkeys(found, text)


@pytest.mark.slow
@pytest.mark.parametrize("client", PYTHON_CLIENTS, ids=lambda client: client.packages[0])
def test_python_clients(
    client: Client, environments: Environments, served_port: int, scene_file: Path
) -> None:
    python = environments.python(*client.packages)
    url = f"http://127.0.0.1:{served_port}/v1"
    found = run_python(python, client.program, url, scene_file, PROMPT)
    check(client, found, served_port, scene_file)


@pytest.mark.slow
def test_the_ai_sdk(environments: Environments, served_port: int, scene_file: Path) -> None:
    folder = environments.node(*NODE_CLIENT.packages)
    url = f"http://127.0.0.1:{served_port}/v1"
    found = run_node(folder, NODE_CLIENT.program, url, scene_file, PROMPT)
    check(NODE_CLIENT, found, served_port, scene_file)
