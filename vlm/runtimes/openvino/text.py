"""The text model of a conversion by OpenVINO, and its keys and values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlm.runtimes.base import Attended, Predicted
from vlm.runtimes.memory import free_host_bytes
from vlm.runtimes.openvino.looks import attention, keys_of, queries_of, with_queries
from vlm.runtimes.openvino.platform import compile_on_cpu, core, memory_errors
from vlm.runtimes.openvino.vision import Features
from vlm.runtimes.trees import Asked, Tree, asked_rows, logprobs_of

# Long passes are padded to a multiple of 4 rows, which a mask hides; others can take a quarter
# longer: on two cores of a Zen 4, 81 rows took 140 ms, 84 123 ms, 95 183 ms, 96 144 ms.
_ROW_MULTIPLE: Final = 4
_LONGEST_UNPADDED: Final = 32
# The model for many rows feeds a new state from so many on. A large one is compiled only for frames
# of several tiles and long texts, since that takes 200 MB with SmolVLM-256M's shape.
_LONG_PASS: Final = 192
_LONG_PASS_OF_SMALL_MODEL: Final = 32
# So many rows at a time, since the scores of a pass are its rows x all rows of the state.
_LONG_PART: Final = 256
# Its memory: of its rows in a KV cache, and of the file of weights. With SmolVLM-256M's shape 1,332
# rows added 540 MB to the peak, 1,843 with a draft of 511 tokens 900 MB.
_LONG_ROW_FACTOR: Final = 10
_LONG_WEIGHTS_FACTOR: Final = 1.7


class OpenVinoText:
    """The text model, compiled for passes of few rows and, if needed, for passes of many."""

    def __init__(
        self, file: Path, properties: Mapping[str, object], *, is_small: bool = False
    ) -> None:
        """`file` is that of the graph, with its weights beside it."""
        self._properties = properties
        # Kept, so that the second compiled model shares the mapped file.
        self._graph = core().read_model(file)
        self._weights_bytes = file.with_suffix(".bin").stat().st_size
        self._single = compile_on_cpu(self._graph, properties)
        self._long_pass = _LONG_PASS_OF_SMALL_MODEL if is_small else _LONG_PASS
        self._bytes_per_row = sum(
            4 * state.state.shape[1] * state.state.shape[3]
            for state in self._single.create_infer_request().query_state()
        )

    def fill(
        self,
        old: OpenVinoKVState | None,
        positions: npt.NDArray[np.int64],
        embeds: Features,
        count: int,
        want_logits: bool,
    ) -> tuple[OpenVinoKVState, Predicted]:
        """Return a new state with `embeds` at `positions`, the others before them from `old`."""
        others = np.setdiff1d(np.arange(positions[-1]), positions)
        if not self._is_long(len(embeds), len(others) + len(embeds)):
            state = self._copy(old, others, self._single)
            return state, self.feed(state, embeds, count, want_logits, positions)
        state = self._copy(old, others, self._long)
        # All that is predicted is in the last part.
        starts = [0, *range(_LONG_PART, len(embeds) - count, _LONG_PART), len(embeds)]
        for start, end in itertools.pairwise(starts):
            is_last = end == len(embeds)
            predicted = self.feed(
                state,
                embeds[start:end],
                count if is_last else 1,
                want_logits and is_last,
                positions[start:end],
            )
        return self._copy(state, np.arange(positions[-1] + 1), self._single), predicted

    def feed(
        self,
        state: OpenVinoKVState,
        embeds: Features,
        count: int,
        want_logits: bool,
        positions: npt.NDArray[np.int64] | None = None,
    ) -> Predicted:
        """Feed tokens with `embeds`, [new, hidden]; predict after the last `count`.

        `positions` [new] rise; by default they follow the last one of `state`.
        """
        new = len(embeds)
        spare = _spare_rows(new)
        if positions is None:
            positions = np.arange(state.length, state.length + new)
        padded = np.append(positions, positions[-1] + 1 + np.arange(spare))
        self._infer(state, embeds, padded, state.mask(padded), np.arange(new - count, new))
        ids: list[int] = state.request.get_output_tensor(0).data[0].tolist()
        # Copied: the tensor belongs to the request, and its next pass overwrites it.
        logits = np.array(state.request.get_output_tensor(1).data[0]) if want_logits else None
        state.append(positions, spare)
        return Predicted(ids, logits)

    def fork(self, state: OpenVinoKVState, length: int) -> OpenVinoKVState:
        """Return a separate state with the first `length` tokens of `state`."""
        return self._copy(state, np.arange(length), self._single)

    def score(
        self, state: OpenVinoKVState, embeds: Features, tree: Tree, asked: Sequence[Asked]
    ) -> list[float]:
        """Return the log probabilities of `asked` for `tree`, with `embeds`, behind `state`."""
        is_long = self._is_long(len(tree), state.length + len(tree))
        copy = self._copy(state, np.arange(state.length), self._long if is_long else self._single)
        rows = asked_rows(asked)
        spare = _spare_rows(len(tree))
        mask = np.zeros((len(tree) + spare, copy.rows + len(tree) + spare), np.bool_)
        mask[: len(tree), : copy.rows + len(tree)] = tree.mask(copy.positions)
        # A row of padding sees itself, since a row that sees nothing has no softmax.
        np.fill_diagonal(mask[:, copy.rows :], True)
        positions = np.pad(state.length + tree.depths(), (0, spare), mode="edge")
        self._infer(copy, embeds, positions, mask, np.array(rows))
        logits = copy.request.get_output_tensor(1).data[0]
        return logprobs_of(logits, rows, asked)

    def looks(
        self, state: OpenVinoKVState, length: int, embeds: Features, layers: Sequence[int]
    ) -> Attended:
        """Return what tokens with `embeds` attend to behind the first `length` of `state`."""
        copy = self._copy(state, np.arange(length), self._with_queries)
        rows = len(embeds)
        positions = length + np.arange(rows)
        mask = copy.mask(positions)
        self._infer(copy, embeds, positions, mask, np.arange(rows))
        # The rows of a state need not be in the order of their positions.
        order = np.argsort(np.append(copy.positions, positions))
        with memory_errors():
            keys = keys_of(copy.request)
            weights = [
                attention(queries_of(copy.request, each), keys[each], mask)[..., order]
                for each in layers
            ]
            return Attended(np.stack(weights), np.array(copy.request.get_output_tensor(1).data[0]))

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(
            node.get_type_name() == "ScaledDotProductAttention" for node in self._graph.get_ops()
        )

    @cached_property
    def _with_queries(self) -> Any:
        """The model that also returns queries, compiled when attention is first asked for."""
        with memory_errors():
            return compile_on_cpu(with_queries(self._graph), self._properties)

    @cached_property
    def _long(self) -> Any:
        """The model for passes of many rows, compiled at the first one.

        The plugin's attention over a state is made for single rows. As products of matrices, 875
        rows of SmolVLM-256M's shape take 1.2 instead of 3.2 s and 100 of `nano` 4.0 instead of 6.7
        ms, but a single row behind 864 takes 66 instead of 23 ms, since keys and values are copied
        (two cores of a Xeon with AMX).
        """
        with memory_errors():
            model = self._graph.clone()
            for node in model.get_ops():
                # The gather by which the plugin recognises a state.
                if node.get_type_name() == "Gather":
                    state = node.input(0).get_source_output()
                    if state.get_node().get_type_name() == "ReadValue":
                        node.output(0).replace(state)
            return compile_on_cpu(model, self._properties)

    def _is_long(self, new: int, rows: int) -> bool:
        """Return whether `_long` feeds the last `new` of `rows`: it must be faster, and fit."""
        if new < _LONG_PASS:
            return new >= self._long_pass
        needed: int = _LONG_ROW_FACTOR * rows * self._bytes_per_row
        if "_long" not in self.__dict__:
            needed += int(_LONG_WEIGHTS_FACTOR * self._weights_bytes)
        return free_host_bytes() > needed

    def _copy(
        self, state: OpenVinoKVState | None, positions: npt.NDArray[np.int64], text: Any
    ) -> OpenVinoKVState:
        """Return a new state of the model `text` with the tokens of `state` at `positions`."""
        with memory_errors():
            copy = OpenVinoKVState(text.create_infer_request(), self._bytes_per_row)
            if state is not None:
                state.copy_to(copy, positions)
            return copy

    def _infer(
        self,
        state: OpenVinoKVState,
        embeds: Features,
        positions: npt.NDArray[np.int64],
        mask: npt.NDArray[np.bool_],
        wanted: npt.NDArray[np.int64],
    ) -> None:
        """Run a pass; its request then has the argmax and the logits after the rows `wanted`.

        `positions`, [new], may be more than `embeds`; `mask` is [new, rows of `state` + new].
        """
        spare = len(positions) - len(embeds)
        inputs = {
            "embeds": np.pad(embeds, ((0, spare), (0, 0)))[None],
            "positions": positions[None],
            "mask": mask[None, None],
            "wanted": wanted,
            "beams": np.zeros(1, np.int32),
        }
        with memory_errors():
            state.request.infer(inputs, share_inputs=True)


def _spare_rows(new: int) -> int:
    """Return how many rows of padding make a pass of `new` rows faster."""
    return -new % _ROW_MULTIPLE if new > _LONGEST_UNPADDED else 0


# The CPU plugin doubles its capacity whenever it is full.
_SPARE_CAPACITY: Final = 2
_MASKED: Final = -1


class OpenVinoKVState:
    """Rows of keys and values in `request`; those of rejected tokens are masked.

    Removing rows would copy all others; a masked row only adds a term of weight zero.
    """

    def __init__(self, request: Any, bytes_per_row: int) -> None:
        """`request` is new; each token adds `bytes_per_row`."""
        self.request = request
        self._bytes_per_row = bytes_per_row
        self.positions: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        """Of each row; _MASKED for one that counts no more."""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return int(np.count_nonzero(self.positions != _MASKED))

    @property
    def rows(self) -> int:
        """Number of rows, those of rejected tokens and of padding included."""
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """Memory of the request, rejected tokens and spare capacity included."""
        return self.rows * self._bytes_per_row * _SPARE_CAPACITY

    def mask(self, new: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return the causal attention mask of tokens at positions `new`, which rise.

        Its shape is [new, rows + new].
        """
        mask = np.empty((len(new), self.rows + len(new)), np.bool_)
        np.less_equal(self.positions, new[:, None], out=mask[:, : self.rows])
        mask[:, : self.rows] &= self.positions != _MASKED
        mask[:, self.rows :] = np.tri(len(new), dtype=np.bool_)
        return mask

    def append(self, positions: npt.NDArray[np.int64], spare: int = 0) -> None:
        """Note that the request holds tokens at `positions`, and `spare` rows of padding more."""
        self.positions = np.concatenate([self.positions, positions, np.full(spare, _MASKED)])

    def truncate(self, length: int) -> None:
        """Mask out all but the first `length` tokens."""
        self.positions[self.positions >= length] = _MASKED

    def copy_to(self, other: OpenVinoKVState, positions: npt.NDArray[np.int64]) -> None:
        """Copy the tokens at `positions` into `other`, which is new."""
        rows = np.flatnonzero(np.isin(self.positions, positions))
        # A slice is copied faster than single rows.
        is_prefix = len(rows) == 0 or rows[-1] == len(rows) - 1
        kept = slice(len(rows)) if is_prefix else rows
        targets = {target.name: target for target in other.request.query_state()}
        for source in self.request.query_state():
            targets[source.name].state = source.state.__class__(
                np.ascontiguousarray(source.state.data[:, :, kept])
            )
        other.append(self.positions[rows])
