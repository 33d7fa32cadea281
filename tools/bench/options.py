"""The benchmark's options, checked before anything is loaded."""

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

LLAMA_CPP: Final = "llama.cpp"
WAYS: Final = ("transformers", "transformers-default", LLAMA_CPP)
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
        "help": f"length of every caption, without stop tokens (default: "
        f"{DEFAULT_TOKENS}); with --video or --clients the maximum length (default: "
        f"{Settings.max_tokens})",
    },
    "--repeats": {
        "default": "5",
        "metavar": "N",
        "help": "rounds to time, after one warm-up round (default: %(default)s)",
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
        "help": "time these in the same rounds: transformers (one tile), transformers-default "
        "(the checkpoint's own tiling) and llama.cpp (docs/remote.md says what it needs)",
    },
    "--against-dtype": {
        "default": "auto",
        "metavar": "DTYPE",
        "help": f"{', '.join(REFERENCE_DTYPES)}; auto is bfloat16 if the processor supports it, "
        "else float32",
    },
    "--http": {"action": "store_true", "help": "also time what the server adds to the engine"},
    "--video": {
        "metavar": "FILE|DIR|nano",
        "help": "instead, caption a clip as the page does: a file of concatenated JPEGs, a folder "
        "of pictures, or drawn scenes; with --clients the frames of the cameras (default there: "
        "nano)",
    },
    "--clients": {
        "metavar": "N",
        "help": "instead, let a server caption N cameras over HTTP, each with one frame in flight "
        "like the page",
    },
    "--url": {
        "metavar": "http://HOST:PORT",
        "help": "with --clients, the server to measure (default: start one for the run)",
    },
    "--seconds": {
        "default": "30",
        "metavar": "S",
        "help": "with --clients, how long to measure, after a warm-up (default: %(default)s)",
    },
    "--against-alone": {
        "action": "store_true",
        "help": "with --clients, compare the first word with that of one camera alone in the same "
        "run",
    },
    "--paced": {
        "action": "store_true",
        "help": "with --clients, each camera waits for the interval that the server has chosen",
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
    """The options of one run; the help texts of the flags describe them."""

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
    paced: bool
    engine_flags: tuple[str, ...]

    def settings_flags(self, model: str) -> list[str]:
        """Return the flags of `app.py` that load `model` for this run."""
        return ["--model", model, *self.engine_flags]


def read_options(argv: Sequence[str]) -> Options:
    """Return the options in `argv` (without the program name).

    Raises SettingsError, which names the flag and its valid values; `--help` and unknown flags
    raise SystemExit, as argparse does.
    """
    given = _parser().parse_args(argv)
    engine_flags = [
        *("--runtime", given.runtime, "--dtype", given.dtype, "--device", given.device),
        *(["--int8-vision"] if given.int8_vision else []),
    ]
    # Settings checks these; the folder of `random:` is checked when the weights are made.
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
        paced=given.paced,
        engine_flags=tuple(engine_flags),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Time captions by the engine that the page uses. Prints a table and, last, one "
        "line of JSON, in which figures that were not measured are null.",
        epilog="A run keeps converted models in a temporary folder, so that its first start is a "
        "cold one.",
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
    raise SettingsError(f"--url: {text!r} does not have the form http://HOST:PORT.")


def _ways(text: str) -> tuple[str, ...]:
    ways = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    for way in ways:
        if way not in WAYS:
            raise SettingsError(f"--against: {way!r} is unknown. Choose {', '.join(WAYS)}.")
    return ways
