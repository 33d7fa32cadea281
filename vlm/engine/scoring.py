"""Log probabilities of given answers: from a request to a result, as passes over the model."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import islice
from typing import Any

from vlm.engine.branches import Branch, Pack, packs_of
from vlm.engine.encoding import Encoding
from vlm.engine.frame_cache import EncodedFrame
from vlm.engine.model import Model, PreparedScores
from vlm.engine.passes import Pass, Passes, Prefill, Score, Verify
from vlm.results import EngineInfo, Scored
from vlm.runtimes.base import KVState


class Scoring:
    """The passes and the result of one request. `events` may be called once."""

    def __init__(
        self,
        model: Model,
        scores: PreparedScores,
        info: EngineInfo,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._model = model
        self._scores = scores
        self._info = info
        self._is_cancelled = is_cancelled
        self._encoding = Encoding(model, scores.prepared, is_cancelled)
        self._rows = self._passes = 0

    def events(self) -> Passes[Scored]:
        """Yield passes and, last, the result; between two passes the request can be cancelled."""
        yield from self._encoding.passes()
        values: list[float] = []
        if not self._is_cancelled():
            state, known = yield from self._state()
            values = yield from self._score(state, known)
        yield self._result(values)

    def _state(self) -> Generator[Pass, Any, tuple[KVState, int]]:
        """Return a state with the first tokens of all branches, and how many it has.

        What a chat about the same images has fed is used as far as it goes. What is missing is fed
        with the branches if these need one pass, and before them if they need several.
        """
        runtime, encoding = self._model.runtime, self._encoding
        # One token must be fed with the branches, to predict after it.
        start = self._scores.prepared.input_ids[:-1]
        last = encoding.frames[-1]
        state = last.state
        if state is not None and last.state_images == encoding.keys:
            known = min(last.known_tokens(self._scores.branches[0].token_ids), len(start))
            if self._model.inputs.image_token_id not in start[known:]:
                state = runtime.fork(state, known)
                if known < len(start) and len(self._packs(known)) > 1:
                    yield Verify(state, start[known:], 1)
                    known = len(start)
                    self._keep(state)
                return state, known
        state, _ = yield Prefill(start, [each for one in encoding.frames for each in one.features])
        self._keep(state)
        return state, len(start)

    def _score(self, state: KVState, known: int) -> Generator[Pass, Any, list[float]]:
        """Return the log probability of each branch; none if the request was cancelled."""
        values = [0.0] * len(self._scores.branches)
        for pack in self._packs(known):
            if self._is_cancelled():
                return []
            logprobs = yield Score(state, pack.tree, pack.asked)
            self._rows += len(pack.tree)
            self._passes += 1
            for index, value in pack.sums(logprobs):
                values[index] = value
        return values

    def _packs(self, known: int) -> list[Pack]:
        branches = self._scores.branches
        return packs_of([Branch(each.token_ids[known:], each.scored) for each in branches])

    def _keep(self, state: KVState) -> None:
        """Keep `state` for another question about the same image, as after an answer."""
        encoding = self._encoding
        if encoding.is_whole and self._model.runtime.exact_splits:
            fed = self._scores.prepared.input_ids[: state.length]
            kept = EncodedFrame(encoding.frames[-1].features, state, fed, encoding.keys)
            self._model.frames.put(encoding.keys[-1], kept)

    def _result(self, values: list[float]) -> Scored:
        branches = self._scores.branches
        stats = self._encoding.stats(sum(len(each.token_ids) - each.scored for each in branches))
        rest = iter(values)
        logprobs = tuple(tuple(islice(rest, count)) for count in self._scores.counts)
        return Scored(
            "",
            "stop" if values else "cancelled",
            stats,
            logprobs if values else (),
            self._info.model,
            self._info.dtype,
            self._rows,
            self._passes,
        )
