"""All settings of one process: a frozen dataclass, read from flags and SIGHTLINE_ variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click
from click.core import ParameterSource

from vlm.checkpoints.catalogue import KNOWN_MODELS, known_model
from vlm.checkpoints.hub_cache import HUB_ID
from vlm.errors import SettingsError

AUTO_MODEL: Final = "auto"
RUNTIMES = ("auto", "torch", "torch-static", "openvino")
ENGINES = ("local", "openai")
LOG_REQUESTS = ("auto", "on", "off")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
MAX_TOKENS_LIMIT = 512

# Each waiting request holds one thread of the server.
_MAX_QUEUE_LIMIT = 1024
_MAX_KEY_CHARS = 4096
_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d{1,2})?|mps|xpu")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")


class _WholeNumber(click.IntRange):
    """An IntRange that reads ASCII decimal digits only, and whose error names the range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        # isdecimal alone accepts digits of other scripts, and int() reads "1_0" as 10.
        text = str(value)
        if text.isascii() and text.isdecimal() and len(text) < 10:
            with suppress(click.BadParameter):
                return super().convert(value, param, ctx)
        self.fail(f"{text!r} is not a whole number from {self.min} to {self.max}.")


class _YesOrNo(click.types.BoolParamType):
    def convert(self, value: Any, param: Any, ctx: Any) -> bool:
        switch = self.str_to_bool(value)
        if switch is None:
            self.fail(f"{value!r} is neither yes nor no. Choose 1 or 0.")
        return switch


def _host(text: str) -> str:
    host = text.strip("[]")
    if not _HOST.fullmatch(host):
        raise click.BadParameter(
            f"{text!r} is not a host name or address. Examples: 127.0.0.1 (this machine only), "
            "0.0.0.0 (every network this machine is on)."
        )
    return host


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a device. Choose auto, cpu, cuda, cuda:N, mps or xpu."
        )
    return text


def _model(text: str) -> str:
    known = known_model(text)
    if known is not None:
        return known.name
    if text == AUTO_MODEL or HUB_ID.fullmatch(text):
        return text
    # Unlike Path.expanduser, this keeps the "~" of an unknown user instead of raising.
    folder = Path(os.path.expanduser(text))
    if text and folder.is_dir():
        return str(folder)
    raise click.BadParameter(
        f"{text!r} is neither {AUTO_MODEL!r}, nor one of "
        f"{', '.join(model.name for model in KNOWN_MODELS)}, nor a folder that exists, nor a hub "
        "id such as HuggingFaceTB/SmolVLM-256M-Instruct."
    )


def _url_parts(text: str) -> SplitResult:
    """Return the parts of an http or https URL that holds no name or password."""
    if "@" in text:
        # The value is not repeated, because it may hold a password.
        raise click.BadParameter(
            "A URL must hold no name or password. Put a key into --api-key-file."
        )
    try:
        parts = urlsplit(text)
        is_complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or not text.isascii() or not text.isprintable() or " " in text:
        raise click.BadParameter(f"{text!r} is not a URL such as http://10.0.0.5:8000.")
    return parts


def _base_urls(text: str) -> tuple[str, ...]:
    urls = [url.strip().rstrip("/") for url in text.split(",") if url.strip()]
    for url in urls:
        parts = _url_parts(url)
        if parts.query or parts.fragment:
            raise click.BadParameter(f"{url!r} must end with its path, such as /v1.")
    return tuple(urls)


