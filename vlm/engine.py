"""The one generator: a frame and a prompt in, text out as it is made. All else here consumes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vlm.checkpoint_files import ModelSize
from vlm.checkpoint_loading import stop_ids
from vlm.checkpoints import display_name, resolve
from vlm.decoding import Draft, DraftCounts, LastAnswer, LastAnswers, greedy_ids
from vlm.detokenize import Detokenizer
from vlm.errors import BadRequestError, CheckpointError
from vlm.frame_cache import EncodedFrame, FrameCache
from vlm.inputs import InputBuilder
from vlm.prompts import DEFAULT_PROMPT, checked_prompt
from vlm.runtimes.base import ImageFeatures, KVState, Runtime
from vlm.runtimes.fit import Fit, fit
from vlm.settings import Settings
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


@dataclass(frozen=True)
class Asked:
    """A request in the model's terms: `limit` is how many tokens its answer may have."""

    request: CaptionRequest
    prompt: str
    input_ids: tuple[int, ...]
    image_tokens: int
    limit: int


def _never() -> bool:
    return False


def _silent(_: str) -> None:
    """Progress that nobody waits for."""


class Engine:
    """A loaded model, for one thread at a time; in the server `vlm.worker` is that thread."""

    def __init__(
        self,
        runtime: Runtime[Any],
        inputs: InputBuilder,
        stop_token_ids: frozenset[int],
        model_name: str,
    ) -> None:
        """`inputs` are the checkpoint's own; `stop_token_ids` end an answer and are not shown."""
        self._runtime = runtime
        self._inputs = inputs
        self._stop_ids = stop_token_ids
        self._frames = FrameCache()
        self._answers = LastAnswers()
        self.info = EngineInfo(
            model=model_name,
            runtime=runtime.name,
            device=runtime.device,
            dtype=runtime.dtype,
            frame_size_px=self._inputs.max_side_px,
        )

    @classmethod
    def load(cls, settings: Settings, on_progress: Callable[[str], None] = _silent) -> Engine:
        """The engine that `settings` ask for, warmed up, so that its first caption is not slower.

        `on_progress` gets a sentence for people now and then where loading takes long. Raises
        CheckpointError or SettingsError, in words for the person who chose the settings.
        """
        from vlm.runtimes.choice import load_runtime

        folder = resolve(settings.model)
        inputs = InputBuilder.load(folder)
        runtime = load_runtime(folder, settings, on_progress)
        engine = cls(
            runtime,
            inputs,
            stop_ids(folder, inputs.tokenizer),
            display_name(settings.model),
        )
        engine._warm_up()
        return engine

    @staticmethod
    def fit(size: ModelSize, settings: Settings, folder: Path | None = None) -> Fit:
        """The memory that a model of that size would need by `settings`, and what is free for it.

        `folder` is its checkpoint where it is here. Raises SettingsError where they name a device
        that is not here.
        """
        return fit(size, settings, folder)

    def stream(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool] = _never
    ) -> Generator[StreamItem, None, None]:
        """Greedy text for `request`: TokenChunks as they become complete, then one CaptionDone.

        Work stops within one pass (a token, a guess or an image tile) of the generator being closed
        or of `is_cancelled` turning true; the latter still gives a CaptionDone, with "cancelled". A
        text that would leave the model's context ends there with "length". `queued_s` is left at 0.
        Raises BadRequestError for a prompt that cannot be asked, and MemoryError.
        """
        started = time.perf_counter()
        asked = self.ask(request)
        detokenizer = Detokenizer(self._inputs.tokenizer.decode)
        counts = DraftCounts()
        chunks: list[str] = []
        finish_reason: FinishReason = "cancelled"
        tokens = 0
        first_token = started
        for token_id in self.generate_ids(asked, is_cancelled, counts=counts):
            if first_token == started:
                first_token = time.perf_counter()
            if token_id in self._stop_ids:
                finish_reason = "stop"
                # The stream of ids is read to its end: it remembers the answer there.
                continue
            tokens += 1
            if tokens == asked.limit:
                finish_reason = "length"
            if chunk := detokenizer.add(token_id):
                chunks.append(chunk)
                yield TokenChunk(chunk)
        if chunk := detokenizer.finish():
            chunks.append(chunk)
            yield TokenChunk(chunk)
        total_s = time.perf_counter() - started
        stats = Stats(
            ttft_s=first_token - started,
            tokens_per_s=tokens / total_s,
            image_tokens=asked.image_tokens,
            prompt_tokens=len(asked.input_ids),
            tokens=tokens,
            drafted=counts.drafted,
            accepted=counts.accepted,
            queued_s=0.0,
            total_s=total_s,
        )
        yield CaptionDone("".join(chunks), finish_reason, stats)

    def ask(self, request: CaptionRequest) -> Asked:
        """What the model is asked by `request`; raises BadRequestError where it cannot be."""
        if request.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        image, typed = request.messages[0].parts
        prompt = checked_prompt(typed)
        grid = self._inputs.grid_of(image.size, request.detail)
        input_ids = self._inputs.prompt_ids(prompt, grid)
        limit = min(request.max_tokens, self._runtime.context_tokens - len(input_ids))
        if limit < 1:
            raise BadRequestError(
                f"The prompt and the image have {len(input_ids)} tokens; this model has "
                f"room for {self._runtime.context_tokens - 1}. Make the prompt shorter."
            )
        return Asked(request, prompt, input_ids, self._inputs.image_tokens(grid), limit)

    def generate_ids(
        self,
        asked: Asked,
        is_cancelled: Callable[[], bool] = _never,
        draft: Sequence[int] | None = None,
        counts: DraftCounts | None = None,
    ) -> Iterator[int]:
        """The ids of greedy decoding, end token included, as transformers' `generate` has them.

        `draft` are ids that the answer may begin with or share parts of, by default the last answer
        to the same question of the same camera; they only ever save time.
        """
        image = asked.request.messages[0].parts[0]
        key = self._frames.key(image, asked.request.detail)
        frame = self._frames.get(key)
        if frame is None:
            frame = EncodedFrame(self._encode(asked.request, is_cancelled))
        if is_cancelled():
            return
        question = (asked.request.camera, asked.prompt, asked.request.detail)
        last = self._answers.get(question) if draft is None else LastAnswer(draft)
        old = Draft(last.ids, self._is_text, last.trusted)
        guess = old.start(asked.limit - 1)
        state, choices = self._prefill(frame, [*asked.input_ids, *guess], len(guess) + 1)
        answer: list[int] = []
        for token_id in greedy_ids(
            self._runtime,
            state,
            choices,
            old,
            guess,
            asked.limit,
            counts or DraftCounts(),
            lambda token_id: token_id in self._stop_ids or is_cancelled(),
        ):
            answer.append(token_id)
            yield token_id
        if not is_cancelled():
            self._answers.put(question, LastAnswer(answer, old.trusted_next()))
        fed = [*asked.input_ids, *answer][: state.length]
        self._frames.put(key, EncodedFrame(frame.features, state, fed))

    def _encode(
        self, request: CaptionRequest, is_cancelled: Callable[[], bool]
    ) -> list[ImageFeatures]:
        """The features of a frame, some tiles at a time; fewer than all where it was cancelled."""
        pixel_values = self._inputs.pixel_values(request.messages[0].parts[0], request.detail)
        at_once = self._runtime.tiles_per_pass
        features: list[ImageFeatures] = []
        for start in range(0, len(pixel_values), at_once):
            if is_cancelled():
                break
            features.append(self._runtime.encode_image(pixel_values[start : start + at_once]))
        return features

    def _prefill(
        self, frame: EncodedFrame, input_ids: Sequence[int], choices: int
    ) -> tuple[KVState, list[int]]:
        """A state of its own that holds `input_ids`, and the choices after the last of them.

        What an earlier question about the same frame has fed the model already is not fed again.
        """
        known = frame.known_tokens(input_ids[: len(input_ids) - choices + 1])
        if frame.state is None or self._inputs.image_token_id in input_ids[known:]:
            return self._runtime.prefill(input_ids, frame.features, choices)
        state = self._runtime.fork(frame.state, known)
        return state, self._runtime.verify(state, input_ids[known:], choices)

    def _is_text(self, token_id: int) -> bool:
        """Whether an answer can go on behind `token_id`, and a pass over a prompt can hold it."""
        return (
            0 <= token_id < self._inputs.vocabulary_size
            and token_id != self._inputs.image_token_id
            and token_id not in self._stop_ids
        )

    def _warm_up(self) -> None:
        side_px = self.info.frame_size_px
        frame = Image.new("RGB", (side_px, side_px), (128, 128, 128))
        try:
            for _ in self.stream(CaptionRequest.about(frame, DEFAULT_PROMPT, _WARM_UP_TOKENS)):
                pass
        except ValueError as error:
            raise CheckpointError(
                f"Processor and model of {self.info.model} do not fit each other: {error}. "
                "Get the whole checkpoint again."
            ) from error
        # What nobody asked is nothing to draft from.
        self._frames, self._answers = FrameCache(), LastAnswers()
