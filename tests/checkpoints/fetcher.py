"""Downloads in tests: from the test hub into a cache of their own."""

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
    """Downloads from `hub` into `cache`, and records the progress."""

    hub: HubServer
    cache: Path
    progress: list[FetchProgress] = field(default_factory=list)

    def __call__(self, hub_id: str = HUB_ID, **changes: object) -> Path:
        arguments: dict[str, Any] = {
            "on_progress": self.progress.append,
            "endpoint": self.hub.url,
            "cache_folder": self.cache,
        }
        return fetch(hub_id, **(arguments | changes))

    def complete(self) -> Path | None:
        return complete_folder(HUB_ID, self.cache)

    def received_more_than(self, size_bytes: int) -> bool:
        return any(each.received_bytes > size_bytes for each in self.progress)

    def incomplete(self) -> list[Path]:
        return sorted(self.cache.glob("models--*/blobs/*.incomplete"))

    def requested_files(self, since: int = 0) -> list[str]:
        """Return the names of the files whose content was requested, in order."""
        requests = [each for each in self.hub.requests[since:] if each.status != 302]
        paths = [each.path for each in requests if "/resolve/" in each.path]
        return [path.partition("/resolve/")[2].partition("/")[2] for path in paths]

    def weights_first_bytes(self) -> list[int]:
        """Return the first byte of each request for the weights."""
        return [each.first_byte for each in self.hub.requests_for(WEIGHTS_FILE)]

    def weights_served(self) -> int:
        bodies = [each for each in self.hub.requests_for(WEIGHTS_FILE) if each.status in (200, 206)]
        return sum(each.served_bytes for each in bodies)


def assert_nothing_half(cache: Path) -> None:
    """Assert that all content under a final name has that hash, and that no link is broken."""
    for blob in cache.glob("models--*/blobs/*"):
        if blob.suffix != ".incomplete":
            content = blob.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content)
            assert blob.name in (hashlib.sha256(content).hexdigest(), git.hexdigest())
    for link in cache.glob("models--*/snapshots/*/*"):
        assert link.exists(), f"{link.name} leads nowhere"


def change_last_byte(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
