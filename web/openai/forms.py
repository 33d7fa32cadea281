"""The form that a chat request demands of its answer: JSON of a schema, a choice, a forced tool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vlm.types import Form
from web.chats.fields import NAME_MAX_CHARS
from web.chats.forms import broken_keywords, form_of_schema
from web.chats.json_body import MISSING, UNSUPPORTED
from web.errors import FieldError
from web.openai.schema import ChatCompletionRequest


@dataclass(frozen=True)
class AskedForm:
    """The form that a request demands of its answer."""

    form: Form | None = None
    json_object: bool = False
    tool: str | None = None
    """The name of the tool whose arguments are the answer."""
    ignored: tuple[str, ...] = ()
    """Names of fields, and of keywords of the schema, that have no effect."""

    @property
    def is_json(self) -> bool:
        """Return whether the answer is JSON, of which a part is of no use."""
        return self.json_object or (self.form is not None and self.form.kind == "json_schema")


def asked_form(body: ChatCompletionRequest) -> AskedForm:
    """Return the form that `body` demands; raises FieldError for one that answers cannot have.

    A forced tool is answered by its arguments, whatever `response_format` says.
    """
    choice = body.tool_choice
    named = choice.get("function") if isinstance(choice, dict) else None
    tools = Tools(
        [(f"tools[{index}].function", _function(tool)) for index, tool in enumerate(body.tools)]
        if body.tools
        else [],
        choice,
        named.get("name") if isinstance(named, dict) else None,
    )
    is_json = body.response_format is not None and body.response_format.type == "json_object"
    return checked_form(list(_forms(body)), is_json or _wants_object(body), tools)


@dataclass(frozen=True)
class Tools:
    """The tools of a request."""

    functions: Sequence[tuple[str, dict[str, Any]]]
    """Path and object of each function; the object is empty for another kind of tool."""
    choice: Any
    """The field `tool_choice`."""
    named: Any
    """The name of a function in it, if there is one."""

    @property
    def is_forced(self) -> bool:
        """Return whether one of the tools must be called."""
        return bool(self.functions) and self.choice not in (None, "auto", "none")


def checked_form(forms: list[tuple[str, Form]], json_object: bool, tools: Tools) -> AskedForm:
    """Return the one form of an answer: that of a forced tool, or else one of `forms`.

    `forms` come with the path of their field. `json_object`: any JSON object, if there is no form.
    Raises FieldError if there are several, or answers cannot have it.
    """
    tool, ignored = None, []
    if tools.functions and tools.choice in (None, "auto"):
        ignored.append("tools")
    if tools.is_forced:
        tool, schema, param = _forced_tool(tools)
        # Without parameters a function has no arguments.
        schema = schema or {"properties": {}}
        forms = [(param, form_of_schema({"type": "object", **schema}))]
    if len(forms) > 1:
        message = f"`{forms[1][0]}` cannot be used beside `{forms[0][0]}`: an answer has one form."
        raise FieldError(message, forms[1][0], UNSUPPORTED)
    if not forms:
        return AskedForm(json_object=json_object, ignored=tuple(ignored))
    ((param, form),) = forms
    ignored += broken_keywords(form, param)
    return AskedForm(form, tool=tool, ignored=tuple(ignored))


def _forms(body: ChatCompletionRequest) -> Iterator[tuple[str, Form]]:
    """Yield each form that `body` demands, with the path of its field."""
    asked = body.response_format
    if asked is not None and asked.type != "text":
        schema, param = asked.schema_, "response_format.schema"
        if asked.type == "json_schema" and schema is None:
            param = "response_format.json_schema"
            if asked.json_schema is not None:
                param, schema = f"{param}.schema", asked.json_schema.schema_
            if schema is None:
                raise FieldError(f"`{param}` is missing.", param, MISSING)
        if schema is not None:
            yield param, form_of_schema(schema)
    vllm = body.structured_outputs
    schemas = {"json_schema": body.json_schema, "guided_json": body.guided_json}
    regexes = {"regex": body.regex, "guided_regex": body.guided_regex}
    choices = {"guided_choice": body.guided_choice}
    if vllm is not None:
        schemas["structured_outputs.json"] = vllm.json_
        regexes["structured_outputs.regex"] = vllm.regex
        choices["structured_outputs.choice"] = vllm.choice
    for param, given in schemas.items():
        if given is not None:
            yield param, form_of_schema(_parsed(given, param))
    for param, regex in regexes.items():
        if regex is not None:
            yield param, Form("regex", regex)
    for param, choice in choices.items():
        if choice is not None:
            yield param, Form("choice", json.dumps(choice))


def _wants_object(body: ChatCompletionRequest) -> bool:
    return body.structured_outputs is not None and bool(body.structured_outputs.json_object)


def _parsed(schema: dict[str, Any] | str, param: str) -> dict[str, Any]:
    """Return a schema, which vLLM also takes as text; raises FieldError."""
    if isinstance(schema, dict):
        return schema
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise FieldError(f"`{param}` must be a JSON schema.", param)
    return parsed


def _forced_tool(tools: Tools) -> tuple[str, dict[str, Any], str]:
    """Return the name of the tool that must be called, its parameters and the path of those."""
    found = list(tools.functions)
    if isinstance(tools.named, str):
        found = [each for each in found if each[1].get("name") == tools.named]
        if not found:
            raise FieldError("`tool_choice` names none of the `tools`.", "tool_choice")
    elif tools.choice != "required":
        message = "`tool_choice` must be `none`, `auto`, `required` or the name of one function."
        raise FieldError(message, "tool_choice", UNSUPPORTED)
    elif len(found) > 1:
        message = "`tool_choice` is `required` with several `tools`: name one of them."
        raise FieldError(message, "tool_choice", UNSUPPORTED)
    param, function = found[0]
    name, parameters = function.get("name"), function.get("parameters") or {}
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX_CHARS or not name.isprintable():
        raise FieldError(f"`{param}.name` must be the name of the function.", f"{param}.name")
    if not isinstance(parameters, dict):
        message = f"`{param}.parameters` must be a JSON schema."
        raise FieldError(message, f"{param}.parameters", "invalid_type")
    return name, parameters, f"{param}.parameters"


def _function(tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function if isinstance(function, dict) else {}
