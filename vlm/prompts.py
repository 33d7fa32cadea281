"""Preset prompts, and limits of prompts and chats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vlm.errors import BadRequestError

PROMPT_MAX_CHARS: Final = 2000
# More than the context of any SmolVLM, and quickly tokenised.
CHAT_MAX_CHARS: Final = 32_000


@dataclass(frozen=True)
class Preset:
    id: str
    label: str
    """On the page."""
    prompt: str
    """For the model."""


READ_PRESET: Final = "read"
PRESETS: Final = (
    Preset("caption", "Short caption", "Describe this image briefly."),
    Preset("detailed", "Detailed description", "Describe this image in detail."),
    Preset("objects", "List the things", "List the objects in this image."),
    Preset("count", "How many", "How many objects are there?"),
    Preset(READ_PRESET, "Read the text", "What does the text say?"),
    Preset("people", "Who is doing what", "Who is doing what in this image?"),
    Preset("danger", "Is anything dangerous", "What in this image could be dangerous?"),
    Preset("light", "How is the light", "How is the light in this image?"),
    Preset("json", "As data", "Describe this image as JSON."),
)
DEFAULT_PROMPT: Final = PRESETS[0].prompt

# Left by a text that was decoded wrongly. Lone surrogates, which cannot be encoded as UTF-8, are
# refused too, but tools such as schemathesis cannot read a pattern that names them.
TEXT_PATTERN: Final = r"^[^\ufffd]*$"
_TEXT: Final = re.compile(r"[^\ufffd\ud800-\udfff]*")
# Control characters except tab and line ends. People paste them.
_CONTROL: Final = re.compile(r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]")


def checked_prompt(text: str) -> str:
    """Return `text` as `clean_text` does, trimmed; DEFAULT_PROMPT if that is empty.

    Raise BadRequestError if it is longer than PROMPT_MAX_CHARS or no Unicode text.
    """
    prompt = text.strip()
    if len(prompt) > PROMPT_MAX_CHARS:
        raise BadRequestError(
            f"The prompt has {len(prompt)} characters; at most {PROMPT_MAX_CHARS} are taken. "
            "Make it shorter."
        )
    return clean_text(prompt).strip() or DEFAULT_PROMPT


def clean_text(text: str) -> str:
    """Return `text`, any part of a chat, with a space in place of each control character.

    Raise BadRequestError if it is too long or no Unicode text.
    """
    if len(text) > CHAT_MAX_CHARS:
        raise BadRequestError(
            f"A text has {len(text)} characters; at most {CHAT_MAX_CHARS} are taken. Make it "
            "shorter."
        )
    if not _TEXT.fullmatch(text):
        raise BadRequestError("The prompt is not UTF-8: some of its characters were lost.")
    return _CONTROL.sub(" ", text)
