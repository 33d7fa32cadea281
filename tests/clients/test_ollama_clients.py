"""Released clients of Ollama's API against a real server: `pytest -m slow tests/clients`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_programs import Environments, run_node, run_python

PROMPT = "What do you see?"
LITELLM = "litellm==1.110.2"
# Programs, their arguments after the usual ones, and their packages.
PYTHON_CLIENTS = [
    ("ollama_client", (), ("ollama==0.6.3",)),
    ("langchain_ollama_client", (), ("langchain-ollama==1.1.0",)),
    ("litellm_ollama_client", ("ollama",), (LITELLM,)),
    ("litellm_ollama_client", ("ollama_chat",), (LITELLM,)),
    ("llama_index_ollama_client", (), ("llama-index-llms-ollama==0.11.0",)),
    ("llm_ollama_client", (), ("llm==0.36", "llm-ollama==0.19.1")),
]
NODE_CLIENTS = ("ollama", "ai-sdk-ollama", "ollama-ai-provider-v2")
NODE_PACKAGES = (
    "ollama@0.6.4",
    "ai@7.0.173",
    "ai-sdk-ollama@4.3.0",
    "ollama-ai-provider-v2@4.0.1",
    "zod@4.4.3",
)


def check(found: dict[str, Any]) -> None:
    """Check what a program printed: an answer of its schema, and the same text in each way."""
    scene = found.pop("schema")
    assert set(scene) == {"shape", "count", "note"}
    assert found["text"]
    assert found == dict.fromkeys(found, found["text"])


@pytest.mark.slow
@pytest.mark.parametrize(("program", "more", "packages"), PYTHON_CLIENTS, ids=str)
def test_python_clients(
    program: str,
    more: tuple[str, ...],
    packages: tuple[str, ...],
    environments: Environments,
    served_port: int,
    scene_file: Path,
) -> None:
    python = environments.python(*packages)
    url = f"http://127.0.0.1:{served_port}"
    check(run_python(python, program, url, scene_file, PROMPT, *more))


@pytest.mark.slow
@pytest.mark.parametrize("name", NODE_CLIENTS)
def test_node_clients(
    name: str, environments: Environments, served_port: int, scene_file: Path
) -> None:
    folder = environments.node(*NODE_PACKAGES)
    url = f"http://127.0.0.1:{served_port}"
    check(run_node(folder, "ollama_clients", url, scene_file, PROMPT, name))
