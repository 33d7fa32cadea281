"""The Hugging Face cache on this disk, in the layout of huggingface_hub; no network.

The folder of a repository holds `blobs` (content, named by its hash), `snapshots` (one folder of
links to blobs per commit) and `refs` (the commit of each branch).
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
# SHA-256 of a large file; SHA-1 of a commit, or of a small file as git hashes it.
BLOB_NAME: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_INCOMPLETE: Final = ".incomplete"
_READ_BYTES: Final = 1 << 20


def hub_cache_folder() -> Path:
    """Return $HF_HUB_CACHE, $HF_HOME/hub or their default, which all programs share."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@dataclass(frozen=True)
class CachedRepository:
    """The files of one model in the cache; `folder` may not exist yet."""

    folder: Path

    @classmethod
    def of(cls, hub_id: str, cache_folder: Path | None = None) -> CachedRepository:
        root = cache_folder or hub_cache_folder()
        return cls(root / f"models--{hub_id.replace('/', '--')}")

    def snapshots(self, revision: str) -> Iterator[Path]:
        """Yield the snapshot folders: first that of `revision`, then the others, newest first."""
        commit = revision
        with suppress(OSError):
            commit = (self.folder / "refs" / revision).read_text(encoding="utf-8").strip()
        root = self.folder / "snapshots"
        first = root / commit
        if first != root and first.is_dir():
            yield first
        if root.is_dir():
            others = [each for each in root.iterdir() if each.is_dir() and each != first]
            yield from sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)

    def blob(self, name: str) -> Path:
        """Return the path of checked content; `name` is its hash."""
        return self.folder / "blobs" / name

    def incomplete_blob(self, name: str) -> Path:
        """Return the path of content that is still downloading or not checked yet."""
        return self.folder / "blobs" / (name + _INCOMPLETE)

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def lock_file(self, blob_name: str) -> Path:
        """Return the file that a program locks while it downloads that blob."""
        return self.folder.parent / ".locks" / self.folder.name / f"{blob_name}.lock"

    def received_bytes(self) -> int:
        """Return the size of the newest snapshot and of the incomplete blobs."""
        sizes = 0
        with suppress(OSError):
            for file in (self.folder / "blobs").glob(f"*{_INCOMPLETE}"):
                # Since release 2, huggingface_hub adds random letters, and never resumes those.
                if BLOB_NAME.fullmatch(file.name.removesuffix(_INCOMPLETE)):
                    sizes += file.stat().st_size
            commits = [each for each in (self.folder / "snapshots").iterdir() if each.is_dir()]
            newest = max(commits, key=lambda each: each.stat().st_mtime)
            sizes += sum(file.stat().st_size for file in newest.iterdir())
        return sizes

    def link(self, link: Path, blob_name: str) -> None:
        """Make `link`, a file of a snapshot, lead to that blob, if there is one; raise OSError."""
        blob = self.blob(blob_name)
        if not blob.exists():
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        try:
            link.symlink_to(os.path.relpath(blob, link.parent))
        except OSError:
            # Windows allows links to some users only; huggingface_hub moves the file then, too.
            os.replace(blob, link)

    def set_ref(self, revision: str, commit: str) -> None:
        """Record that branch `revision` is at `commit`; raise OSError."""
        if revision != commit:
            ref = self.folder / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(commit, encoding="utf-8")


def content_hash(file: Path, blob_name: str) -> str:
    """Return the hash of `file`, of the kind that `blob_name` is; raise OSError."""
    if len(blob_name) == 64:
        content = hashlib.sha256()
    else:
        content = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as opened:
        while piece := opened.read(_READ_BYTES):
            content.update(piece)
    return content.hexdigest()


def content_matches(file: Path) -> bool | None:
    """Return whether a snapshot's `file` has the hash in its blob's name; None without such a name.

    Raises OSError.
    """
    # One step only: the blob itself may link to a store that repositories share.
    blob_name = Path(os.readlink(file)).name if file.is_symlink() else ""
    if not BLOB_NAME.fullmatch(blob_name):
        return None
    return content_hash(file, blob_name) == blob_name
