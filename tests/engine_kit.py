"""Helpers for tests of the engine: runtimes, requests, and the token ids of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from vlm.engine.drafts import DraftCounts
from vlm.engine.engine import Engine
from vlm.engine.generation import Generation
from vlm.engine.inputs import InputBuilder
from vlm.engine.passes import run_alone
from vlm.processing.image_processor import TileGrid
from vlm.runtimes.torch.eager import TorchRuntime, load_model
from vlm.scheduler.protocol import never
from vlm.types import AnswerTask, Message, Request


@lru_cache(maxsize=2)
def torch_runtime(folder: Path) -> TorchRuntime:
    """Load the checkpoint in `folder` by torch on the CPU, in float32, or return it again."""
    return TorchRuntime(load_model(folder, torch.float32, "cpu"), torch.device("cpu"))


def chat_request(
    messages: tuple[Message, ...], max_tokens: int, camera: str | None = None, **fields: Any
) -> Request:
    """Return a request that answers a chat."""
    return Request(AnswerTask(messages, max_tokens, **fields), camera=camera)


def question_ids(inputs: InputBuilder, prompt: str, grid: TileGrid) -> tuple[int, ...]:
    """Return the ids of the chat with one image of `grid` and `prompt`."""
    return inputs.chat_ids((("user", (grid, prompt)),))


def with_task(request: Request, **fields: Any) -> Request:
    """Return `request` with other values of some fields of its task."""
    return replace(request, task=replace(request.task, **fields))


def generate_ids(
    engine: Engine,
    request: Request,
    is_cancelled: Callable[[], bool] = never,
    draft: Sequence[int] | None = None,
    counts: DraftCounts | None = None,
) -> Iterator[int]:
    """Yield the ids that `Engine.stream` makes text of, end token included."""
    model = engine._model
    generation = Generation(model, model.prepare(request), is_cancelled, draft)
    if counts is not None:
        generation.counts = counts
    return (token.id for token in run_alone(model.runtime, generation.tokens()))
