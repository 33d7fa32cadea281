"""What the text of a flag or variable may be: each reader gives its value or raises SettingsError.

All take `source`, the flag's or variable's name, and the text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from vlm.checkpoints import KNOWN_MODELS, known_model
from vlm.errors import SettingsError
from vlm.hub_cache import HUB_ID

AUTO_MODEL: Final = "auto"

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d{1,2})?|mps|xpu")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def host(source: str, text: str) -> str:
    """A host name or address, of IPv6 without its brackets."""
    host = text.strip("[]")
    if not _HOST.fullmatch(host):
        raise SettingsError(
            f"{source}: {text!r} is not a host name or address. Examples: 127.0.0.1 (this machine "
            "only), 0.0.0.0 (every network this machine is on)."
        )
    return host


def whole_number(low: int, high: int) -> Callable[[str, str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(source: str, text: str) -> int:
        # isdecimal alone lets other scripts' digits through, and int() reads "1_0" as 10.
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
        if number is None or not low <= number <= high:
            raise SettingsError(f"{source}: {text!r} is not a whole number from {low} to {high}.")
        return number

    return read


def model(source: str, text: str) -> str:
    """`auto`, a known model's short name, a folder that exists or a hub id."""
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


def device(source: str, text: str) -> str:
    """The name of a device."""
    if not _DEVICE.fullmatch(text):
        raise SettingsError(
            f"{source}: {text!r} is not a device. Choose auto, cpu, cuda, cuda:N, mps or xpu."
        )
    return text


def one_of(kind: str, choices: Sequence[str]) -> Callable[[str, str], str]:
    """A reader of one of `choices`, of which each is a `kind`."""

    def read(source: str, text: str) -> str:
        if text not in choices:
            raise SettingsError(
                f"{source}: {text!r} is not a {kind}. Choose {', '.join(choices[:-1])} or "
                f"{choices[-1]}."
            )
        return text

    return read


def yes_or_no(source: str, text: str) -> bool:
    """Yes or no, in a few words for either."""
    if text.lower() not in _YES + _NO:
        raise SettingsError(f"{source}: {text!r} is neither yes nor no. Choose 1 or 0.")
    return text.lower() in _YES


def anything(source: str, text: str) -> str:
    """The text as it is."""
    return text


def _url_parts(source: str, text: str) -> SplitResult:
    """`text` taken apart, where it is an http or https URL that holds no name or password."""
    if "@" in text:
        # Not repeated: it may hold a password.
        raise SettingsError(
            f"{source}: an address must hold no name or password. Put a key into --api-key-file."
        )
    try:
        parts = urlsplit(text)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(f"{source}: {text!r} is no address such as http://10.0.0.5:8000.")
    return parts


def base_urls(source: str, text: str) -> tuple[str, ...]:
    """Addresses with commas between, each without a slash at its end."""
    urls = [each.strip().rstrip("/") for each in text.split(",") if each.strip()]
    for url in urls:
        parts = _url_parts(source, url)
        if parts.query or parts.fragment:
            raise SettingsError(f"{source}: {url!r} must end with its path, such as /v1.")
    return tuple(dict.fromkeys(urls))


def origins(source: str, text: str) -> tuple[str, ...]:
    """Origins of sites with commas between."""
    origins = [each.strip().rstrip("/").lower() for each in text.split(",") if each.strip()]
    for origin in origins:
        parts = _url_parts(source, origin)
        if f"{parts.scheme}://{parts.netloc}" != origin:
            raise SettingsError(
                f"{source}: {origin!r} is no origin. An origin is a scheme and a host, and a port "
                "where it is not the usual one: https://example.org."
            )
    return tuple(dict.fromkeys(origins))
