"""Fetches in tests: from the test hub into a cache of their own, and that cache's law."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub_server import HubServer
from vlm.checkpoints.catalogue import complete_folder
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.checkpoints.hub import FetchProgress, fetch

HUB_ID = "someone/tiny-vlm"
TOKEN = "hf_" + "secret" * 6


@dataclass
class Fetcher:
    """Fetches from `hub` into `cache`, and keeps what it was told."""

    hub: HubServer
    cache: Path
    told: list[FetchProgress] = field(default_factory=list)

    def __call__(self, hub_id: str = HUB_ID, **changes: object) -> Path:
        asked: dict[str, Any] = {
            "on_progress": self.told.append,
            "endpoint": self.hub.url,
            "cache_folder": self.cache,
        }
        return fetch(hub_id, **(asked | changes))

    def complete(self) -> Path | None:
        return complete_folder(HUB_ID, self.cache)

    def incomplete(self) -> list[Path]:
        return sorted(self.cache.glob("models--*/blobs/*.incomplete"))

    def weights_from(self) -> list[int]:
        """From which byte on the weights were asked for, each time."""
        return [each.first_byte for each in self.hub.requests_for(WEIGHTS_FILE)]

    def weights_served(self) -> int:
        bodies = [each for each in self.hub.requests_for(WEIGHTS_FILE) if each.status in (200, 206)]
        return sum(each.served_bytes for each in bodies)


def assert_nothing_half(cache: Path) -> None:
    """Whatever has a final name is what that name says, and nothing else lies about."""
    for blob in cache.glob("models--*/blobs/*"):
        if blob.suffix == ".incomplete":
            continue
        content = blob.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content)
        assert blob.name in (hashlib.sha256(content).hexdigest(), git.hexdigest())
    for shown in cache.glob("models--*/snapshots/*/*"):
        assert shown.exists(), f"{shown.name} leads nowhere"
