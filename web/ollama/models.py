"""The running model as Ollama's clients list and read it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from vlm.models.manager import Models
from vlm.results import EngineInfo
from web.streaming import running_model

# The release of Ollama whose API this is. Clients read it as numbers, and ask for new ones.
OLLAMA_VERSION: Final = "0.12.0"

_CAPABILITIES: Final = ("completion", "vision")
_ARCHITECTURE: Final = "smolvlm"
# The model stays until the server ends; clients show how long that is.
_NEVER: Final = "2318-01-01T00:00:00Z"


@dataclass(frozen=True)
class OllamaVersion:
    """The release of Ollama whose API this is."""

    version: str


@dataclass(frozen=True)
class OllamaDetails:
    """What is known of the weights; empty if nothing is."""

    parent_model: str = ""
    format: str = ""
    family: str = _ARCHITECTURE
    families: tuple[str, ...] = (_ARCHITECTURE,)
    parameter_size: str = ""
    quantization_level: str = ""


@dataclass(frozen=True)
class OllamaModel:
    """A model in a list."""

    name: str
    model: str
    modified_at: str
    """The start of this server."""
    size: int
    """Bytes of its download; 0 if unknown."""
    digest: str
    """SHA-256 of its name."""
    details: OllamaDetails
    capabilities: tuple[str, ...] = _CAPABILITIES


@dataclass(frozen=True)
class OllamaModelList:
    """The models that answer: one, or none before it is known which one loads."""

    models: tuple[OllamaModel, ...]


@dataclass(frozen=True)
class OllamaRunningModel(OllamaModel):
    """A model in memory."""

    expires_at: str = _NEVER
    size_vram: int = 0
    context_length: int | None = None
    """Tokens of prompt and answer together; null if the model runs elsewhere."""


@dataclass(frozen=True)
class OllamaRunningModels:
    """The model that runs; none while it loads."""

    models: tuple[OllamaRunningModel, ...]


@dataclass(frozen=True)
class OllamaShow:
    """The model that runs."""

    modelfile: str
    details: OllamaDetails
    model_info: dict[str, Any]
    """Its architecture, name and `*.context_length`."""
    modified_at: str
    license: str = ""
    parameters: str = ""
    template: str = "{{ .Prompt }}"
    capabilities: tuple[str, ...] = _CAPABILITIES


def listed(models: Models, since: str) -> OllamaModelList:
    """Return the model that runs, or else the one that loads; raises ModelFailedError."""
    if models.worker.state == "loading":
        name, details = models.first, OllamaDetails()
        if name is None:
            return OllamaModelList(())
    else:
        info = running_model(models.worker)
        name, details = info.model, _details(info)
    return OllamaModelList(
        (OllamaModel(name, name, since, _size(models, name), _digest(name), details),)
    )


def running(models: Models, since: str) -> OllamaRunningModels:
    """Return the model that runs, if one does."""
    info = models.worker.info
    if info is None:
        return OllamaRunningModels(())
    name, size = info.model, _size(models, info.model)
    return OllamaRunningModels(
        (
            OllamaRunningModel(
                name,
                name,
                since,
                size,
                _digest(name),
                _details(info),
                size_vram=0 if info.device.lower() == "cpu" else size,
                context_length=info.context_tokens,
            ),
        )
    )


def shown(info: EngineInfo, since: str) -> OllamaShow:
    """Return what is known of the model that runs."""
    model_info: dict[str, Any] = {
        "general.architecture": _ARCHITECTURE,
        "general.name": info.model,
    }
    if info.context_tokens is not None:
        model_info[f"{_ARCHITECTURE}.context_length"] = info.context_tokens
    return OllamaShow(f"FROM {info.model}\n", _details(info), model_info, since)


def is_running(name: str, info: EngineInfo) -> bool:
    """Return whether `name` is one of the running model, with or without Ollama's `:latest`."""
    names = [each.lower() for each in (info.model, *info.aliases)]
    return name.lower() in names or name.lower().removesuffix(":latest") in names


def _details(info: EngineInfo) -> OllamaDetails:
    if info.remote:
        return OllamaDetails(family="", families=())
    return OllamaDetails(format="safetensors", quantization_level=info.dtype)


def _size(models: Models, name: str) -> int:
    sizes = (each.download_bytes for each in models.status().choices if each.name == name)
    return next(sizes, 0)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
