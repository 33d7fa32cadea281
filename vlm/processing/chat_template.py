"""The chat template of a checkpoint, rendered as transformers renders it."""

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
    """A checkpoint's template: from messages to the text format that the model was trained on."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        """`source` is Jinja; `special_tokens` are variables in it (`bos_token`).

        Raise CheckpointError if `source` is no Jinja template.
        """
        self.source = source
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise CheckpointError(f"The chat template is damaged: {error}. {_REMEDY}") from error
        self._special_tokens = dict(special_tokens or {})

    @classmethod
    def load(cls, folder: Path, special_tokens: Mapping[str, str] | None = None) -> ChatTemplate:
        """Load the template of the checkpoint in `folder`; raise CheckpointError if it has none."""
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

    def render(self, messages: list[dict[str, object]], add_generation_prompt: bool = True) -> str:
        """Return `messages` as text, by default up to the start of the answer.

        Raise CheckpointError.
        """
        try:
            return self._template.render(
                **self._special_tokens,
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
            )
        # A template is a program: it can raise anything.
        except Exception as error:
            raise CheckpointError(
                f"The chat template takes no image followed by a text: {error}. {_REMEDY}"
            ) from error


def _default(config: dict[str, Any]) -> str | None:
    """Return the template in a configuration file; of several the one named "default"."""
    template = config.get("chat_template")
    if isinstance(template, list):
        template = {entry.get("name"): entry.get("template") for entry in template}
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
    """Return Jinja as transformers sets it up for untrusted templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["namespace"] = _PlainNamespace
    return environment


class _GenerationBlocks(Extension):
    """`{% generation %}` marks the part to train on; here only its content is rendered."""

    tags = {"generation"}  # noqa: RUF012 (Jinja requires a set on the class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _PlainNamespace(Namespace):
    """A namespace without private names, by which templates could reach Python's internals."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(
                f"a namespace takes no name that starts with an underscore: {name!r}"
            )
        super().__setitem__(name, value)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own filter would escape characters for HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
