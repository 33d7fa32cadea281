"""The one generator: a frame and a prompt in, text out as it is made. All else here consumes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from PIL import Image

from vlm.checkpoints import resolve, stop_ids
from vlm.detokenize import Detokenizer
from vlm.errors import BadRequestError, CheckpointError
from vlm.inputs import InputBuilder, ModelInputs
from vlm.prompts import DEFAULT_PROMPT, checked_prompt
from vlm.runtimes.base import Runtime
from vlm.settings import DEFAULT_MODEL, Settings
from vlm.types import (
    CaptionDone,
    CaptionRequest,
    EngineInfo,
    FinishReason,
    Stats,
    StreamItem,
    TokenChunk,
)

_WARM_UP_TOKENS: Final = 2


def _never() -> bool:
    return False


class Engine:
    """A loaded model, for one thread at a time; in the server `vlm.worker` is that thread."""

    def __init__(
        self,
        runtime: Runtime,
        inputs: InputBuilder,
        stop_token_ids: frozenset[int],
        model_name: str,
    ) -> None:
        """`inputs` are the checkpoint's own; `stop_token_ids` end an answer and are not shown."""
        self._runtime = runtime
        self._inputs = inputs
        self._stop_ids = stop_token_ids
        self.info = EngineInfo(
            model=model_name,
            runtime=runtime.name,
            device=runtime.device,
            dtype=runtime.dtype,
            frame_size_px=self._inputs.max_side_px,
        )

    @classmethod
    def load(cls, settings: Settings) -> Engine:
        """The engine that `settings` ask for, warmed up, so that its first caption is not slower.

        Raises CheckpointError or SettingsError, in words for the person who chose the settings.
        """
        from vlm.runtimes.torch_runtime import TorchRuntime

        folder = resolve(settings.model)
        inputs = InputBuilder.load(folder)
        runtime = TorchRuntime.load(folder, settings.device, settings.dtype)
        is_path = settings.model != DEFAULT_MODEL and Path(settings.model).is_dir()
        engine = cls(
            runtime,
            inputs,
            stop_ids(folder, inputs.tokenizer),
            folder.resolve().name if is_path else settings.model,
        )
        engine._warm_up()
        return engine

    def stream(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool] = _never
    ) -> Generator[StreamItem, None, None]:
        """Greedy text for `request`: TokenChunks as they become complete, then one CaptionDone.

        Work stops within one token (or image tile) of the generator being closed or of
        `is_cancelled` turning true; the latter still gives a CaptionDone, with "cancelled". A text
        that would leave the model's context ends there with "length". `queued_s` is left at 0.
        Raises BadRequestError for a prompt that cannot be asked, and MemoryError.
        """
        started = time.perf_counter()
        inputs = self.build_inputs(request)
        limit = self._limit(inputs, request.max_tokens)
        detokenizer = Detokenizer(self._inputs.tokenizer.decode)
        chunks: list[str] = []
        finish_reason: FinishReason = "cancelled"
        tokens = 0
        first_token = last_token = started
        for token_id in self.generate_ids(inputs, request.max_tokens, is_cancelled):
            now = time.perf_counter()
            if first_token == started:
                first_token = now
            if token_id in self._stop_ids:
                finish_reason = "stop"
                break
            last_token = now
            tokens += 1
            if tokens == limit:
                finish_reason = "length"
            if chunk := detokenizer.add(token_id):
                chunks.append(chunk)
                yield TokenChunk(chunk)
        if chunk := detokenizer.finish():
            chunks.append(chunk)
            yield TokenChunk(chunk)
        stats = Stats(
            ttft_s=first_token - started,
            tokens_per_s=(tokens - 1) / (last_token - first_token) if tokens > 1 else 0.0,
            image_tokens=inputs.image_tokens,
            prompt_tokens=len(inputs.input_ids),
            tokens=tokens,
            queued_s=0.0,
            total_s=time.perf_counter() - started,
        )
        yield CaptionDone("".join(chunks), finish_reason, stats)

    def build_inputs(self, request: CaptionRequest) -> ModelInputs:
        """What the model is fed for `request`; raises BadRequestError where it cannot be asked."""
        if request.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        inputs = self._inputs.build(request.image, checked_prompt(request.prompt), request.detail)
        if self._limit(inputs, request.max_tokens) < 1:
            raise BadRequestError(
                f"The prompt and the image have {len(inputs.input_ids)} tokens; this model has "
                f"room for {self._runtime.context_tokens - 1}. Make the prompt shorter."
            )
        return inputs

    def generate_ids(
        self, inputs: ModelInputs, max_tokens: int, is_cancelled: Callable[[], bool] = _never
    ) -> Iterator[int]:
        """The ids of greedy decoding, end token included, as transformers' `generate` has them."""
        runtime = self._runtime
        features = []
        for start in range(0, len(inputs.pixel_values), runtime.tiles_per_pass):
            if is_cancelled():
                return
            tiles = inputs.pixel_values[start : start + runtime.tiles_per_pass]
            features.append(runtime.encode_image(tiles))
        if is_cancelled():
            return
        state, token_id = runtime.prefill(inputs.input_ids, features)
        yield token_id
        for _ in range(self._limit(inputs, max_tokens) - 1):
            if token_id in self._stop_ids or is_cancelled():
                return
            token_id = runtime.decode_one_token(state, token_id)
            yield token_id

    def _limit(self, inputs: ModelInputs, max_tokens: int) -> int:
        return min(max_tokens, self._runtime.context_tokens - len(inputs.input_ids))

    def _warm_up(self) -> None:
        side_px = self.info.frame_size_px
        frame = Image.new("RGB", (side_px, side_px), (128, 128, 128))
        try:
            for _ in self.stream(CaptionRequest(frame, DEFAULT_PROMPT, _WARM_UP_TOKENS)):
                pass
        except ValueError as error:
            raise CheckpointError(
                f"Processor and model of {self.info.model} do not fit each other: {error}. "
                "Get the whole checkpoint again."
            ) from error
