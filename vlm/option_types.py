"""Types of the values of flags: hosts, devices, models, URLs, origins, networks.

Each function returns the checked value of `text`, or raises click.BadParameter with what it may be.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click

from vlm.checkpoints.addresses import hub_id_of
from vlm.checkpoints.catalogue import KNOWN_MODELS, known_model
from vlm.checkpoints.hub_cache import HUB_ID
from vlm.checkpoints.other_formats import other_format
from vlm.errors import CheckpointError

AUTO_MODEL: Final = "auto"
# Suffixes of names that nobody on the internet can own: reserved ones, those of home routers, and
# Tailscale's, whose names lead to machines of one's own network.
PRIVATE_SUFFIXES: Final = (
    ".localhost",
    ".local",
    ".internal",
    ".lan",
    ".home.arpa",
    ".ts.net",
)
LOOPBACK_NETWORKS: Final = ("127.0.0.0/8", "::1/128")
LEAST_LATENCY_S: Final = 0.1
MOST_LATENCY_S: Final = 60.0

LEAST_TIMELINE_MB: Final = 10
MOST_TIMELINE_MB: Final = 99_999

_TIMELINE_DAYS: Final = ("1", "7", "30", "0")
_NUMBER_OF_MB: Final = re.compile(r"[0-9]{1,5}")
_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d{1,2})?|mps|xpu")
_DECIMAL: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_HOST_NAME: Final = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class WholeNumber(click.IntRange):
    """An IntRange that reads ASCII decimal digits only, and whose error names the range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        # isdecimal alone accepts digits of other scripts, and int() reads "1_0" as 10.
        text = str(value)
        if text.isascii() and text.isdecimal() and len(text) < 10:
            with suppress(click.BadParameter):
                return super().convert(value, param, ctx)
        self.fail(f"{text!r} is not a whole number from {self.min} to {self.max}.")


class YesOrNo(click.types.BoolParamType):
    def convert(self, value: Any, param: Any, ctx: Any) -> bool:
        switch = self.str_to_bool(value)
        if switch is None:
            self.fail(f"{value!r} is neither yes nor no. Choose 1 or 0.")
        return switch


def timeline_days(text: str) -> int:
    """Return a number of days, 0 for always."""
    if text in _TIMELINE_DAYS:
        return int(text)
    raise click.BadParameter(f"{text!r} must be one of: {', '.join(_TIMELINE_DAYS)}.")


def timeline_mb(text: str) -> int:
    """Return a number of megabytes."""
    if _NUMBER_OF_MB.fullmatch(text) and int(text) >= LEAST_TIMELINE_MB:
        return int(text)
    raise click.BadParameter(
        f"{text!r} is not a whole number from {LEAST_TIMELINE_MB} to {MOST_TIMELINE_MB}."
    )


def latency(text: str) -> float:
    """Return seconds."""
    # float() alone reads "1_0" as 10, and digits of other scripts.
    seconds = float(text) if _DECIMAL.fullmatch(text) else 0.0
    if LEAST_LATENCY_S <= seconds <= MOST_LATENCY_S:
        return seconds
    raise click.BadParameter(
        f"{text!r} is not a number of seconds from {LEAST_LATENCY_S:g} to {MOST_LATENCY_S:g}."
    )


def host(text: str) -> str:
    host = text.strip("[]")
    if not _HOST.fullmatch(host):
        raise click.BadParameter(
            f"{text!r} is not a host name or address. Examples: 127.0.0.1 (this machine only), "
            "0.0.0.0 (every network this machine is on)."
        )
    return host


def device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a device. Choose auto, cpu, cuda, cuda:N, mps or xpu."
        )
    return text


