"""The attention by which the model predicts each token of an answer, as passes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from vlm.engine.encoding import Encoding
from vlm.engine.frame_grid import attention_on_grid, cells_of
from vlm.engine.model import Model, PreparedLook
from vlm.engine.passes import Look, Pass, Passes, Prefill, Verify
from vlm.results import FinishReason, Looked, TokenLogprob
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
            maps.extend(attention_on_grid(image, self._look.grid))
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
        rows, columns = cells_of(self._look.grid)
        reason: FinishReason = "stop" if tokens else "cancelled"
        stats = self._encoding.stats(len(self._look.prepared.input_ids))
        attention = np.array(maps, np.float32).reshape(len(maps), rows, columns)
        return Looked("", reason, stats, tokens, (rows, columns), attention)
