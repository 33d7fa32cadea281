"""transformers as its documentation uses it: processor first, then `generate`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from tools.bench.machine import physical_cores
from tools.reference import chat_messages, load_processor
from vlm.runtimes.torch.eager import load_model

# Whether the processor splits the frame into tiles, as the checkpoint's configuration says.
SPLITS: Final = {"transformers": False, "transformers-default": True}


@dataclass(frozen=True)
class ReferenceTiming:
    """One caption by transformers; times are seconds from the frame."""

    ttft_s: float
    caption_s: float
    prompt_tokens: int
    tokens: int


class _TokenTimes:
    """A streamer that records when tokens arrive; the first call of `put` has the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


class Reference:
    """The checkpoint in `folder` run by transformers alone."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        """Load the model; `dtype` is a name in torch or "auto". Raises CheckpointError."""
        self.dtype = _automatic_dtype(device) if dtype == "auto" else dtype
        self._processor = load_processor(folder)
        self._model: Any = load_model(folder, getattr(torch, self.dtype), device)
        self._device = device

    def caption(self, way: str, image: Image.Image, prompt: str, tokens: int) -> ReferenceTiming:
        """Time a greedy caption of exactly `tokens` tokens; `way` is one of SPLITS."""
        # The engine under test may have set another number for this thread.
        torch.set_num_threads(physical_cores())
        streamer = _TokenTimes()
        started = time.perf_counter()
        text = self._processor.apply_chat_template(
            chat_messages(prompt), add_generation_prompt=True
        )
        inputs = self._processor(
            text=text, images=[image], do_image_splitting=SPLITS[way], return_tensors="pt"
        ).to(self._device)
        output = self._model.generate(
            **inputs,
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            streamer=streamer,
        )
        ended = time.perf_counter()
        prompt_tokens = inputs["input_ids"].shape[1]
        return ReferenceTiming(
            ttft_s=streamer.times[1] - started,
            caption_s=ended - started,
            prompt_tokens=prompt_tokens,
            tokens=output.shape[1] - prompt_tokens,
        )


def _automatic_dtype(device: str) -> str:
    if device == "mps":
        return "float16"
    if device != "cpu":
        return "bfloat16"
    capabilities = torch.cpu.get_capabilities()
    has_bfloat16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if has_bfloat16 else "float32"
