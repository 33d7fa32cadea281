"""From what the worker makes to OpenAI's answers: one whole, or chunk by chunk."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vlm import types
from vlm.errors import GenerationError, SightlineError
from vlm.types import Result, Stats, StreamEvent
from web.errors import openai_error_body, status_of
from web.openai.answer_schema import (
    AnswerMessage,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FinishReason,
    PromptTokensDetails,
    TokenLogprob,
    TopLogprob,
    Usage,
)

# What OpenAI says of a token that cannot be: JSON has no infinity.
_LEAST_LOGPROB: Final = -9999.0


@dataclass(frozen=True)
class Answer:
    """What all chunks of one answer share."""

    model: str
    with_logprobs: bool
    with_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, items: Iterable[StreamEvent | None]) -> ChatCompletion | None:
        """The answer that `items` end with; None where they just end.

        Raises the SightlineError that they raise.
        """
        logprobs: list[types.TokenLogprob] = []
        for item in items:
            if isinstance(item, Result):
                choice = Choice(
                    message=AnswerMessage(content=item.text),
                    logprobs=self._logprobs(logprobs),
                    finish_reason=_finish_reason(item),
                )
                return ChatCompletion(
                    id=self.id,
                    created=self.created,
                    model=self.model,
                    choices=[choice],
                    usage=_usage(item.stats),
                )
            if item is not None:
                logprobs += item.logprobs
        return None

    def events(self, items: Iterable[StreamEvent | None]) -> Iterator[str]:
        """The server-sent events of the answer; after an error there is no `[DONE]`."""
        yield self._event(ChunkChoice(delta=Delta(role="assistant", content="")))
        try:
            for item in items:
                if item is None:
                    yield ": waiting\n\n"
                elif isinstance(item, Result):
                    reason = _finish_reason(item)
                    yield self._event(ChunkChoice(delta=Delta(), finish_reason=reason))
                    if self.with_usage:
                        yield self._event(usage=_usage(item.stats))
                    yield "data: [DONE]\n\n"
                else:
                    delta, logprobs = Delta(content=item.text), self._logprobs(item.logprobs)
                    yield self._event(ChunkChoice(delta=delta, logprobs=logprobs))
        except SightlineError as error:
            body = openai_error_body(error.code, str(error), status_of(error))
            yield f"data: {json.dumps(body)}\n\n"

    def _event(self, *choices: ChunkChoice, usage: Usage | None = None) -> str:
        chunk = ChatCompletionChunk(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=list(choices),
            usage=usage,
        )
        return f"data: {chunk.model_dump_json()}\n\n"

    def _logprobs(self, tokens: Sequence[types.TokenLogprob]) -> ChoiceLogprobs | None:
        if not self.with_logprobs:
            return None
        return ChoiceLogprobs(content=[_token_logprob(each) for each in tokens])


def _token_logprob(token: types.TokenLogprob) -> TokenLogprob:
    top = [_top_logprob(each) for each in token.top]
    return TokenLogprob(**dict(_top_logprob(token)), top_logprobs=top)


def _top_logprob(token: types.TokenLogprob) -> TopLogprob:
    return TopLogprob(
        token=token.token,
        logprob=max(token.logprob, _LEAST_LOGPROB),
        bytes=list(token.token_bytes),
    )


def _finish_reason(done: Result) -> FinishReason:
    if done.finish_reason == "cancelled":
        # Never shown as a whole answer, which it is not.
        raise GenerationError("The answer was cancelled.")
    return done.finish_reason


def _usage(stats: Stats) -> Usage:
    return Usage(
        prompt_tokens=stats.prompt_tokens,
        completion_tokens=stats.tokens,
        total_tokens=stats.prompt_tokens + stats.tokens,
        prompt_tokens_details=PromptTokensDetails(image_tokens=stats.image_tokens),
    )
