"""Answers of `/v1/responses`, made from the events of a stream: one whole, or event by event.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Literal

from pydantic import Field

from vlm import results
from vlm.errors import SightlineError
from vlm.results import Result, Stats, StreamEvent
from web.chats.fields import is_none
from web.errors import status_of
from web.openai.answers import AnswerPart, TokenLogprob, finish_reason_of, token_logprob
from web.streaming import WAITING

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(AnswerPart):
    """The text of an answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = Field(default=[], description="Always empty.")
    logprobs: list[TokenLogprob] = Field(default=[], description="If they were asked for.")


class OutputMessage(AnswerPart):
    """An answer in text."""

    id: str
    type: Literal["message"] = "message"
    status: Status
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]


class OutputCall(AnswerPart):
    """The call of the tool that was forced."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: Status
    call_id: str
    name: str
    arguments: str = Field(description="JSON that fits the parameters of the tool.")


class InputTokensDetails(AnswerPart):
    """The image tokens among the prompt tokens."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0
    image_tokens: int


class OutputTokensDetails(AnswerPart):
    """The kinds of tokens of the answer."""

    reasoning_tokens: int = 0


class ResponseUsage(AnswerPart):
    """The token counts of a request."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class IncompleteDetails(AnswerPart):
    """Why an answer was cut off."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseError(AnswerPart):
    """Why an answer failed midway."""

    code: Literal["server_error", "invalid_prompt"]
    message: str


class ChosenTool(AnswerPart):
    """The tool that was forced."""

    type: Literal["function"] = "function"
    name: str


class ResponseAnswer(AnswerPart):
    """A whole answer, or what is known of one."""

    id: str
    object: Literal["response"] = "response"
    created_at: int = Field(description="Time of the request, in seconds since 1970.")
    status: Status
    model: str
    output: list[OutputMessage | OutputCall]
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponseUsage | None = None
    max_output_tokens: int | None
    temperature: float
    top_p: float
    background: Literal[False] = False
    parallel_tool_calls: Literal[False] = False
    previous_response_id: None = None
    store: Literal[False] = Field(default=False, description="Nothing is kept.")
    tool_choice: Literal["auto"] | ChosenTool = "auto"
    tools: list[Any] = Field(default=[], description="Always empty.")
    truncation: Literal["disabled"] = "disabled"


class ResponseEvent(AnswerPart):
    """One event of a streamed answer; its type says which fields it has."""

    type: str
    sequence_number: int
    response: ResponseAnswer | None = Field(default=None, exclude_if=is_none)
    output_index: int | None = Field(default=None, exclude_if=is_none)
    item: OutputMessage | OutputCall | None = Field(default=None, exclude_if=is_none)
    item_id: str | None = Field(default=None, exclude_if=is_none)
    content_index: int | None = Field(default=None, exclude_if=is_none)
    part: OutputText | None = Field(default=None, exclude_if=is_none)
    delta: str | None = Field(default=None, exclude_if=is_none)
    text: str | None = Field(default=None, exclude_if=is_none)
    arguments: str | None = Field(default=None, exclude_if=is_none)
    logprobs: list[TokenLogprob] | None = Field(default=None, exclude_if=is_none)


