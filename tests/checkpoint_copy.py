"""Copies of a checkpoint with some files changed, for tests of what is wrong or different."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def copy_checkpoint(
    source: Path, folder: Path, changed: Mapping[str, str | bytes | None] | None = None
) -> Path:
    """`folder` with the files of `source`, those in `changed` of that content (None: left out)."""
    folder.mkdir()
    changed = changed or {}
    for file in source.iterdir():
        if file.name not in changed:
            (folder / file.name).symlink_to(file)
    for name, content in changed.items():
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
    return folder
