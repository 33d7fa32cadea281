"""The attention by which the model predicts each token of an answer, as passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from vlm.engine.encoding import Encoding
from vlm.engine.model import Model, PreparedLook
from vlm.engine.passes import Look, Pass, Passes, Prefill, Verify
from vlm.processing.image_processor import TileGrid
from vlm.results import FinishReason, Looked, Stats, TokenLogprob
from vlm.runtimes.base import KVState, Logits, LooksRuntime
from vlm.runtimes.trees import logprobs_of

# So many rows at a time: the weights of 30 layers with 9 heads over 1,200 tokens take 41 MB then.
_MAX_ROWS: Final = 32

Attention = npt.NDArray[np.float32]


class Looking:
    """The passes and the result of one request. `events` may be called once."""

    def __init__(self, model: Model, look: PreparedLook, is_cancelled: Callable[[], bool]) -> None:
        self._model = model
        self._look = look
        self._is_cancelled = is_cancelled
        self._encoding = Encoding(model, look.prepared, is_cancelled)
        self._started_s = time.perf_counter()

    def events(self) -> Passes[Looked]:
        """Yield passes and, last, the result; between two passes the request can be cancelled."""
        yield from self._encoding.passes()
        prompt, answer = self._look.prepared.input_ids, self._look.answer_ids
        # A row predicts the next token: the first one is the prompt's last.
        ids, first = [*prompt, *answer], len(prompt) - 1
        is_image = np.asarray(prompt) == self._model.inputs.image_token_id
        runtime: LooksRuntime[Any] = cast("LooksRuntime[Any]", self._model.runtime)
        layers = range(runtime.layers)
        tokens: list[TokenLogprob] = []
        maps: list[Attention] = []
        state: KVState | None = None
        known = 0
        for start in range(first, len(ids) - 1, _MAX_ROWS):
            if self._is_cancelled():
                yield self._result((), [])
                return
            if state is None:
                state, known = yield from self._state(ids)
            if known < start:
                state = runtime.fork(state, known)
                yield Verify(state, ids[known:start], 1)
                known = start
            end = min(start + _MAX_ROWS, len(ids) - 1)
            weights, logits = yield Look(state, start, ids[start:end], layers)
            image = weights.mean((0, 1))[:, : len(prompt)][:, is_image]
            maps.extend(on_grid(image, self._look.grid))
            tokens += self._tokens(ids[start + 1 : end + 1], logits)
        yield self._result(tuple(tokens), maps)

    def _state(self, ids: list[int]) -> Generator[Pass, Any, tuple[KVState, int]]:
        """Return a state with the first of `ids`, at least all of the image, and how many it has.

        What the last chat about the image has fed is used as far as it goes.
        """
        frame, prompt = self._encoding.frames[-1], self._look.prepared.input_ids
        if frame.state is not None and frame.state_images == self._encoding.keys:
            known = frame.known_tokens(ids)
            if self._model.inputs.image_token_id not in prompt[known:]:
                return frame.state, known
        state, _ = yield Prefill(prompt[:-1], frame.features)
        return state, len(prompt) - 1

    def _tokens(self, ids: list[int], logits: Logits) -> list[TokenLogprob]:
        logprobs = logprobs_of(logits, range(len(ids)), [*enumerate(ids)])
        texts = [self._model.inputs.tokenizer.bytes_of(each) for each in ids]
        return [
            TokenLogprob(text.decode("utf-8", "replace"), text, logprob)
            for text, logprob in zip(texts, logprobs, strict=True)
        ]

    def _result(self, tokens: tuple[TokenLogprob, ...], maps: list[Attention]) -> Looked:
        rows, columns = _cells(self._look.grid)
        reason: FinishReason = "stop" if tokens else "cancelled"
        stats = Stats(
            ttft_s=0.0,
            tokens_per_s=0.0,
            image_tokens=self._look.prepared.image_tokens,
            prompt_tokens=len(self._look.prepared.input_ids),
            tokens=0,
            drafted=0,
            accepted=0,
            queued_s=0.0,
            total_s=time.perf_counter() - self._started_s,
            patches=self._encoding.patches,
        )
        attention = np.array(maps, np.float32).reshape(len(maps), rows, columns)
        return Looked("", reason, stats, tokens, (rows, columns), attention)


def on_grid(image: Attention, grid: TileGrid) -> Attention:
    """Return attention to image tokens, [rows, tokens], over the frame, [rows, height, width].

    Cells are those of the tiles; attention to the tile of the whole image is spread over the cells
    that each of its tokens covers.
    """
    side = math.isqrt(grid.tile_tokens)
    whole = image[:, -grid.tile_tokens :].reshape(-1, side, side)
    if grid.tiles == 1:
        return whole
    tiles = image[:, : -grid.tile_tokens].reshape(-1, grid.rows, grid.columns, side, side)
    height, width = _cells(grid)
    spread = whole.repeat(grid.rows, 1).repeat(grid.columns, 2) / (grid.rows * grid.columns)
    over: Attention = tiles.transpose(0, 1, 3, 2, 4).reshape(-1, height, width) + spread
    return over


def _cells(grid: TileGrid) -> tuple[int, int]:
    """Return the rows and columns of cells over a frame."""
    return max(grid.rows, 1) * grid.row_tokens, max(grid.columns, 1) * grid.row_tokens