@dataclass(frozen=True)
class ResponseMaker:
    """Makes the answer to one request to `/v1/responses`; its events share these fields."""

    stream_type: ClassVar[str] = "text/event-stream"

    model: str
    max_output_tokens: int | None
    temperature: float
    top_p: float
    tool: str | None = None
    """The name of the tool whose arguments are the answer."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The part that all ids of the answer share."""
    # Seconds since 1970.
    created_at: int = field(default_factory=lambda: int(time.time()))

    def whole(self, events: Iterable[StreamEvent | None]) -> ResponseAnswer | None:
        """Return the whole answer, or None if `events` end without a Result.

        Raises the SightlineError that `events` raise.
        """
        logprobs: list[results.TokenLogprob] = []
        for event in events:
            if isinstance(event, Result):
                status = _status(event)
                item = self._item(status, event.text, _written(logprobs))
                return self._answer(status, [item], event.stats)
            if event is not None:
                logprobs += event.logprobs
        return None

    def chunks(self, events: Iterable[StreamEvent | None]) -> Iterator[str]:
        """Yield the server-sent events of the answer; the last one after an error says so."""
        numbers = count()

        def sent(kind: str, **fields: Any) -> str:
            event = ResponseEvent(type=kind, sequence_number=next(numbers), **fields)
            return f"event: {kind}\ndata: {event.model_dump_json()}\n\n"

        logprobs: list[results.TokenLogprob] = []
        for kind in ("response.created", "response.in_progress"):
            yield sent(kind, response=self._answer("in_progress", []))
        place: dict[str, Any] = {"item_id": self._item_id, "output_index": 0}
        started = self._item("in_progress", None)
        yield sent("response.output_item.added", output_index=0, item=started)
        if self.tool is None:
            place["content_index"] = 0
            yield sent("response.content_part.added", part=OutputText(text=""), **place)
        try:
            for event in events:
                if event is None:
                    yield WAITING
                elif isinstance(event, Result):
                    yield from self._end(event, _written(logprobs), place, sent)
                elif self.tool is None:
                    logprobs += event.logprobs
                    new = _written(event.logprobs)
                    kind = "response.output_text.delta"
                    yield sent(kind, delta=event.text, logprobs=new, **place)
                else:
                    kind = "response.function_call_arguments.delta"
                    yield sent(kind, delta=event.text, **place)
        except SightlineError as error:
            code: Any = "server_error" if status_of(error) >= 500 else "invalid_prompt"
            failure = ResponseError(code=code, message=str(error))
            yield sent("response.failed", response=self._answer("failed", [], error=failure))

    def _end(
        self, result: Result, logprobs: list[TokenLogprob], place: dict[str, Any], sent: Any
    ) -> Iterator[str]:
        """Yield the events after the last text."""
        status = _status(result)
        item = self._item(status, result.text, logprobs)
        if isinstance(item, OutputMessage):
            (part,) = item.content
            yield sent("response.output_text.done", text=part.text, logprobs=logprobs, **place)
            yield sent("response.content_part.done", part=part, **place)
        else:
            kind = "response.function_call_arguments.done"
            yield sent(kind, arguments=item.arguments, **place)
        yield sent("response.output_item.done", output_index=0, item=item)
        yield sent(f"response.{status}", response=self._answer(status, [item], result.stats))

    def _answer(
        self,
        status: Status,
        output: list[OutputMessage | OutputCall],
        stats: Stats | None = None,
        error: ResponseError | None = None,
    ) -> ResponseAnswer:
        return ResponseAnswer(
            id=f"resp_{self.key}",
            created_at=self.created_at,
            status=status,
            model=self.model,
            output=output,
            error=error,
            incomplete_details=IncompleteDetails() if status == "incomplete" else None,
            usage=None if stats is None else _usage(stats),
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            tool_choice="auto" if self.tool is None else ChosenTool(name=self.tool),
        )

    @property
    def _item_id(self) -> str:
        return f"msg_{self.key}" if self.tool is None else f"fc_{self.key}"

    def _item(
        self, status: Status, text: str | None, logprobs: Iterable[TokenLogprob] = ()
    ) -> OutputMessage | OutputCall:
        """Return the only item of the answer; `text` is None before it begins."""
        if self.tool is None:
            content = [] if text is None else [OutputText(text=text, logprobs=[*logprobs])]
            return OutputMessage(id=self._item_id, status=status, content=content)
        return OutputCall(
            id=self._item_id,
            status=status,
            call_id=f"call_{self.key}",
            name=self.tool,
            arguments=text or "",
        )


def _status(result: Result) -> Status:
    return "incomplete" if finish_reason_of(result) == "length" else "completed"


def _written(tokens: Iterable[results.TokenLogprob]) -> list[TokenLogprob]:
    return [token_logprob(token) for token in tokens]


def _usage(stats: Stats) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=stats.prompt_tokens,
        input_tokens_details=InputTokensDetails(image_tokens=stats.image_tokens),
        output_tokens=stats.tokens,
        total_tokens=stats.prompt_tokens + stats.tokens,
    )
