"""The bench's command line, checked before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from vlm.errors import SettingsError
from vlm.prompts import DEFAULT_PROMPT, checked_prompt
from vlm.settings import DTYPES, MAX_TOKENS_LIMIT, RUNTIMES, Settings

WAYS: Final = ("transformers", "transformers-default")
REFERENCE_DTYPES: Final = ("auto", "float32", "bfloat16", "float16")
RANDOM: Final = "random:"
DEFAULT_TOKENS: Final = 24

_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "--model": {
        "default": "nano",
        "metavar": "DIR|nano|random:SRC",
        "help": "a checkpoint folder, the bundled model, or random weights in the shape of SRC's "
        "configuration (default: nano)",
    },
    "--image": {
        "type": Path,
        "metavar": "FILE",
        "help": "the frame to caption (default: a drawn scene)",
    },
    "--prompt": {"default": DEFAULT_PROMPT, "help": "the question (default: %(default)s)"},
    "--tokens": {
        "metavar": "N",
        "help": f"length of every caption, wherever the model would end it (default: "
        f"{DEFAULT_TOKENS}); with --video or --clients the longest caption (default: "
        f"{Settings.max_tokens})",
    },
    "--repeats": {
        "default": "5",
        "metavar": "N",
        "help": "rounds to time, after one that warms up (default: %(default)s)",
    },
    "--starts": {
        "default": "3",
        "metavar": "N",
        "help": "starts from the cache to time, after a cold one; 0 for neither "
        "(default: %(default)s)",
    },
    "--runtime": {"default": Settings.runtime, "help": ", ".join(RUNTIMES)},
    "--dtype": {"default": Settings.dtype, "help": ", ".join(DTYPES)},
    "--device": {"default": Settings.device, "help": "auto, cpu, cuda, cuda:N, mps or xpu"},
    "--int8-vision": {"action": "store_true", "help": "encode frames in int8, with OpenVINO"},
    "--against": {
        "default": "",
        "metavar": "WAY,...",
        "help": "time these in the same rounds: transformers (one tile) and transformers-default "
        "(the checkpoint's own tiling)",
    },
    "--against-dtype": {
        "default": "auto",
        "metavar": "DTYPE",
        "help": f"{', '.join(REFERENCE_DTYPES)}; auto is bfloat16 where the processor has it, else "
        "float32",
    },
    "--http": {"action": "store_true", "help": "time what the server adds to the engine, too"},
    "--video": {
        "metavar": "FILE|DIR|nano",
        "help": "instead of all that, watch a clip as the page would: a file of JPEGs one after "
        "another, a folder of pictures, or drawn scenes; with --clients what the cameras show "
        "(default there: nano)",
    },
    "--clients": {
        "metavar": "N",
        "help": "instead of all that, N cameras that a server captions over HTTP, each with one "
        "frame in flight, as the page has",
    },
    "--url": {
        "metavar": "http://HOST:PORT",
        "help": "with --clients, the server to ask (default: one that is started for the run)",
    },
    "--seconds": {
        "default": "30",
        "metavar": "S",
        "help": "with --clients, how long they ask, after some that warm up (default: %(default)s)",
    },
    "--against-alone": {
        "action": "store_true",
        "help": "with --clients, hold the first word against one camera's alone in the same run",
    },
    "--fps": {
        "default": "10",
        "metavar": "N",
        "help": "frames a second of the clip (default: %(default)s)",
    },
}

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Options:
    """What one run measures; see the texts of the flags."""

    model: str
    image: Path | None
    prompt: str
    tokens: int
    repeats: int
    starts: int
    against: tuple[str, ...]
    against_dtype: str
    http: bool
    video: str | None
    fps: float
    clients: int
    url: str | None
    seconds: float
    against_alone: bool
    engine_flags: tuple[str, ...]

    def settings_flags(self, model: str) -> list[str]:
        """The flags of `app.py` that load `model` as this run wants it."""
        return ["--model", model, *self.engine_flags]


def read_options(argv: Sequence[str]) -> Options:
    """The options in `argv` (without the program name).

    Raises SettingsError, which names the flag and what it may be; `--help` and unknown flags end in
    SystemExit, as argparse has it.
    """
    given = _parser().parse_args(argv)
    engine_flags = [
        *("--runtime", given.runtime, "--dtype", given.dtype, "--device", given.device),
        *(["--int8-vision"] if given.int8_vision else []),
    ]
    # Settings alone knows what these may be; what `random:` names is looked for when it is made.
    model = Settings.model if given.model.startswith(RANDOM) else given.model
    Settings.from_args(["--model", model, *engine_flags], {})
    if given.against_dtype not in REFERENCE_DTYPES:
        raise SettingsError(
            f"--against-dtype: {given.against_dtype!r} is not one of {', '.join(REFERENCE_DTYPES)}."
        )
    clients = _number("--clients", given.clients, int, 1, 10_000) if given.clients else 0
    is_live = given.video is not None or clients > 0
    most_tokens = Settings.max_tokens if is_live else DEFAULT_TOKENS
    return Options(
        model=given.model,
        image=given.image,
        prompt=checked_prompt(given.prompt),
        tokens=_number("--tokens", given.tokens or str(most_tokens), int, 2, MAX_TOKENS_LIMIT),
        repeats=_number("--repeats", given.repeats, int, 1, 1000),
        starts=_number("--starts", given.starts, int, 0, 100),
        against=_ways(given.against),
        against_dtype=given.against_dtype,
        http=given.http,
        video=given.video,
        fps=_number("--fps", given.fps, float, 0.1, 240.0),
        clients=clients,
        url=_url(given.url),
        seconds=_number("--seconds", given.seconds, float, 0.1, 86_400.0),
        against_alone=given.against_alone,
        engine_flags=tuple(engine_flags),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Times captions by the engine that the page uses. A table and, last, one line "
        "of JSON, in which figures that were not measured are null.",
        epilog="The converted models of a run lie in a temporary folder, so that its first start "
        "is a cold one and nothing is left behind.",
        allow_abbrev=False,
    )
    for flag, keywords in _FLAGS.items():
        parser.add_argument(flag, **keywords)
    return parser


def _number(
    flag: str, text: str, kind: Callable[[str], Number], low: Number, high: Number
) -> Number:
    try:
        number = kind(text)
        if low <= number <= high:
            return number
    except ValueError:
        pass
    whole = "whole " if kind is int else ""
    raise SettingsError(f"{flag}: {text!r} is not a {whole}number from {low} to {high}.")


def _url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return text
    except ValueError:
        pass
    raise SettingsError(f"--url: {text!r} is not of the form http://HOST:PORT.")


def _ways(text: str) -> tuple[str, ...]:
    ways = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    for way in ways:
        if way not in WAYS:
            raise SettingsError(f"--against: {way!r} is not a way. Choose {' or '.join(WAYS)}.")
    return ways
