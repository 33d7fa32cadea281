"""All settings of one process: a frozen dataclass, read from flags and SIGHTLINE_ variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from itertools import chain
from typing import Any

import click
from click.core import ParameterSource

from vlm import option_types
from vlm.checkpoints.detectors import BUNDLED_DETECTOR, DETECTOR_NAMES, NO_DETECTOR
from vlm.checkpoints.pairs import BUNDLED_PAIR, NO_PAIR, PAIR_NAMES
from vlm.errors import SettingsError
from vlm.option_types import AUTO_MODEL

RUNTIMES = ("auto", "torch", "torch-static", "openvino")
ENGINES = ("local", "openai")
LOG_REQUESTS = ("auto", "on", "off")
WITNESSES = ("auto", "on", "off")
TIMELINES = ("words", "pictures")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8", "int4")
MAX_TOKENS_LIMIT = 512

# Each waiting request holds one thread of the server.
_MAX_QUEUE_LIMIT = 1024
_MAX_KEY_CHARS = 4096


class _Option(click.Option):
    """An option that reads its variable from the context's mapping instead of os.environ."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        text = ctx.obj.get(self.envvar) or None
        return (text,) if text and self.multiple else text


def _setting(
    default: Any, help: str, type: Any = None, flag: str | None = None, bare: str | None = None
) -> Any:
    """Return a dataclass field that is one option too; `help` documents both.

    The flag is named after the field unless `flag` is given; without a value it means `bare`. A
    tuple as default means that the flag can be repeated.
    """
    metadata = {"help": help, "type": type, "flag": flag, "bare": bare}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The settings of one process. The text of each field is what `--help` prints for its flag."""

    host: str = _setting(
        "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in", option_types.host
    )
    port: int = _setting(
        8000, "port to listen on; 0 takes a free one", option_types.WholeNumber(0, 65535)
    )
    model: str = _setting(
        AUTO_MODEL,
        "auto (the best for this machine), a short name (python -m vlm.models list shows them), a "
        "local checkpoint folder, or a hub id",
        option_types.model,
    )
    offline: bool = _setting(False, "never download a model")
    device: str = _setting("auto", "auto, cpu, cuda, cuda:N, mps or xpu", option_types.device)
    runtime: str = _setting("auto", "what runs the model", click.Choice(RUNTIMES))
    dtype: str = _setting(
        "auto", "number format of the weights; each runtime has some of them", click.Choice(DTYPES)
    )
    int8_vision: bool = _setting(False, "encode frames in int8 too, with OpenVINO")
    exact: bool = _setting(
        False, "encode each live frame whole, not only what has changed since the last one"
    )
    detector: str = _setting(
        BUNDLED_DETECTOR,
        "what finds things in a frame; none: nothing does",
        click.Choice((*DETECTOR_NAMES, NO_DETECTOR)),
    )
    pair: str = _setting(
        BUNDLED_PAIR,
        "dual encoder that compares frames with texts; none: searches compare words alone",
        click.Choice((*PAIR_NAMES, NO_PAIR)),
    )
    witnesses: str = _setting(
        "auto",
        "compare the nouns of each caption with what detector and classifier see; auto: where that "
        "costs little",
        click.Choice(WITNESSES),
    )
    max_tokens: int = _setting(
        64,
        "longest caption in tokens if a request gives no number",
        option_types.WholeNumber(1, MAX_TOKENS_LIMIT),
    )
    latency: float | None = _setting(
        None,
        "seconds from a change in front of the camera to the end of its caption; sooner costs "
        "tokens, later saves work. Without it as fast as steady",
        option_types.latency,
    )
    max_queue: int = _setting(
        64,
        "how many requests may wait for the model",
        option_types.WholeNumber(1, _MAX_QUEUE_LIMIT),
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
        option_types.base_urls,
    )
    api_key_file: str | None = _setting(None, "file with the key that those servers require")
    remote_model: str | None = _setting(
        None, "which of their models; without it the one that they serve"
    )
    client_key_file: str | None = _setting(
        None, "file with the key that programs must send to use /v1 or Ollama's API here"
    )
    allow_origin: tuple[str, ...] = _setting(
        (),
        "other sites whose pages may use these APIs, such as https://example.org or app://NAME; "
        "null: all pages without an origin; several with commas between, or the flag again",
        option_types.page_origins,
    )
    allow_host: tuple[str, ...] = _setting(
        (),
        "another name of this server; .example.org allows all names under it; several with commas "
        "between, or the flag again",
        option_types.host_names,
    )
    behind_proxy: tuple[str, ...] = _setting(
        (),
        "address or network of the reverse proxies whose X-Forwarded headers are believed; without "
        "a value, or as loopback: those on this machine",
        option_types.networks,
        bare="loopback",
    )
    allow_frame: tuple[str, ...] = _setting(
        (),
        "sites that may show the page in a frame, such as http://homeassistant.local:8123, or self",
        option_types.frame_origins,
    )
    trust_network: bool = _setting(
        False,
        "with a --host that others can reach: they may change the model and read /metrics too",
    )
    log_requests: str = _setting(
        "auto",
        "one line of JSON on stderr for each request; auto: if stderr is no terminal",
        click.Choice(LOG_REQUESTS),
    )
    log_text: bool = _setting(False, "questions and answers in those lines too")
    timeline: str | None = _setting(
        None,
        "keep what is captioned and asked in a file on this machine: words, or words and small "
        "pictures. Without it the page asks",
        click.Choice(TIMELINES),
    )
    timeline_days: int | None = _setting(
        None, "with it, for so many days: 1, 7, 30, or 0 for always", option_types.timeline_days
    )
    timeline_mb: int | None = _setting(
        None,
        "with it, at most so many megabytes; the oldest moments are deleted first",
        option_types.timeline_mb,
    )
    timeline_file: str | None = _setting(
        None, "the file that it is kept in; without it one in your folder for data of programs"
    )
    no_timeline: bool = _setting(False, "keep no timeline; the page cannot switch it on")
    open_browser: bool = _setting(False, "open the page in your browser", flag="--open")

    @classmethod
    def from_args(
        cls, argv: Sequence[str], env: Mapping[str, str], program: str = "app.py"
    ) -> Settings:
        """Return the settings of flags `argv` (without the program), then `env`, then the defaults.

        Raise SettingsError that names the flag or variable and what it may be; `--help` ends in
        SystemExit. An empty variable counts as unset.
        """
        try:
            command = click.Command(
                program,
                params=[_option(setting) for setting in fields(cls)],
                context_settings={"help_option_names": ["-h", "--help"]},
                help="Live captions for what your camera sees, made on this machine. A flag wins "
                "over its variable.",
            )
            context = command.make_context(program, list(argv), obj=env)
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
        if settings.timeline is not None and settings.no_timeline:
            raise SettingsError("--timeline and --no-timeline exclude each other.")
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
    kind, bare = setting.metadata["type"], setting.metadata["bare"]
    is_switch, is_list = setting.default is False, setting.default == ()
    return _Option(
        [flag, setting.name],
        type=option_types.YesOrNo() if is_switch else kind,
        metavar=None if isinstance(kind, click.Choice) else setting.name.upper(),
        default=setting.default,
        is_flag=is_switch,
        **({} if bare is None else {"flag_value": bare}),
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
