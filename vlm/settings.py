"""All settings in one frozen place; flags and SIGHTLINE_ variables are read here alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vlm.errors import SettingsError
from vlm.setting_values import (
    AUTO_MODEL,
    anything,
    base_urls,
    device,
    host,
    model,
    one_of,
    origins,
    whole_number,
    yes_or_no,
)

BUNDLED_MODEL = "nano"
RUNTIMES = ("auto", "torch", "torch-static", "openvino")
ENGINES = ("local", "openai")
LOG_REQUESTS = ("auto", "on", "off")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
MAX_TOKENS_LIMIT = 512

# Each that waits holds one of the server's threads.
_MAX_QUEUE_LIMIT = 1024
_MAX_KEY_CHARS = 4096


@dataclass(frozen=True)
class Settings:
    """What one process runs with.

    `model` is `auto`, a known model's short name, a local checkpoint folder or a hub id; `offline`
    forbids to fetch any. `device` is `auto`, `cpu`, `cuda`,
    `cuda:N`, `mps` or `xpu`; `runtime` is one of RUNTIMES and `dtype` one of DTYPES, of which a
    runtime knows some; `int8_vision` lets OpenVINO encode frames in 8-bit integers as well.
    `max_tokens` is what a request gets that names no number itself; `max_queue` is how many may
    wait for the model. With `engine` "openai" the model runs behind the `base_url`s, where
    `api_key_file` holds the key and `remote_model` names the model, None for the one that is there.
    `client_key_file` holds the key that programs must show here, and `allow_origin` are other
    sites whose pages may be such programs. `log_requests` is one of LOG_REQUESTS; `log_text` logs
    what was asked and answered as well.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str = AUTO_MODEL
    device: str = "auto"
    runtime: str = "auto"
    dtype: str = "auto"
    int8_vision: bool = False
    max_tokens: int = 64
    open_browser: bool = False
    max_queue: int = 64
    offline: bool = False
    engine: str = "local"
    base_url: tuple[str, ...] = ()
    api_key_file: str | None = None
    remote_model: str | None = None
    client_key_file: str | None = None
    allow_origin: tuple[str, ...] = ()
    log_requests: str = "auto"
    log_text: bool = False

    @classmethod
    def from_args(cls, argv: Sequence[str], env: Mapping[str, str]) -> Settings:
        """Settings from flags `argv` (without the program name), then `env`, then the defaults.

        Raises SettingsError, which names the flag or variable and what it may be; `--help` and
        unknown flags end in SystemExit, as argparse has it.
        """
        flags = vars(_parser().parse_args(argv))
        values: dict[str, object] = {}
        for option in _OPTIONS:
            given = flags[option.field]
            if given is not None:
                text = ",".join(given) if isinstance(given, list) else given
                values[option.field] = option.read(option.flag, text)
            elif env.get(option.variable):
                values[option.field] = option.read(option.variable, env[option.variable])
        settings = cls(**values)  # type: ignore[arg-type]
        if (settings.engine == "openai") != bool(settings.base_url):
            raise SettingsError(
                "--engine openai and --base-url go together: the one says that another server runs "
                "the model, the other where it is."
            )
        return settings


def read_key(file: str) -> str:
    """The key that `file` holds in its one line; raises SettingsError."""
    try:
        with open(file, encoding="ascii") as opened:
            key = opened.read(_MAX_KEY_CHARS + 1).strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"The key file {file!r} cannot be read.") from None
    if not key or len(key) > _MAX_KEY_CHARS or not key.isprintable() or " " in key:
        raise SettingsError(f"The key file {file!r} must hold one key in one line, and no more.")
    return key


@dataclass(frozen=True)
class _Option:
    """One flag with its variable; `read(source, text)` gives the value or raises SettingsError."""

    flag: str
    field: str
    read: Callable[[str, str], object]
    help: str

    @property
    def variable(self) -> str:
        return "SIGHTLINE_" + self.flag.removeprefix("--").upper().replace("-", "_")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Live captions for what your camera sees, made on this machine.",
        epilog="Each option can also be set as an environment variable, --max-tokens as "
        "SIGHTLINE_MAX_TOKENS for example; a flag wins over its variable.",
        allow_abbrev=False,
    )
    for option in _OPTIONS:
        default = getattr(Settings, option.field)
        told = f" (default: {default})" if default else ""
        if default is False:
            parser.add_argument(
                option.flag,
                dest=option.field,
                action="store_const",
                const="1",
                help=f"{option.help} (default: no)",
            )
        elif default == ():
            parser.add_argument(
                option.flag,
                dest=option.field,
                action="append",
                metavar=option.field.upper(),
                help=option.help,
            )
        else:
            parser.add_argument(
                option.flag,
                dest=option.field,
                metavar=option.field.upper(),
                help=option.help + told,
            )
    return parser


_OPTIONS = (
    _Option("--host", "host", host, "address to listen on; 0.0.0.0 lets other machines in"),
    _Option("--port", "port", whole_number(0, 65535), "port to listen on; 0 takes a free one"),
    _Option(
        "--model",
        "model",
        model,
        "auto (the best for this machine), a short name (python -m vlm.checkpoints list shows "
        "them), a local checkpoint folder, or a hub id",
    ),
    _Option("--offline", "offline", yes_or_no, "never fetch a model"),
    _Option("--device", "device", device, "auto, cpu, cuda, cuda:N, mps or xpu"),
    _Option("--runtime", "runtime", one_of("runtime", RUNTIMES), ", ".join(RUNTIMES)),
    _Option("--dtype", "dtype", one_of("dtype", DTYPES), ", ".join(DTYPES)),
    _Option("--int8-vision", "int8_vision", yes_or_no, "encode frames in int8, with OpenVINO"),
    _Option(
        "--max-tokens",
        "max_tokens",
        whole_number(1, MAX_TOKENS_LIMIT),
        f"longest caption in tokens where a request names no number, 1 to {MAX_TOKENS_LIMIT}",
    ),
    _Option(
        "--max-queue",
        "max_queue",
        whole_number(1, _MAX_QUEUE_LIMIT),
        f"how many requests may wait for the model, 1 to {_MAX_QUEUE_LIMIT}",
    ),
    _Option(
        "--engine",
        "engine",
        one_of("engine", ENGINES),
        "local: the model runs here; openai: frames are sent to the servers of --base-url",
    ),
    _Option(
        "--base-url",
        "base_url",
        base_urls,
        "with --engine openai, where an OpenAI-compatible server is, such as "
        "http://10.0.0.5:8000/v1; several with commas between, or the flag again",
    ),
    _Option("--api-key-file", "api_key_file", anything, "file with the key that those ask for"),
    _Option(
        "--remote-model",
        "remote_model",
        anything,
        "which of their models; without it the one they serve",
    ),
    _Option(
        "--client-key-file",
        "client_key_file",
        anything,
        "file with a key that programs must show to use /v1 here",
    ),
    _Option(
        "--allow-origin",
        "allow_origin",
        origins,
        "other sites whose pages may use /v1 here, such as https://example.org; several with "
        "commas between, or the flag again",
    ),
    _Option(
        "--log-requests",
        "log_requests",
        one_of("choice", LOG_REQUESTS),
        "one line of JSON on stderr for each request: on, off, or auto (where stderr is no "
        "terminal)",
    ),
    _Option("--log-text", "log_text", yes_or_no, "what was asked and answered in those lines"),
    _Option("--open", "open_browser", yes_or_no, "open the page in your browser"),
)
