"""Read the body of a chat request: checked fields, and the Request that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from vlm.types import ANSWER_MAX_TOKENS, AnswerTask, Message, PromptEnd, Request, Sampling
from web.chats.fields import check_texts, role_of, seed_of, written_calls
from web.chats.ignored import ignored_fields
from web.chats.images import ImageReader
from web.chats.json_body import MISSING, Path, read_fields
from web.errors import FieldError
from web.openai.forms import asked_form
from web.openai.schema import (
    ChatCompletionRequest,
    ChatMessage,
    Content,
    ImagePart,
    ImageUrl,
    RefusalPart,
    RefusedFields,
    SamplingFields,
    StructuredOutputs,
    TextPart,
)


def read_chat_body(data: bytes) -> ChatCompletionRequest:
    """Return the checked fields of `data`; raises FieldError for the first wrong field."""
    return read_fields(data, ChatCompletionRequest, _why_refused)


def _why_refused(path: Path) -> str | None:
    """Return why the field at the start of `path` is refused, None if any value may be right."""
    fields, name = RefusedFields.model_fields, str(path[0]) if path else ""
    if name == "structured_outputs" and path[1:2] in (["grammar"], ["structural_tag"]):
        fields, name = StructuredOutputs.model_fields, str(path[1])
    return fields[name].description if name in fields else None


@dataclass(frozen=True)
class ChatRequest:
    """A chat that was read."""

    request: Request
    ignored: tuple[str, ...]
    """Names of fields that have no effect."""
    tool: str | None
    """The name of the tool whose arguments are the answer."""


def chat_request(
    body: ChatCompletionRequest, is_cancelled: Callable[[], bool] = lambda: False
) -> ChatRequest:
    """Return what `body` demands, with all images decoded.

    Raises FieldError, what `decode_image` does if `is_cancelled`, and BusyError.
    """
    if body.top_logprobs and not body.logprobs:
        raise FieldError("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    texts = [text for message in body.messages for text in texts_of(message.content)]
    check_texts(texts, "messages")
    asked = asked_form(body)
    images = ImageReader(is_cancelled)
    messages = tuple(
        _message(message, f"messages[{index}]", images)
        for index, message in enumerate(body.messages)
    )
    limit = token_limit(body.max_completion_tokens, body.max_tokens)
    stop = body.stop or ()
    task = AnswerTask(
        messages,
        max_tokens=limit or ANSWER_MAX_TOKENS,
        detail=images.detail,
        sampling=sampling_of(body),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        json_object=asked.json_object,
        form=asked.form,
        stop_loops=(limit is None or asked.is_json) if body.stop_loops is None else body.stop_loops,
        prompt_end=_prompt_end(body, messages[-1], asked.tool),
    )
    ignored = ignored_fields(body, [*asked.ignored, *images.ignored])
    return ChatRequest(Request(task, camera=body.user), ignored, asked.tool)


def token_limit(*given: int | None) -> int | None:
    """Return the smallest of the limits; None if there is none, or each is -1."""
    limits = [limit for limit in given if limit is not None and limit > 0]
    return min([*limits, ANSWER_MAX_TOKENS]) if limits else None


def sampling_of(body: SamplingFields) -> Sampling:
    """Return the parameters of sampling; absent ones are neutral."""
    return Sampling(
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=seed_of(body.seed),
        top_k=max(body.top_k or 0, 0),
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or body.repeat_penalty or 1.0,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=tuple((int(token), bias) for token, bias in (body.logit_bias or {}).items()),
    )


def _prompt_end(body: ChatCompletionRequest, last: Message, tool: str | None) -> PromptEnd:
    """Return where the prompt ends; raises FieldError for what cannot be continued."""
    if not body.continue_final_message:
        return "final_message" if body.add_generation_prompt is False else "generation_prompt"
    param, reason = "continue_final_message", ""
    if body.add_generation_prompt:
        reason = "`add_generation_prompt` starts a new turn. Leave out one of them"
    elif last.role != "assistant":
        reason = "the last of the `messages` must be the assistant's"
    elif not isinstance(last.parts[-1], str):
        reason = "the last of the `messages` must end with a text"
    elif tool is not None:
        reason = "the call of a tool is a new turn"
    if reason:
        raise FieldError(f"`{param}` cannot be used here: {reason}.", param)
    return "final_text"


def texts_of(content: Content | None) -> list[str]:
    """Return the texts of a message."""
    if isinstance(content, str):
        return [content]
    return [_text_of(part) for part in content or () if not isinstance(part, ImagePart)]


def _text_of(part: TextPart | RefusalPart) -> str:
    return part.text if isinstance(part, TextPart) else part.refusal


def content_parts(
    content: Content | None, param: str, images: ImageReader
) -> list[str | Image.Image]:
    """Return the texts and decoded images of a message; raises FieldError."""
    if isinstance(content, str):
        return [content]
    return [
        _image(part.image_url, part.detail, f"{param}[{index}].image_url", images)
        if isinstance(part, ImagePart)
        else _text_of(part)
        for index, part in enumerate(content or ())
    ]


def _message(message: ChatMessage, param: str, images: ImageReader) -> Message:
    """Return one turn; an earlier call of a tool is written as `name(arguments)`."""
    parts: list[str | Image.Image] = []
    if message.image_url is not None:
        parts.append(_image(message.image_url, None, f"{param}.image_url", images))
    parts += content_parts(message.content, f"{param}.content", images)
    if (
        message.content is None
        and "content" not in message.model_fields_set
        and message.role != "assistant"
        and not parts
    ):
        field = f"{param}.content"
        raise FieldError(f"`{field}` is missing.", field, MISSING)
    parts += written_calls(message.tool_calls or ())
    return Message(role_of(message.role), tuple(parts) or ("",))


def _image(url: ImageUrl | str, detail: str | None, param: str, images: ImageReader) -> Image.Image:
    if isinstance(url, ImageUrl):
        return images.read(url.url, url.detail, f"{param}.url")
    return images.read(url, detail, param)
