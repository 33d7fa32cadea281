"""Ollama's answers, made from the events of a stream: one object, or line by line.

https://docs.ollama.com/api
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlm.errors import SightlineError
from vlm.results import Result, StreamEvent
from web.chats.fields import is_none
from web.errors import ollama_error_body

NDJSON: Final = "application/x-ndjson"
_NS_PER_S: Final = 1_000_000_000


def now() -> str:
    """Return the time as Ollama writes it."""
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


class OllamaAnswerMessage(BaseModel):
    """The text of an answer, or of one line of it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    role: Literal["assistant"] = "assistant"
    content: str


class _Line(BaseModel):
    """A line of an answer; only the last one has a reason, counts and durations."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    model: str = Field(description="The true name of the model that answers.")
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load"] | None = Field(
        default=None,
        exclude_if=is_none,
        description="`length`: cut off at the token limit. `load`: nothing was asked.",
    )
    total_duration: int | None = Field(
        default=None,
        exclude_if=is_none,
        description="Nanoseconds, with the wait.",
    )
    load_duration: int | None = Field(default=None, exclude_if=is_none)
    prompt_eval_count: int | None = Field(
        default=None, exclude_if=is_none, description="Tokens of the prompt, with its images."
    )
    prompt_eval_duration: int | None = Field(default=None, exclude_if=is_none)
    eval_count: int | None = Field(
        default=None, exclude_if=is_none, description="Tokens of the answer."
    )
    eval_duration: int | None = Field(default=None, exclude_if=is_none)


class OllamaChatAnswer(_Line):
    """The answer of `/api/chat`, or a line of it."""

    message: OllamaAnswerMessage


class OllamaGenerateAnswer(_Line):
    """The answer of `/api/generate`, or a line of it."""

    response: str


@dataclass(frozen=True)
class OllamaAnswer:
    """Makes the answer to one request."""

    stream_type: ClassVar[str] = NDJSON

    model: str
    is_chat: bool

    def loaded(self) -> BaseModel:
        """Return the answer to a request that only asks for the model."""
        return self._line("", done=True, done_reason="load")

    def whole(self, events: Iterable[StreamEvent | None]) -> BaseModel | None:
        """Return the whole answer, or None if `events` end without a Result.

        Raises the SightlineError that `events` raise.
        """
        for event in events:
            if isinstance(event, Result):
                return self._line(event.text, **_end(event))
        return None

    def chunks(self, events: Iterable[StreamEvent | None]) -> Iterator[str]:
        """Yield the lines of the answer; while it waits, lines without text; an error is the last.

        A blank line would break clients.
        """
        try:
            for event in events:
                if isinstance(event, Result):
                    line = self._line("", **_end(event))
                else:
                    line = self._line("" if event is None else event.text, done=False)
                yield f"{line.model_dump_json()}\n"
        except SightlineError as error:
            yield f"{json.dumps(ollama_error_body(str(error)))}\n"

    def _line(self, text: str, **fields: Any) -> BaseModel:
        fields |= {"model": self.model, "created_at": now()}
        if self.is_chat:
            return OllamaChatAnswer(message=OllamaAnswerMessage(content=text), **fields)
        return OllamaGenerateAnswer(response=text, **fields)


def _end(result: Result) -> dict[str, Any]:
    """Return the fields that only the last line has."""
    stats = result.stats
    return {
        "done": True,
        "done_reason": "length" if result.finish_reason == "length" else "stop",
        "total_duration": _ns(stats.queued_s + stats.total_s),
        "load_duration": 0,
        "prompt_eval_count": stats.prompt_tokens,
        "prompt_eval_duration": _ns(stats.ttft_s),
        "eval_count": stats.tokens,
        "eval_duration": _ns(stats.total_s - stats.ttft_s),
    }


def _ns(seconds: float) -> int:
    """Return nanoseconds, at least one: clients divide counts by them."""
    return max(int(seconds * _NS_PER_S), 1)
