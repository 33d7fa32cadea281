"""The probability of a part of an answer while parts of the image are hidden, as passes.

Hidden are image tokens, from all rows behind the image: the model reads question and answer as if
they were not there. (The other tokens of the image have still seen them.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from vlm.engine.branches import MAX_ROWS
from vlm.engine.encoding import Encoding
from vlm.engine.frame_grid import cells_of, tokens_of_cells
from vlm.engine.model import Model, PreparedHide
from vlm.engine.passes import Pass, Passes, Prefill, Score
from vlm.results import Hidden
from vlm.runtimes.base import KVState
from vlm.runtimes.trees import Asked, Tree


class Hiding:
    """The passes and the result of one request. `events` may be called once."""

    def __init__(self, model: Model, hide: PreparedHide, is_cancelled: Callable[[], bool]) -> None:
        self._model = model
        self._hide = hide
        self._is_cancelled = is_cancelled
        self._encoding = Encoding(model, hide.prepared, is_cancelled)

    def events(self) -> Passes[Hidden]:
        """Yield passes and, last, the result; between two passes the request can be cancelled."""
        yield from self._encoding.passes()
        hide, values = self._hide, list[float]()
        prompt = hide.prepared.input_ids
        image = np.flatnonzero(np.array(prompt) == self._model.inputs.image_token_id)
        # The first row that may look away from the image.
        first = int(image[-1]) + 1
        path = [*prompt[first:], *hide.answer_ids[:-1]]
        each_pass = max(1, MAX_ROWS // len(path))
        state: KVState | None = None
        for start in range(0, len(hide.regions), each_pass):
            if self._is_cancelled():
                values = []
                break
            if state is None:
                state = yield from self._state(first)
            hidden = [
                image[tokens_of_cells(region, hide.grid)].tolist()
                for region in hide.regions[start : start + each_pass]
            ]
            tree, asked = self._tree(path, hidden)
            logprobs = yield Score(state, tree, asked)
            values += np.reshape(logprobs, (len(hidden), hide.scored)).sum(1).tolist()
        yield Hidden(
            "",
            "stop" if values else "cancelled",
            self._encoding.stats(len(prompt)),
            tuple(values),
            cells_of(hide.grid),
        )

    def _state(self, length: int) -> Generator[Pass, Any, KVState]:
        """Return a state with the first `length` tokens of the prompt, the image the last ones."""
        frame, prompt = self._encoding.frames[-1], self._hide.prepared.input_ids
        state: KVState
        is_same = frame.state is not None and frame.state_images == self._encoding.keys
        if is_same and frame.known_tokens(prompt) >= length:
            state = self._model.runtime.fork(frame.state, length)
            return state
        state, _ = yield Prefill(prompt[:length], frame.features)
        return state

    def _tree(self, path: list[int], hidden: list[list[int]]) -> tuple[Tree, list[Asked]]:
        """Return `path` once for each of `hidden`, and the tokens of the part after their rows."""
        length, scored = len(path), self._hide.scored
        starts = [index * length for index in range(len(hidden))]
        tree = Tree(
            path * len(hidden),
            [start + row - 1 if row else -1 for start in starts for row in range(length)],
            {
                start + row: positions
                for start, positions in zip(starts, hidden, strict=True)
                for row in range(length)
            },
        )
        part = self._hide.answer_ids[-scored:]
        asked = [
            (start + length - scored + index, token)
            for start in starts
            for index, token in enumerate(part)
        ]
        return tree, asked
