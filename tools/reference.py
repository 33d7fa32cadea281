"""transformers' own processor and chat form, which tests and tools compare Sightline's with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm.errors import CheckpointError


def load_processor(folder: Path) -> Any:
    """transformers' Idefics3Processor of `folder`, whichever of the two classes its files name.

    SmolVLM's own class differs in video alone, and asks for packages that only videos need.
    """
    from transformers import Idefics3Processor

    try:
        return Idefics3Processor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(f"The processor in {folder} cannot be loaded: {error}") from error


def chat_messages(prompt: str) -> list[dict[str, object]]:
    """One user turn of a frame and `prompt`, in the form that chat templates take."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]
