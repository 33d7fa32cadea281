"""The list of a server's models, and which of them sees pictures.

Each kind of server says it in its own fields: vLLM and SGLang not at all, llama.cpp in
`capabilities` beside the list, OpenRouter in `architecture`, LM Studio in `type`, Mistral in
`capabilities` by name. The name of a model is the last resort.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vlm.remote.failures import UpstreamFailure

_MAX_NAMED: Final = 5

# Objects in a model's entry that may say what it can do.
_GROUPS: Final = (
    *("architecture", "capabilities", "details", "info", "meta", "metadata", "modalities"),
    "model_spec",
)
_INPUTS: Final = (
    *("input_modalities", "supported_input_modalities", "modalities", "modality", "input"),
)
_OUTPUTS: Final = ("output_modalities", "supported_output_modalities", "modality", "output")
_KINDS: Final = ("type", "task", "mode", "model_type", "pipeline_tag", "kind")
_LISTS: Final = ("capabilities", "features", "tags")
_FLAGS: Final = (
    *("vision", "supports_vision", "supportsvision", "image_input", "supports_image_input"),
    *("supports_images", "multimodal", "is_multimodal"),
)
_SEES: Final = frozenset(
    {
        *("vision", "vlm", "image", "images", "image-input", "multimodal", "image-text-to-text"),
        *("image_text_to_text", "visual-question-answering"),
    }
)
_SAYS_WHAT_IT_CAN: Final = frozenset({"completion", "completions", "chat", "tools"})
# No model with one of these kinds captions pictures.
_OTHER_KINDS: Final = re.compile(
    r"embed|rerank|speech|audio|whisper|transcri|tts|stt|moderation|classif|image[-_ ]?gen|"
    r"text-to-image|feature-extraction|sentence-similarity|diffusion|^image$|^images$|^video$"
)
_OTHER_NAMES: Final = re.compile(
    r"embed|rerank|(^|[-_/.:])(bge|gte|e5|minilm|colbert|jina-clip|siglip|clip)([-_/.:\d]|$)|"
    r"whisper|parakeet|(^|[-_/.:])(tts|stt|asr|kokoro|piper|bark|orpheus)([-_/.:\d]|$)|speech|"
    r"transcribe|realtime|audio|moderation|guard([-_/.:\d]|$)|dall-?e|diffusion|sdxl|"
    r"(^|[-_/.:])(flux|sora|veo|imagen|gpt-image)([-_/.:\d]|$)|reward"
)
_VISION_NAMES: Final = re.compile(
    r"vision|multimodal|(^|[^a-z])omni|llava|moondream|idefics|internvl|pixtral|molmo|florence|"
    r"paligemma|cogvlm|kosmos|fuyu|blip|(^|[-_/.:\d])v?lm?v([-_/.:\d]|$)|vlm|"
    r"(^|[-_/.:\d])(vl\d*|v)([-_/.:b]|$)|\dv([-_/.:]|$)|minicpm-?[vo]|(^|[^a-z])ovis|"
    r"gemma-?3(?!n?[-:]?(1b|270m))|gemma-?[4-9]|llama-?4|"
    r"gpt-4o|gpt-4\.[1-9]|gpt-[5-9]|chatgpt-4o|(^|[-_/.:])o[134]([-_/.:]|$)|claude|gemini|grok-[4-9]|"
    r"mistral-?(small|medium)-?(3\.[1-9]|25)|ministral-3|magistral|qwen-?3\.[5-9]|kimi-?k2\.[5-9]|ocr"
)
_TEXT_NAMES: Final = re.compile(
    r"gpt-oss|gpt-3|davinci|babbage|code|starcoder|coder|(^|[-_/.:])(o1-mini|o3-mini)|tinyllama|"
    r"llama-?[123](\.\d)?([-_/.:]|$)|codellama|vicuna|mixtral|mistral[-:]?7b|mistral-nemo|"
    r"qwen-?[123](\.[0-5])?([-_/.:]|$)|qwq|deepseek-?(r\d|v\d|llm|chat|reasoner)|"
    r"smollm|gemma-?[12]?([-_/.:](2b|7b|9b|27b|it))|gemma-?3[-:](1b|270m)|phi-?[1-4]([-_/.:]|$)|"
    r"falcon|olmo|command-?r|granite|tulu|solar|zephyr|orca|hermes"
)
_VERSIONS: Final = ("root", "version", "digest")
_THINKS: Final = re.compile(r"think|reason")


@dataclass(frozen=True)
class ListedModel:
    """A model that a server lists."""

    name: str
    sees: bool | None
    """Whether it takes pictures and answers in text; None if the server does not say it."""
    owner: str = ""
    """What serves it, such as "vllm"; empty if the server does not say it."""
    thinks: bool = False
    """It is said to think before it answers."""
    version: tuple[str, ...] = ()
    """What tells it from another model of this name."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What is another if the server runs another model."""
        return (self.name, self.owner, *self.version)


