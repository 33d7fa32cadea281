"""The chat around a prompt, rendered as transformers renders it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from vlm.checkpoints.files import (
    CHAT_TEMPLATE_FILE,
    OLDER_CHAT_TEMPLATE_FILE,
    PROCESSOR_FILE,
    TOKENIZER_CONFIG_FILE,
    read_json,
)
from vlm.errors import CheckpointError

_REMEDY: Final = "Get the whole checkpoint again."


class ChatTemplate:
    """A checkpoint's template: messages in, the text that the model was trained on out."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        """`source` is the Jinja template; `special_tokens` are those it may name (`bos_token`).

        Raises CheckpointError where `source` is no Jinja template.
        """
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise CheckpointError(f"The chat template is damaged: {error}. {_REMEDY}") from error
        self._special_tokens = dict(special_tokens or {})

    @classmethod
    def load(cls, folder: Path, special_tokens: Mapping[str, str] | None = None) -> ChatTemplate:
        """The template of the checkpoint in `folder`, from whichever file has it.

        Raises CheckpointError where none has.
        """
        jinja, older = folder / CHAT_TEMPLATE_FILE, folder / OLDER_CHAT_TEMPLATE_FILE
        processor = folder / PROCESSOR_FILE
        # In the order of transformers; what only the tokenizer knows comes last.
        found = _default(read_json(processor)) if processor.is_file() else None
        if found is None and older.is_file():
            found = _default(read_json(older))
        elif found is None and jinja.is_file():
            found = _read_text(jinja)
        if found is None:
            found = _default(read_json(folder / TOKENIZER_CONFIG_FILE))
        if found is None:
            raise CheckpointError(f"The checkpoint {folder} has no chat template. {_REMEDY}")
        return cls(found, special_tokens)

    def render(self, messages: list[dict[str, object]]) -> str:
        """`messages` as text, up to where the answer begins; raises CheckpointError."""
        try:
            return self._template.render(
                **self._special_tokens,
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
            )
        # A template is a program of its own: it can fail in any way that Python code can.
        except Exception as error:
            raise CheckpointError(
                f"The chat template takes no image followed by a text: {error}. {_REMEDY}"
            ) from error


def _default(config: dict[str, Any]) -> str | None:
    """The template in a configuration file, where several are listed the one named "default"."""
    template = config.get("chat_template")
    if isinstance(template, list):
        template = {each.get("name"): each.get("template") for each in template}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise CheckpointError(f"{file} is damaged: not UTF-8 text. {_REMEDY}") from None


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for templates of strangers."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["namespace"] = _PlainNamespace
    return environment


class _GenerationBlocks(Extension):
    """`{% generation %}` marks what training learns from; here its content is all that counts."""

    tags = {"generation"}  # noqa: RUF012 (Jinja asks for a set on the class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _PlainNamespace(Namespace):
    """A namespace that never holds names with which templates could reach for Python's inside."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace takes no name with an underscore first: {name!r}")
        super().__setitem__(name, value)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own filter would escape characters for HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
