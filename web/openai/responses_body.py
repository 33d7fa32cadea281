"""Read the body of a request to `/v1/responses`: checked fields, and the Request they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vlm.types import ANSWER_MAX_TOKENS, AnswerTask, Message, Request
from web.chats.fields import FunctionCall, check_texts, role_of, written_call
from web.chats.forms import form_of_schema
from web.chats.ignored import ignored_fields
from web.chats.images import ImageReader
from web.chats.json_body import MISSING, Path, read_fields
from web.errors import FieldError
from web.openai.body import ChatRequest, content_parts, sampling_of, texts_of, token_limit
from web.openai.forms import AskedForm, Tools, checked_form
from web.openai.responses_schema import (
    LOGPROBS,
    InputCall,
    InputCallOutput,
    InputMessage,
    OtherItem,
    RefusedResponsesFields,
    ResponsesRequest,
)


def read_responses_body(data: bytes) -> ResponsesRequest:
    """Return the checked fields of `data`; raises FieldError for the first wrong field."""
    return read_fields(data, ResponsesRequest, _why_refused)


def _why_refused(path: Path) -> str | None:
    name = str(path[0]) if path else ""
    fields = RefusedResponsesFields.model_fields
    return fields[name].description if name in fields else None


def responses_request(
    body: ResponsesRequest, is_cancelled: Callable[[], bool] = lambda: False
) -> ChatRequest:
    """Return what `body` demands, with all images decoded.

    Raises FieldError, what `decode_image` does if `is_cancelled`, and BusyError.
    """
    check_texts(_texts(body), "input")
    asked = _asked_form(body)
    images = ImageReader(is_cancelled)
    with_logprobs = LOGPROBS in (body.include or ())
    limit = token_limit(body.max_output_tokens)
    stop = body.stop or ()
    task = AnswerTask(
        tuple(_messages(body, images)),
        max_tokens=limit or ANSWER_MAX_TOKENS,
        detail=images.detail,
        sampling=sampling_of(body),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_logprobs=(body.top_logprobs or 0) if with_logprobs else None,
        json_object=asked.json_object,
        form=asked.form,
        stop_loops=(limit is None or asked.is_json) if body.stop_loops is None else body.stop_loops,
    )
    ignored = [*asked.ignored, *images.ignored, *_without_effect(body, with_logprobs)]
    request = Request(task, camera=body.user)
    return ChatRequest(request, ignored_fields(body, ignored), asked.tool)


def _messages(body: ResponsesRequest, images: ImageReader) -> Iterator[Message]:
    if body.instructions is not None:
        yield Message("system", (body.instructions,))
    if isinstance(body.input, str):
        yield Message("user", (body.input,))
        return
    turns = [
        _message(item, f"input[{index}]", images)
        for index, item in enumerate(body.input)
        if not isinstance(item, OtherItem)
    ]
    if not turns:
        raise FieldError("`input` has no message.", "input", MISSING)
    yield from turns


def _message(
    item: InputMessage | InputCall | InputCallOutput, param: str, images: ImageReader
) -> Message:
    if isinstance(item, InputCall):
        call = item if item.input is None else FunctionCall(name=item.name, arguments=item.input)
        return Message("assistant", (written_call(call),))
    if isinstance(item, InputMessage):
        parts = content_parts(item.content, f"{param}.content", images)
        return Message(role_of(item.role), tuple(parts) or ("",))
    return Message("user", tuple(content_parts(item.output, f"{param}.output", images)) or ("",))


def _texts(body: ResponsesRequest) -> list[str]:
    if isinstance(body.input, str):
        return [body.instructions or "", body.input]
    contents = [
        item.content if isinstance(item, InputMessage) else getattr(item, "output", None)
        for item in body.input
    ]
    return [body.instructions or "", *(text for each in contents for text in texts_of(each))]


def _asked_form(body: ResponsesRequest) -> AskedForm:
    """Return the form that `body` demands; raises FieldError for one that answers cannot have."""
    choice = body.tool_choice
    is_named = isinstance(choice, dict) and choice.get("type") == "function"
    functions = [
        (f"tools[{index}]", tool if _is_function(tool) else {})
        for index, tool in enumerate(body.tools or ())
    ]
    tools = Tools(functions, choice, choice.get("name") if is_named else None)
    asked = body.text.format if body.text else None
    if asked is None or asked.type != "json_schema":
        return checked_form([], asked is not None and asked.type == "json_object", tools)
    param = "text.format.schema"
    if asked.schema_ is None:
        raise FieldError(f"`{param}` is missing.", param, MISSING)
    return checked_form([(param, form_of_schema(asked.schema_))], False, tools)


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"


def _without_effect(body: ResponsesRequest, with_logprobs: bool) -> Iterator[str]:
    """Yield the names of described fields that have no effect."""
    if any(each != LOGPROBS for each in body.include or ()):
        yield "include"
    if body.top_logprobs and not with_logprobs:
        yield "top_logprobs"
    for item in () if isinstance(body.input, str) else body.input:
        if isinstance(item, OtherItem):
            yield f"input.{item.type}"
