"""`GET /props`: what llama.cpp's clients read of a server's model, beside OpenAI's API."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, jsonify

from vlm import __version__
from vlm.models.manager import Models
from vlm.results import EngineInfo
from web.paths import PROPS_PATH
from web.streaming import running_model


@dataclass(frozen=True)
class GenerationSettings:
    """The length of the context: tokens of prompt and answer together; 0 if it is not known."""

    n_ctx: int


@dataclass(frozen=True)
class Modalities:
    """What a message may hold beside text."""

    vision: bool = True
    audio: bool = False


@dataclass(frozen=True)
class TemplateAbilities:
    """What the chat template can write; tools are answered in text."""

    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_system_role: bool = True
    supports_parallel_tool_calls: bool = False


@dataclass(frozen=True)
class Props:
    """The model that runs."""

    default_generation_settings: GenerationSettings
    total_slots: int
    """Requests that the model advances together."""
    model_alias: str
    model_path: str
    """The name of the model: paths of this machine are told to nobody."""
    modalities: Modalities
    chat_template: str
    """Jinja; empty if the model runs elsewhere."""
    chat_template_caps: TemplateAbilities
    build_info: str


def props_blueprint(models: Models) -> Blueprint:
    """Return the route over started `models`."""
    blueprint = Blueprint("props", __name__)

    @blueprint.get(PROPS_PATH)
    def props() -> Response:
        return jsonify(_props(running_model(models.worker), models.worker.queue.max_batch))

    return blueprint


def _props(info: EngineInfo, at_once: int) -> Props:
    return Props(
        GenerationSettings(info.context_tokens or 0),
        total_slots=at_once,
        model_alias=info.model,
        model_path=info.model,
        modalities=Modalities(),
        chat_template=info.chat_template,
        chat_template_caps=TemplateAbilities(),
        build_info=f"sightline-{__version__}",
    )
