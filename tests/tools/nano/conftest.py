"""Fixtures of the bundled model's tests: a mix of drawn frames, the processor, the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.nano.architecture import build_model
from tools.nano.scenes import Frame, make_frame
from tools.reference import load_processor

FRAMES = 240


@pytest.fixture(scope="session")
def mixed_frames() -> list[Frame]:
    """The first frames of the training split, in the usual mix of kinds."""
    return [make_frame(seed) for seed in range(FRAMES)]


@pytest.fixture(scope="session")
def processor(nano_dir: Path) -> Any:
    """The bundled processor."""
    return load_processor(nano_dir)


@pytest.fixture(scope="session")
def sharp_model(processor: Any) -> Any:
    """The architecture in float32; its random weights are so large that each input matters."""
    torch.manual_seed(0)
    model = build_model(processor.tokenizer).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, 0.2)
        for weight in model.model.text_model.layers.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.15)
    return model


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: as fast for models this small, and much faster on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
