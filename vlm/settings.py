"""All settings in one frozen place; flags and SIGHTLINE_ variables are read here alone."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm.checkpoints import KNOWN_MODELS, known_model
from vlm.errors import SettingsError
from vlm.hub_cache import HUB_ID

AUTO_MODEL = "auto"
BUNDLED_MODEL = "nano"
RUNTIMES = ("auto", "torch", "openvino")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
MAX_TOKENS_LIMIT = 512

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?|mps|xpu")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """What one process runs with.

    `model` is `auto`, a known model's short name, a local checkpoint folder or a hub id; `offline`
    forbids to fetch any. `device` is `auto`, `cpu`, `cuda`,
    `cuda:N`, `mps` or `xpu`; `runtime` is one of RUNTIMES and `dtype` one of DTYPES, of which a
    runtime knows some; `int8_vision` lets OpenVINO encode frames in 8-bit integers as well.
    `max_tokens` is what a request gets that names no number itself; `max_queue` is how many may
    wait for the model.
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
    max_queue: int = 8
    offline: bool = False

    @classmethod
    def from_args(cls, argv: Sequence[str], env: Mapping[str, str]) -> Settings:
        """Settings from flags `argv` (without the program name), then `env`, then the defaults.

        Raises SettingsError, which names the flag or variable and what it may be; `--help` and
        unknown flags end in SystemExit, as argparse has it.
        """
        flags = vars(_parser().parse_args(argv))
        values: dict[str, object] = {}
        for option in _OPTIONS:
            if flags[option.field] is not None:
                values[option.field] = option.read(option.flag, flags[option.field])
            elif env.get(option.variable):
                values[option.field] = option.read(option.variable, env[option.variable])
        return cls(**values)  # type: ignore[arg-type]


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
        if default is False:
            parser.add_argument(
                option.flag,
                dest=option.field,
                action="store_const",
                const="1",
                help=f"{option.help} (default: no)",
            )
        else:
            parser.add_argument(
                option.flag,
                dest=option.field,
                metavar=option.field.upper(),
                help=f"{option.help} (default: {default})",
            )
    return parser


def _host(source: str, text: str) -> str:
    host = text.strip("[]")
    if not _HOST.fullmatch(host):
        raise SettingsError(
            f"{source}: {text!r} is not a host name or address. Examples: 127.0.0.1 (this machine "
            "only), 0.0.0.0 (every network this machine is on)."
        )
    return host


def _whole_number(low: int, high: int) -> Callable[[str, str], int]:
    def read(source: str, text: str) -> int:
        # isdecimal alone lets other scripts' digits through, and int() reads "1_0" as 10.
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
        if number is None or not low <= number <= high:
            raise SettingsError(f"{source}: {text!r} is not a whole number from {low} to {high}.")
        return number

    return read


def _model(source: str, text: str) -> str:
    # Unlike Path.expanduser, this leaves the "~" of an unknown user as it is instead of raising.
    folder = Path(os.path.expanduser(text))
    known = known_model(text)
    if known is not None:
        return known.name
    if text == AUTO_MODEL or HUB_ID.fullmatch(text):
        return text
    if text and folder.is_dir():
        return str(folder)
    raise SettingsError(
        f"{source}: {text!r} is neither {AUTO_MODEL!r}, nor one of "
        f"{', '.join(known.name for known in KNOWN_MODELS)}, nor a folder that exists, nor a hub "
        "id such as HuggingFaceTB/SmolVLM-256M-Instruct."
    )


def _device(source: str, text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise SettingsError(
            f"{source}: {text!r} is not a device. Choose auto, cpu, cuda, cuda:N, mps or xpu."
        )
    return text


def _one_of(kind: str, choices: Sequence[str]) -> Callable[[str, str], str]:
    def read(source: str, text: str) -> str:
        if text not in choices:
            raise SettingsError(
                f"{source}: {text!r} is not a {kind}. Choose {', '.join(choices[:-1])} or "
                f"{choices[-1]}."
            )
        return text

    return read


def _yes_or_no(source: str, text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise SettingsError(f"{source}: {text!r} is neither yes nor no. Choose 1 or 0.")
    return text.lower() in _YES


_OPTIONS = (
    _Option("--host", "host", _host, "address to listen on; 0.0.0.0 lets other machines in"),
    _Option("--port", "port", _whole_number(0, 65535), "port to listen on; 0 takes a free one"),
    _Option(
        "--model",
        "model",
        _model,
        "auto (the best for this machine), a short name (python -m vlm.checkpoints list shows "
        "them), a local checkpoint folder, or a hub id",
    ),
    _Option("--offline", "offline", _yes_or_no, "never fetch a model"),
    _Option("--device", "device", _device, "auto, cpu, cuda, cuda:N, mps or xpu"),
    _Option("--runtime", "runtime", _one_of("runtime", RUNTIMES), ", ".join(RUNTIMES)),
    _Option("--dtype", "dtype", _one_of("dtype", DTYPES), ", ".join(DTYPES)),
    _Option("--int8-vision", "int8_vision", _yes_or_no, "encode frames in int8, with OpenVINO"),
    _Option(
        "--max-tokens",
        "max_tokens",
        _whole_number(1, MAX_TOKENS_LIMIT),
        f"longest caption in tokens where a request names no number, 1 to {MAX_TOKENS_LIMIT}",
    ),
    _Option("--open", "open_browser", _yes_or_no, "open the page in your browser"),
)