def _origins(text: str) -> tuple[str, ...]:
    origins = [origin.strip().rstrip("/").lower() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        parts = _url_parts(origin)
        if f"{parts.scheme}://{parts.netloc}" != origin:
            raise click.BadParameter(
                f"{origin!r} is not an origin. An origin is a scheme and a host, and a port if it "
                "is not the usual one: https://example.org."
            )
    return tuple(origins)


class _Option(click.Option):
    """An option that reads its variable from the context's mapping instead of os.environ."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        text = ctx.obj.get(self.envvar) or None
        return (text,) if text and self.multiple else text


def _setting(default: Any, help: str, type: Any = None, flag: str | None = None) -> Any:
    """Return a dataclass field that is one option too; `help` documents both.

    The flag is named after the field unless `flag` is given. A tuple as default means that the flag
    can be repeated.
    """
    return field(default=default, metadata={"help": help, "type": type, "flag": flag})


@dataclass(frozen=True)
class Settings:
    """The settings of one process. The text of each field is what `--help` prints for its flag."""

    host: str = _setting("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in", _host)
    port: int = _setting(8000, "port to listen on; 0 takes a free one", _WholeNumber(0, 65535))
    model: str = _setting(
        AUTO_MODEL,
        "auto (the best for this machine), a short name (python -m vlm.models list shows them), a "
        "local checkpoint folder, or a hub id",
        _model,
    )
    offline: bool = _setting(False, "never download a model")
    device: str = _setting("auto", "auto, cpu, cuda, cuda:N, mps or xpu", _device)
    runtime: str = _setting("auto", "what runs the model", click.Choice(RUNTIMES))
    dtype: str = _setting(
        "auto", "number format of the weights; each runtime has some of them", click.Choice(DTYPES)
    )
    int8_vision: bool = _setting(False, "encode frames in int8 too, with OpenVINO")
    max_tokens: int = _setting(
        64,
        "longest caption in tokens if a request gives no number",
        _WholeNumber(1, MAX_TOKENS_LIMIT),
    )
    max_queue: int = _setting(
        64, "how many requests may wait for the model", _WholeNumber(1, _MAX_QUEUE_LIMIT)
    )
    engine: str = _setting(
        "local",
        "local: the model runs here; openai: frames are sent to the servers of --base-url",
        click.Choice(ENGINES),
    )
    base_url: tuple[str, ...] = _setting(
        (),
        "with --engine openai, the URL of an OpenAI-compatible server, such as "
        "http://10.0.0.5:8000/v1; several with commas between, or the flag again",
        _base_urls,
    )
    api_key_file: str | None = _setting(None, "file with the key that those servers require")
    remote_model: str | None = _setting(
        None, "which of their models; without it the one that they serve"
    )
    client_key_file: str | None = _setting(
        None, "file with the key that programs must send to use /v1 here"
    )
    allow_origin: tuple[str, ...] = _setting(
        (),
        "other sites whose pages may use /v1 here, such as https://example.org; several with "
        "commas between, or the flag again",
        _origins,
    )
    log_requests: str = _setting(
        "auto",
        "one line of JSON on stderr for each request; auto: if stderr is no terminal",
        click.Choice(LOG_REQUESTS),
    )
    log_text: bool = _setting(False, "questions and answers in those lines too")
    open_browser: bool = _setting(False, "open the page in your browser", flag="--open")

    @classmethod
    def from_args(cls, argv: Sequence[str], env: Mapping[str, str]) -> Settings:
        """Return the settings of flags `argv` (without the program), then `env`, then the defaults.

        Raise SettingsError that names the flag or variable and what it may be; `--help` ends in
        SystemExit. An empty variable counts as unset.
        """
        try:
            command = click.Command(
                "app.py",
                params=[_option(setting) for setting in fields(cls)],
                context_settings={"help_option_names": ["-h", "--help"]},
                help="Live captions for what your camera sees, made on this machine. A flag wins "
                "over its variable.",
            )
            context = command.make_context("app.py", list(argv), obj=env)
        except click.exceptions.Exit as ended:
            raise SystemExit(ended.exit_code) from None
        except click.UsageError as error:
            raise SettingsError(_message(error)) from None
        settings = cls(**context.params)
        if (settings.engine == "openai") != bool(settings.base_url):
            raise SettingsError(
                "--engine openai and --base-url need each other: the first makes another server "
                "run the model, the second is its URL."
            )
        return settings


def read_key(file: str) -> str:
    """Return the key in `file`, which holds it as its only line; raise SettingsError."""
    try:
        with open(file, encoding="ascii") as opened:
            key = opened.read(_MAX_KEY_CHARS + 1).strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"The key file {file!r} cannot be read.") from None
    if not key or len(key) > _MAX_KEY_CHARS or not key.isprintable() or " " in key:
        raise SettingsError(f"The key file {file!r} must hold one key in one line, and no more.")
    return key


def _option(setting: Field[Any]) -> click.Parameter:
    flag = setting.metadata["flag"] or "--" + setting.name.replace("_", "-")
    kind = setting.metadata["type"]
    is_switch, is_list = setting.default is False, setting.default == ()
    return _Option(
        [flag, setting.name],
        type=_YesOrNo() if is_switch else kind,
        metavar=None if isinstance(kind, click.Choice) else setting.name.upper(),
        default=setting.default,
        is_flag=is_switch,
        multiple=is_list,
        callback=_without_duplicates if is_list else None,
        envvar="SIGHTLINE_" + flag.removeprefix("--").upper().replace("-", "_"),
        help=setting.metadata["help"],
        show_default=True,
        show_envvar=True,
    )


def _without_duplicates(ctx: Any, param: Any, values: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(values)))


def _message(error: click.UsageError) -> str:
    """Return the text of `error`, which begins with the flag or variable if its value is bad."""
    if isinstance(error, click.BadParameter) and error.ctx and error.param and error.param.name:
        source = error.ctx.get_parameter_source(error.param.name)
        is_variable = source is ParameterSource.ENVIRONMENT
        return f"{error.param.envvar if is_variable else error.param.opts[0]}: {error.message}"
    return f"{error.format_message()} See --help."
