"""The ordinary hub cache on this disk, as huggingface_hub lays it out; never the network.

A repository's folder holds `blobs`, named by what the hub says they hash to, `snapshots`, a folder
of links to them for each commit, and `refs`, which commit a branch was at.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_BLOB_NAME: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Releases of huggingface_hub before 2 go on where such a file ends; later ones name theirs anew.
_INCOMPLETE: Final = ".incomplete"
_READ_BYTES: Final = 1 << 20


def hub_cache_folder() -> Path:
    """Where programs share what they fetched: $HF_HUB_CACHE, $HF_HOME/hub, or their default."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@dataclass(frozen=True)
class CachedRepository:
    """What of one model lies in the cache."""

    folder: Path

    @classmethod
    def of(cls, hub_id: str, cache_folder: Path | None = None) -> CachedRepository:
        """The one of `hub_id`, whether it lies here or not."""
        root = cache_folder or hub_cache_folder()
        return cls(root / f"models--{hub_id.replace('/', '--')}")

    def snapshots(self, revision: str) -> Iterator[Path]:
        """The folders of the commits that lie here: first `revision`'s, then the newest."""
        root = self.folder / "snapshots"
        first = root / self._commit_of(revision)
        if first != root and first.is_dir():
            yield first
        if root.is_dir():
            others = [each for each in root.iterdir() if each.is_dir() and each != first]
            yield from sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)

    def blob(self, name: str) -> Path:
        """Where the content that hashes to `name` lies; there it is always whole and checked."""
        return self.folder / "blobs" / name

    def incomplete_blob(self, name: str) -> Path:
        """Where it grows until then."""
        return self.folder / "blobs" / (name + _INCOMPLETE)

    def received_bytes(self) -> int:
        """How much lies here of the commit that was fetched last, whole files and others."""
        sizes = 0
        with suppress(OSError):
            for file in (self.folder / "blobs").glob(f"*{_INCOMPLETE}"):
                if _BLOB_NAME.fullmatch(file.name.removesuffix(_INCOMPLETE)):
                    sizes += file.stat().st_size
            commits = [each for each in (self.folder / "snapshots").iterdir() if each.is_dir()]
            newest = max(commits, key=lambda each: each.stat().st_mtime)
            sizes += sum(file.stat().st_size for file in newest.iterdir())
        return sizes

    def lock_file(self, name: str) -> Path:
        """What a program locks while it receives the content that hashes to `name`."""
        return self.folder.parent / ".locks" / self.folder.name / f"{name}.lock"

    def shown(self, commit: str, file_name: str) -> Path:
        """Where programs look for `file_name` of `commit`."""
        return self.folder / "snapshots" / commit / file_name

    def link(self, commit: str, file_name: str, blob_name: str) -> None:
        """Show the blob `blob_name` as `file_name` of `commit`, where it is not; raises OSError."""
        blob, shown = self.blob(blob_name), self.shown(commit, file_name)
        if not blob.exists():
            return
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.unlink(missing_ok=True)
        try:
            shown.symlink_to(os.path.relpath(blob, shown.parent))
        except OSError:
            # Windows allows links to some users only; there huggingface_hub moves the file as well.
            os.replace(blob, shown)

    def point(self, revision: str, commit: str) -> None:
        """Note that `revision` is at `commit`; raises OSError."""
        if revision == commit:
            return
        ref = self.folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="utf-8")

    def _commit_of(self, revision: str) -> str:
        try:
            return (self.folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except OSError:
            return revision


def content_matches(file: Path) -> bool | None:
    """Whether a snapshot's `file` hashes to the name of its blob; None where it has no such name.

    Raises OSError.
    """
    # One step: a blob itself may be a link to where huggingface_hub keeps what repositories share.
    blob_name = Path(os.readlink(file)).name if file.is_symlink() else ""
    if not is_blob_name(blob_name):
        return None
    content = new_hash(blob_name, file.stat().st_size)
    with file.open("rb") as opened:
        while piece := opened.read(_READ_BYTES):
            content.update(piece)
    return content.hexdigest() == blob_name


def is_blob_name(name: object) -> bool:
    """Whether `name` is a SHA-256, or git's SHA-1 of a file, by which the hub names content."""
    return isinstance(name, str) and _BLOB_NAME.fullmatch(name) is not None


def new_hash(blob_name: str, size_bytes: int) -> hashlib._Hash:
    """The hash whose hexadecimal digest of that much content must be `blob_name`.

    Large files are named by their SHA-256, others as git names a blob: a SHA-1 over its size, too.
    """
    if len(blob_name) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
