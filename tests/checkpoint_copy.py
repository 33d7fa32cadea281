"""Copies of a checkpoint with some files changed or left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def copy_checkpoint(
    source: Path, folder: Path, changed: Mapping[str, str | bytes | None] | None = None
) -> Path:
    """Link the files of `source` into a new `folder`, except those `changed` (None: left out)."""
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
