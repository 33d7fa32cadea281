"""All settings in one frozen place; flags and SIGHTLINE_ variables are read here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "nano"


@dataclass(frozen=True)
class Settings:
    """What one process runs with.

    `model` is `nano`, a local checkpoint folder or a hub id. `device` is `auto`, `cpu`, `cuda`,
    `cuda:N`, `mps` or `xpu`; `dtype` is `auto`, `float32`, `bfloat16` or `float16`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    max_tokens: int = 64
    open_browser: bool = False
    max_queue: int = 8
