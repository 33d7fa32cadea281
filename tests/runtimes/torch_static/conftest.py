"""The bundled model in the static runtime, and prompts for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from static_prompts import BLOCK_TOKENS, CPU, Prompt, make_prompts

from vlm.runtimes.torch.eager import load_model
from vlm.runtimes.torch.static import StaticTorchRuntime


@pytest.fixture(scope="session")
def model(nano_dir: Path) -> Any:
    """The bundled model in float32."""
    return load_model(nano_dir, torch.float32, "cpu")


@pytest.fixture(scope="session")
def prompts(nano_dir: Path, model: Any, frames: list[Image.Image]) -> list[Prompt]:
    """Return more prompts than `runtime` has slots."""
    return make_prompts(nano_dir, model, frames)


@pytest.fixture
def runtime(model: Any) -> StaticTorchRuntime:
    """Return a runtime with fewer slots than there are prompts."""
    return StaticTorchRuntime(model, CPU, slots=4, block_tokens=BLOCK_TOKENS)
