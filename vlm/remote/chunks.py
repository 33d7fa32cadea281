"""The JSON of an answer: objects, their first choice, and what it adds to the answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from vlm.remote.failures import fail
from vlm.results import FinishReason

# Models that think before they answer send their thoughts in one of these fields, some of them
# beyond `max_tokens`.
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_THOUGHT_PARTS: Final = ("thinking", "reasoning")

# In lower case; some servers write them in capitals.
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
}
# The answer is not whole.
_BROKEN_OFF: Final = frozenset(
    {
        *("abort", "aborted", "cancel", "canceled", "cancelled", "error", "failed", "timeout"),
        *("network_error", "insufficient_system_resource", "malformed_function_call"),
        *("content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"),
        *("language", "spii"),
    }
)
_NO_REASONS: Final = ("", "null", "none", "None")
_MAX_SHOWN_CHARS: Final = 40


@dataclass(frozen=True)
class Piece:
    """What one choice adds to an answer."""

    text: str
    has_thought: bool
    """It holds thoughts of the model."""
    reason: FinishReason | None
    """Why the answer ended, None if it goes on."""
    unknown_reason: str | None
    """A reason that is not known; it counts as "stop"."""
    has_empty_reason: bool
    """The reason is an empty text."""
    refusal: str
    """Words with which the model refuses."""
    calls_tool: bool
    logprobs: object


def parse_object(data: str) -> dict[str, Any]:
    """Return the JSON object in `data`; raise UpstreamFailure."""
    try:
        value = json.loads(data, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        fail("sends an answer that is not JSON.")
    return value


def first_choice(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first choice of `chunk`, None if it has none; raise UpstreamFailure."""
    choices = chunk.get("choices")
    if choices is None or choices == []:
        return None
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        fail("sends an answer that is not in the form of OpenAI's API.")
    first: dict[str, Any] = choices[0]
    return first


def read_choice(choice: dict[str, Any], takes_message: bool) -> Piece:
    """Return what `choice` adds; raise UpstreamFailure if it is invalid, or broken off.

    `takes_message`: a whole message counts if there is no delta.
    """
    reason, unknown = _reason(choice.get("finish_reason"))
    delta = choice.get("delta") or (takes_message and choice.get("message"))
    delta = delta or {"content": choice.get("text")}
    if not isinstance(delta, dict):
        fail("sends text that is not a string.")
    text, has_thought = _content(delta.get("content") or delta.get("text"))
    refusal = delta.get("refusal")
    return Piece(
        text=text,
        has_thought=has_thought or any(_holds_text(delta.get(name)) for name in _THOUGHTS),
        reason=reason,
        unknown_reason=unknown,
        has_empty_reason=choice.get("finish_reason") == "",
        refusal=refusal if isinstance(refusal, str) else "",
        calls_tool=bool(delta.get("tool_calls") or delta.get("function_call")),
        logprobs=choice.get("logprobs"),
    )


def valid_text(text: str) -> str:
    """Return `text` with lone surrogates, which JSON may contain, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _reason(value: object) -> tuple[FinishReason | None, str | None]:
    # Some servers send one of these with each text.
    if value is None or value is False or value in _NO_REASONS:
        return None, None
    if not isinstance(value, str) or value.lower() in _BROKEN_OFF:
        fail("ended the answer before it was complete.")
    known = _FINISH_REASONS.get(value.lower())
    shown = "".join(char for char in value[:_MAX_SHOWN_CHARS] if char.isprintable())
    return known or "stop", None if known else shown


def _content(content: object) -> tuple[str, bool]:
    """Return the text of `content`, a text or a list of parts, and whether it has thoughts."""
    if content is None:
        return "", False
    if isinstance(content, str):
        return content, False
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        fail("sends text that is not a string.")
    texts, has_thought = [], False
    for part in content:
        if part.get("type") in _THOUGHT_PARTS:
            has_thought = True
            continue
        text = part.get("text")
        text = text.get("value") if isinstance(text, dict) else text
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts), has_thought


def _holds_text(value: object) -> bool:
    """Return whether `value` has words: a text, or a list or an object that is not empty."""
    return isinstance(value, str | list | dict) and bool(value)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
