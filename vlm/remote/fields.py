"""Which fields of a request a server takes: learnt from its refusals, and remembered.

A field that a server refuses by name is renamed or left out. What a person asked for (the picture,
the question, the form of the answer) never is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from vlm.remote.failures import UpstreamFailure

LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
# They say that the model is not to think; servers know different ones.
_NO_THOUGHTS: Final[dict[str, Any]] = {
    "chat_template_kwargs": {"enable_thinking": False, "thinking": False},
    "reasoning_effort": "none",
    "think": False,
    "enable_thinking": False,
    "thinking": {"type": "disabled"},
}
# From the least on, for servers that know the field and not "none".
_EFFORTS: Final = ("none", "minimal", "low")
# Without these the answer is the same; only its usage may be lost, or its turn in a queue.
_SILENT: Final = ("stream_options", "user", "stream", "detail", *_NO_THOUGHTS)
# Without these the answer may be another one, so that it is told.
_SAMPLING: Final = (
    "temperature", "top_p", "top_k", "min_p", "seed", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "logit_bias",
)  # fmt: skip
_KEPT_HERE: Final = ("stop", *LIMIT_NAMES)
_KNOWN: Final = (*_SILENT, *_SAMPLING, *_KEPT_HERE)
# Words of their own as well: they count as names of fields in quotation marks, behind a word such
# as "field", or in a path.
_COMMON: Final = ("user", "stream", "detail", "stop", "think", "thinking")
# Most refusals after which one request is sent again.
MAX_LESSONS: Final = 12

_ALMOST_ZERO: Final = 0.01
# What a server echoes of the request, which may hold the name of each field.
_ECHOES: Final = ("input", "ctx", "url", "request", "body")
_QUOTED_INPUT: Final = re.compile(r"""(['"])input\1\s*:.*?(?=\}\s*,\s*\{|\Z)""", re.DOTALL)
_NOT_TAKEN: Final = re.compile(
    r"not (?:supported|support|permitted|allowed|recognized|valid|accepted|available|known)|"
    r"n't support|unsupported|unknown|unrecognized|unexpected|extra_forbidden|extra inputs|"
    r"additional propert|no such|cannot find|forbidden|deprecated|invalid (?:field|param|arg|prop)",
    re.IGNORECASE,
)
_WRONG_VALUE: Final = re.compile(
    r"too (?:large|small|high|low|long|many|big)|exceed|maximum|minimum|at most|at least|between|"
    r"greater|less than|out of range|positive|must be|should be|context length",
    re.IGNORECASE,
)
_BEFORE_NAME: Final = (
    r"(?:['\"`./#\[]|\b(?:param|parameter|field|arg|argument|property|propertie|key|option|supplied|"
    r"unknown|unrecognized|unsupported|input)s?\b[^A-Za-z0-9]{1,4})"
)
# Gateways quote another server's refusal, as JSON or as Python writes it.
_PATH_IN_TEXT: Final = re.compile(
    r"""['"]loc\\*['"]\s*:\s*[(\[]([^)\]]*)[)\]]|['"]param\\*['"]\s*:\s*\\*['"]([^'"\\]+)"""
)
_FIELD: Final = re.compile(r"field|param|argument|propert|\bkeys?\b|inputs", re.IGNORECASE)
_MAX_DEPTH: Final = 8


class ServerFields:
    """The fields that one server takes, as far as it has refused any. For one thread."""

    def __init__(self) -> None:
        self._refused: set[str] = set()
        # Fields of a request that the server answered.
        self._taken: set[str] = set()
        # Fields that are left out on trial, since a refusal named none.
        self._guessed: set[str] = set()
        self._effort = 0
        self._is_zero_refused = False
        self._wants_plain_urls = False
        self._asks_no_thoughts = False
        self.starts_thinking = False
        """Its answers begin with thoughts, without a mark before them."""

    @property
    def keeps_limit(self) -> bool:
        """Return whether the server does not take the token limit."""
        return self._refused.issuperset(LIMIT_NAMES)

    def body(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a request for this server; `asked` has the fields of OpenAI's API."""
        body = {**asked, "stream_options": {"include_usage": True}}
        if "max_tokens" in body and "max_tokens" in self._refused:
            body["max_completion_tokens"] = body.pop("max_tokens")
        if self._is_zero_refused and body.get("temperature") == 0:
            body["temperature"] = _ALMOST_ZERO
        if self._asks_no_thoughts:
            body |= {**_NO_THOUGHTS, "reasoning_effort": _EFFORTS[self._effort]}
        if self._wants_plain_urls:
            body["messages"] = [_with_urls(each, is_plain=True) for each in body["messages"]]
        elif "detail" in self._refused:
            body["messages"] = [_with_urls(each, is_plain=False) for each in body["messages"]]
        if "stream" in self._refused:
            del body["stream"], body["stream_options"]
        return {name: value for name, value in body.items() if name not in self._refused}

    def was_answered(self, sent: dict[str, Any]) -> None:
        """Remember that the server took all fields of `sent`."""
        self._taken.update(_sent_fields(sent))
        self._guessed.clear()

    def ask_for_no_thoughts(self) -> None:
        """Switch the thinking off from now on."""
        self._asks_no_thoughts = True

    def learn(
        self, failure: UpstreamFailure, sent: dict[str, Any], learnt: set[str]
    ) -> list[str] | None:
        """Change what is sent, after a refusal of `sent`; add the fields to `learnt`.

        `learnt` are those that other refusals of the same request named. Return the fields that are
        left out from now on and change the answer, mostly none; None if nothing is to be changed.
        """
        text = _text(failure.body)
        is_unknown = _NOT_TAKEN.search(text) is not None
        if failure.kind not in ("refused", "broken"):
            return None
        if self._guessed:
            # It was something else.
            self._refused -= self._guessed
            self._taken |= self._guessed
            self._guessed.clear()
        fields = _sent_fields(sent)
        # These were added here, and no server must fail because of them.
        untried = [name for name in _NO_THOUGHTS if name in fields - self._taken]
        if failure.kind == "broken" and not (is_unknown or untried):
            return None
        if not self._wants_plain_urls and _is_of_url(failure.body, text):
            self._wants_plain_urls = True
            return []
        named = [name for name in _named(failure.body, text, fields) if name in fields]
        if not is_unknown and _WRONG_VALUE.search(text) is not None:
            return self._learn_value(named, sent, text)
        if named == ["reasoning_effort"] and self._try_next_effort(text):
            return []
        if len(named) > 1 and "stream" in named:
            # It is named beside the fields that go with it.
            named.remove("stream")
        if not named:
            named = untried
            if not untried and failure.kind == "refused" and _is_about_fields(text, fields):
                guessable = fields - self._taken - {"stream"}
                named = [name for name in _SILENT if name in guessable]
            self._guessed.update(named)
        for name, other in (LIMIT_NAMES, LIMIT_NAMES[::-1]):
            if name in named and other not in learnt:
                # The server has changed since it refused the other name.
                self._refused.discard(other)
        self._refused.update(named)
        learnt.update(named)
        return [name for name in named if name in _SAMPLING] if named else None

    def _learn_value(self, named: list[str], sent: dict[str, Any], text: str) -> list[str] | None:
        """As `learn`, if a value was refused, which says nothing of other values."""
        if named == ["temperature"] and sent["temperature"] == 0:
            self._is_zero_refused = True
            return []
        if named == ["temperature"] and sent["temperature"] == _ALMOST_ZERO:
            self._refused.add("temperature")
            return named
        if named == ["reasoning_effort"] and self._try_next_effort(text):
            return []
        switches = [name for name in named if name in _SILENT]
        self._refused.update(switches)
        return [] if switches else None

    def _try_next_effort(self, text: str) -> bool:
        for index in range(self._effort + 1, len(_EFFORTS)):
            if re.search(rf"\b{_EFFORTS[index]}\b", text):
                self._effort = index
                return True
        return False


def _with_urls(message: dict[str, Any], *, is_plain: bool) -> dict[str, Any]:
    """Return `message` with each image as an object with its URL alone, or as a plain text."""
    content = message["content"]
    if isinstance(content, str):
        return message
    urls = [part["image_url"]["url"] if "image_url" in part else None for part in content]
    parts = [
        part if url is None else {**part, "image_url": url if is_plain else {"url": url}}
        for part, url in zip(content, urls, strict=True)
    ]
    return {**message, "content": parts}


def _sent_fields(sent: dict[str, Any]) -> set[str]:
    """Return the names of the fields of `sent`, that of its images too."""
    parts = [part for each in sent["messages"] for part in each["content"]]
    urls = [part["image_url"] for part in parts if isinstance(part, dict) and "image_url" in part]
    return {*sent, *(["detail"] if any("detail" in url for url in urls) else [])}


def _text(body: bytes) -> str:
    """Return the words of a refusal's body, without what it repeats of the request."""
    return _QUOTED_INPUT.sub("", " \n".join(_strings(_parsed(body))))


def _parsed(body: bytes) -> object:
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts in `value`, never the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and depth < _MAX_DEPTH:
        values = value if isinstance(value, list) else _told(value)
        for each in values:
            yield from _strings(each, depth + 1)


def _told(value: dict[str, Any]) -> Iterator[object]:
    for name, inner in value.items():
        if name == "loc" and isinstance(inner, list):
            yield ".".join(map(str, inner))
        elif name not in _ECHOES:
            yield inner


def _named(body: bytes, text: str, fields: set[str]) -> list[str]:
    """Return the known fields that a refusal is about: by its own fields, else by its words."""
    paths = [path for path in _paths(_parsed(body)) if fields & {*map(_snake, path)}]
    if paths:
        return list(dict.fromkeys(filter(None, map(_field_of, paths))))
    return [name for name in _KNOWN if _mentions(text, name)]


def _paths(value: object, depth: int = 0) -> Iterator[list[str]]:
    """Yield the paths in `param` (OpenAI) and `loc` (pydantic), in the texts of `value` too."""
    if isinstance(value, str):
        for found in _PATH_IN_TEXT.finditer(value):
            yield list(filter(None, re.split(r"[^A-Za-z0-9_]+", found[1] or found[2])))
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for each in value:
            yield from _paths(each, depth + 1)
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        param, loc = value.get("param"), value.get("loc")
        if isinstance(param, str):
            yield re.split(r"[^A-Za-z0-9_]+", param)
        if isinstance(loc, list):
            yield [str(each) for each in loc]
        for name, inner in value.items():
            if name not in _ECHOES:
                yield from _paths(inner, depth + 1)


def _field_of(path: list[str]) -> str | None:
    """Return the known field that `path` leads to, or into."""
    names = [*map(_snake, path)]
    if "messages" in names:
        return "detail" if names[-1] == "detail" else None
    return next((name for name in names if name in _KNOWN), None)


def _is_of_url(body: bytes, text: str) -> bool:
    """Return whether a refusal wants images as plain texts."""
    paths = _paths(_parsed(body))
    is_there = any(path[-1:] == ["image_url"] for path in paths) or "image_url" in text
    return is_there and re.search(r"(?:be|expected) a (?:valid )?str(?:ing)?\b", text) is not None


def _is_about_fields(text: str, fields: set[str]) -> bool:
    """Return whether a refusal says that there is a field too many, and names none."""
    is_about = _NOT_TAKEN.search(text) is not None and _FIELD.search(text) is not None
    return is_about and not any(_mentions(text, name) for name in (*fields, "image"))


def _mentions(text: str, name: str) -> bool:
    for spelling in {name, _camel(name)}:
        before = _BEFORE_NAME if name in _COMMON else r"(?<![A-Za-z0-9_])"
        if re.search(rf"{before}{re.escape(spelling)}(?![A-Za-z0-9_])", text):
            return True
    return False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