def read_list(body: bytes, max_name_chars: int) -> list[ListedModel]:
    """Return the models in a server's list, at least one; raise UpstreamFailure.

    Names that are longer, or hold control characters, are left out.
    """
    try:
        value = json.loads(body)
        listed = [{"id": each} if isinstance(each, str) else each for each in _entries(value)]
        ready = [each for each in listed if not _is_loading(each)]
        names = [each["id"] for each in ready]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UpstreamFailure(
            "broken",
            "answers, but does not list models as an OpenAI-compatible server does. Check "
            "--base-url, which usually ends in /v1, or name the model with --remote-model.",
            has_no_list=True,
        ) from None
    beside = _entries_beside(value)
    valid = [
        _listed_model(name, {**beside.get(name, {}), **each})
        for name, each in zip(names, ready, strict=True)
        if isinstance(name, str) and 0 < len(name) <= max_name_chars and name.isprintable()
    ]
    if not valid:
        if len(ready) < len(listed):
            raise UpstreamFailure("busy", "still loads its model.")
        raise UpstreamFailure("busy", "lists no model yet.", has_no_list=True)
    return valid


def choose(models: Sequence[ListedModel], kept: str | None) -> ListedModel:
    """Return the model for pictures: `kept` while it is listed, else the likeliest one.

    Raise UpstreamFailure if none sees pictures.
    """
    able = [each for each in models if each.sees is not False]
    if not able:
        shown = ", ".join(each.name for each in models[:_MAX_NAMED])
        more = f" and {len(models) - _MAX_NAMED} more" if len(models) > _MAX_NAMED else ""
        raise UpstreamFailure(
            "denied",
            f"lists no model that sees pictures: {shown}{more}. Load one there that does, or name "
            "the one that does with --remote-model.",
        )
    same = next((each for each in able if each.name == kept), None)
    return same or next((each for each in able if each.sees), able[0])


def _listed_model(name: str, entry: dict[str, Any]) -> ListedModel:
    sees = _says_vision(entry)
    owner = entry.get("owned_by")
    lists = " ".join(_words(entry, ("capabilities", "features", "supported_parameters")))
    return ListedModel(
        name=name,
        sees=_names_vision(name) if sees is None else sees,
        owner=owner.lower() if isinstance(owner, str) else "",
        thinks=_THINKS.search(f"{lists} {name.lower()}") is not None,
        version=tuple(
            f"{key}: {value}" for key in _VERSIONS if isinstance(value := entry.get(key), str)
        ),
    )


def _entries(value: Any) -> list[Any]:
    """Return the entries of a list; raise an error of Python's if it is none."""
    if isinstance(value, list) and value:
        return value
    if "data" not in value and value.get("models"):
        # As the own lists of Ollama and LM Studio.
        return [{"id": each.get("model") or each.get("key"), **each} for each in value["models"]]
    entries: list[Any] = value["data"]
    return entries


def _entries_beside(value: object) -> dict[str, dict[str, Any]]:
    """Return llama.cpp's and Ollama's entries beside the list, by name."""
    models = value.get("models") if isinstance(value, dict) else None
    found: dict[str, dict[str, Any]] = {}
    for each in models if isinstance(models, list) else []:
        for key in ("id", "model", "name"):
            name = each.get(key) if isinstance(each, dict) else None
            if isinstance(name, str):
                found[name] = each
    return found


def _says_vision(entry: dict[str, Any]) -> bool | None:
    """Return what the fields of `entry` say; None if they say nothing of pictures."""
    kinds = list(_words(entry, _KINDS))
    if any(_OTHER_KINDS.search(kind) for kind in kinds):
        return False
    outputs = [word.partition("->")[2] or word for word in _words(entry, _OUTPUTS)]
    if outputs and not any("text" in word for word in outputs):
        return False
    if any(_holds(group, name) is True for group in _groups(entry) for name in _FLAGS):
        return True
    inputs = [word.partition("->")[0] for word in _words(entry, _INPUTS)]
    lists = list(_words(entry, _LISTS))
    if any(
        part in _SEES for word in (*inputs, *lists, *kinds) for part in re.split(r"[+, ]", word)
    ):
        return True
    if any(_OTHER_KINDS.search(word) for word in lists) and not _SAYS_WHAT_IT_CAN & {*lists}:
        return False
    says_no = any(_holds(group, name) is False for group in _groups(entry) for name in _FLAGS)
    return False if says_no or inputs or _SAYS_WHAT_IT_CAN & {*lists} else None


def _names_vision(name: str) -> bool | None:
    lower = name.lower()
    if _OTHER_NAMES.search(lower):
        return False
    if _VISION_NAMES.search(lower):
        return True
    return False if _TEXT_NAMES.search(lower) else None


def _groups(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield `entry` and the objects in it, and in those, that say what a model can do."""
    yield entry
    for name in _GROUPS:
        inner = entry.get(name)
        if isinstance(inner, dict):
            yield inner
            deeper = inner.get("capabilities")
            if isinstance(deeper, dict):
                yield deeper


def _holds(group: dict[str, Any], flag: str) -> object:
    return next((value for name, value in group.items() if name.lower() == flag), None)


def _words(entry: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yield the words in these fields, in lower case: a text, or each text of a list."""
    for group in _groups(entry):
        for name in names:
            value = group.get(name)
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str) and word:
                    yield word.lower()


def _is_loading(model: dict[str, Any]) -> bool:
    """Return whether the server says so, as Sightline and llama.cpp's router do."""
    status = model.get("status")
    return isinstance(status, dict) and status.get("value") == "loading"
