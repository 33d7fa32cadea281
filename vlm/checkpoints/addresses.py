"""The hub id in the address of a page, as people copy it from a browser. Standard library only."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from vlm.checkpoints.hub_cache import HUB_ID
from vlm.errors import CheckpointError

_HOSTS: Final = ("huggingface.co", "hf.co", "hf-mirror.com")
_BRANCH: Final = "main"
# Pages of a hub that are no model's.
_OTHER_PAGES: Final = {
    "datasets": "a data set",
    "spaces": "a space",
    "collections": "a collection",
    "papers": "a paper",
    "docs": "documentation",
    "blog": "an article",
    "organizations": "an organisation",
}
# What may follow a model's name in an address, and the name of a revision after it.
_PARTS_WITH_REVISION: Final = ("tree", "blob", "raw", "resolve", "commits", "commit", "revision")


def hub_id_of(text: str) -> str | None:
    """Return the hub id in `text` if that is the address of a model's page; None if no address.

    Raise CheckpointError for an address of anything else.
    """
    address = text.strip()
    if found := re.fullmatch(r"git@([\w.-]+):(.+)", address):
        address = f"https://{found[1]}/{found[2]}"
    if address.lower().startswith("hf://"):
        address = f"https://{_HOSTS[0]}/{address[len('hf://') :]}"
    if "://" not in address and address.lower().removeprefix("www.").startswith(
        tuple(f"{host}/" for host in _hosts())
    ):
        address = f"https://{address}"
    if not re.match(r"https?://", address, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        raise CheckpointError(f"{text!r} is not an address of a model.") from None
    path = [each for each in parts.path.split("/") if each]
    if host not in _hosts():
        raise CheckpointError(
            f"{text!r} is an address outside of the hub. Name a model by its hub id, such as "
            "HuggingFaceTB/SmolVLM-256M-Instruct, or a folder that holds one."
        )
    if path[:2] == ["api", "models"]:
        path = path[2:]
    if path and path[0] == "models":
        path = path[1:]
    if path and path[0] in _OTHER_PAGES:
        raise CheckpointError(
            f"{text!r} is the page of {_OTHER_PAGES[path[0]]}, not of a model. Open the model's "
            "own page and copy its address."
        )
    hub_id = "/".join(path[:2]).removesuffix(".git")
    if not HUB_ID.fullmatch(hub_id):
        raise CheckpointError(
            f"{text!r} names no model. The address of one is https://{_HOSTS[0]}/OWNER/MODEL."
        )
    revision = path[3] if len(path) > 3 and path[2] in _PARTS_WITH_REVISION else _BRANCH
    if revision != _BRANCH:
        raise CheckpointError(
            f"{text!r} names the revision {revision}; Sightline runs {_BRANCH}. Leave it out: "
            f"--model {hub_id}."
        )
    return hub_id


def _hosts() -> tuple[str, ...]:
    """Return the hosts of the hub, of its mirror, and of the hub in HF_ENDPOINT."""
    own = None
    with suppress(ValueError):
        own = urlsplit(os.environ.get("HF_ENDPOINT", "")).hostname
    return (*_HOSTS, own) if own else _HOSTS
