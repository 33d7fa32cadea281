"""The HTTP client and the access token of requests to the hub."""

from __future__ import annotations

import os
from functools import cache
from typing import Final, Literal

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import get_token_to_send  # type: ignore[attr-defined]

from vlm.network.proxies import EnvironmentTransport

# The variables in which huggingface_hub looks for a token before it reads the stored one.
_TOKEN_VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@cache
def use_own_client() -> None:
    """Make huggingface_hub use our client in this process; its own one fails on some proxies."""
    set_client_factory(_new_client)


def _new_client() -> httpx2.Client:
    return httpx2.Client(
        transport=EnvironmentTransport(),
        event_hooks={"request": [_refuse_offline]},
        follow_redirects=True,
        timeout=None,
    )


def _refuse_offline(_: httpx2.Request) -> None:
    if constants.is_offline_mode():
        raise OfflineModeIsEnabled


class HubToken:
    """The access token of this machine, until the hub refuses it: public models need none."""

    def __init__(self) -> None:
        self.problem = ""
        """Why no token is sent although there is one, and what helps; in sentences."""

    def to_send(self) -> str | Literal[False]:
        """Return the token, False if there is none or it was dropped."""
        if self.problem:
            return False
        try:
            token = get_token_to_send(None)
        except (OSError, ValueError):
            token = ""
        if token is None:
            return False
        if token and token.isascii() and token.isprintable() and " " not in token:
            return token
        self._drop("cannot be one")
        return False

    def drop(self) -> bool:
        """Send no token from now on, because the hub refused it; return False if none was sent."""
        if self.problem:
            return False
        self._drop("is out of date: the hub refuses it (401)")
        return True

    def _drop(self, reason: str) -> None:
        variable = next((name for name in _TOKEN_VARIABLES if os.environ.get(name)), None)
        if variable:
            token, cure = f"The access token in {variable}", f"Replace or unset {variable}"
        else:
            token = "The stored access token"
            cure = "`hf auth login` replaces it, `hf auth logout` removes it"
        self.problem = f"{token} {reason}, so none is sent. {cure}."