def model(text: str) -> str:
    try:
        text = hub_id_of(text) or text
    except CheckpointError as error:
        raise click.BadParameter(str(error)) from None
    known = known_model(text)
    if known is not None:
        return known.name
    if text == AUTO_MODEL or HUB_ID.fullmatch(text):
        return text
    # Unlike Path.expanduser, this keeps the "~" of an unknown user instead of raising.
    folder = Path(os.path.expanduser(text))
    if text and folder.is_dir():
        return str(folder)
    if text and folder.is_file():
        raise click.BadParameter(
            other_format(repr(text), [folder.name])
            or f"{text!r} is a file. Name the folder that holds config.json and the weights."
        )
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


def base_urls(text: str) -> tuple[str, ...]:
    urls = [url.strip().rstrip("/") for url in text.split(",") if url.strip()]
    for url in urls:
        parts = _url_parts(url)
        if parts.query or parts.fragment:
            raise click.BadParameter(f"{url!r} must end with its path, such as /v1.")
    return tuple(urls)


def page_origins(text: str) -> tuple[str, ...]:
    """Return the origins of pages as browsers send them, "null" for pages without one."""
    return tuple("null" if each == "null" else _origin(each) for each in _listed(text))


def frame_origins(text: str) -> tuple[str, ...]:
    """Return sources for the policy `frame-ancestors`; "self" is this server's own origin."""
    return tuple("'self'" if each == "self" else _origin(each) for each in _listed(text))


def _listed(text: str) -> list[str]:
    return [each.strip().rstrip("/").lower() for each in text.split(",") if each.strip()]


def _origin(text: str) -> str:
    """Return `text` if a browser can send it as an origin."""
    if "@" in text:
        # The value is not repeated, because it may hold a password.
        raise click.BadParameter("An origin holds no name or password.")
    scheme, separator, place = text.partition("://")
    example = (
        f"{text!r} is not an origin. An origin is a scheme and a host, and a port if it is not the "
        "usual one: https://example.org."
    )
    try:
        parts = urlsplit(text)
        host_name, port = parts.hostname, parts.port
    except ValueError:
        host_name, port = None, None
    is_plain = text.isascii() and text.isprintable() and not set(text) & set(" \"<>\\^`{|}%;'")
    is_origin = separator and is_plain and _SCHEME.fullmatch(scheme) and parts.netloc == place
    if "*" in text:
        raise click.BadParameter(
            f"{text!r} would never match: browsers send whole origins. Name each one."
        )
    if scheme == "file":
        raise click.BadParameter(
            f"{text!r} would never match: browsers send null for pages that are files."
        )
    if not is_origin or not host_name or port == 0:
        raise click.BadParameter(example)
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        raise click.BadParameter(
            f"{text!r} would never match: browsers leave out the usual port of {scheme}. Write "
            f"{scheme}://{host_name}."
        )
    return text


def host_names(text: str) -> tuple[str, ...]:
    """Return names and addresses of this server; one that begins with a dot is a suffix."""
    return tuple(_host_name(each) for each in _listed(text))


def _host_name(text: str) -> str:
    if _is_address(text.strip("[]")):
        return f"[{text.strip('[]')}]" if ":" in text else text
    if not _HOST_NAME.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a name of a host. Write it without scheme, port and path, such as "
            "cam.example.org, or .example.org for all names under it."
        )
    if text.startswith(".") and text.count(".") == 1 and text not in PRIVATE_SUFFIXES:
        raise click.BadParameter(
            f"{text!r} would allow names of many owners. Name a domain, such as .example{text}."
        )
    return text


def networks(text: str) -> tuple[str, ...]:
    """Return the networks that `text` lists, as `ipaddress` writes them."""
    found: list[str] = []
    for each in _listed(text):
        if each in ("loopback", "1", "yes", "true", "on"):
            found += LOOPBACK_NETWORKS
            continue
        try:
            found.append(str(ipaddress.ip_network(each, strict=False)))
        except ValueError:
            raise click.BadParameter(
                f"{each!r} is not an address. Write loopback, an address such as 172.17.0.1, or a "
                "network such as 172.30.32.0/23."
            ) from None
    return tuple(found)


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False
