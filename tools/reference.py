"""transformers' processor and chat format, with which tests and tools compare Sightline's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm.errors import CheckpointError


def load_processor(folder: Path) -> Any:
    """Return transformers' Idefics3Processor of `folder`, also if its files name SmolVLM's class.

    SmolVLM's class differs in videos only, and requires packages that only videos need.
    """
    from transformers import Idefics3Processor

    try:
        return Idefics3Processor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(f"The processor in {folder} cannot be loaded: {error}") from error


def chat_messages(prompt: str) -> list[dict[str, object]]:
    """Return one user turn with a frame and `prompt`, in the format of chat templates."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]
