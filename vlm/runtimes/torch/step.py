"""The text model's pass over a few new tokens of several sequences, in a few fixed shapes.

On CUDA each shape is captured as a graph when it first occurs. A pass of a model this small is
hundreds of kernels of a few microseconds, which Python cannot launch as fast as they run. Capturing
by hand runs the pass twice; `torch.compile` would compile each shape first, while a person waits,
and needs a compiler that not every machine has.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from vlm.errors import first_line
from vlm.runtimes.base import Predicted
from vlm.runtimes.torch.slots import KVSlots

log = logging.getLogger("sightline")

# Tokens that a pass appends to each sequence: one for decoding, more for checking a draft.
WIDTHS: Final = (1, 8, 32)


@dataclass(frozen=True)
class Shape:
    """The first `rows` slots, `width` tokens for each, over `length` positions."""

    rows: int
    width: int
    length: int


@dataclass(frozen=True)
class Append:
    """`token_ids`, at most the greatest of WIDTHS, to follow the first `start` tokens in `slot`."""

    slot: int
    start: int
    token_ids: Sequence[int]


class StaticStep:
    """Runs passes over tensors whose addresses never change, as CUDA graphs need."""

    def __init__(self, model: Any, slots: KVSlots, device: torch.device) -> None:
        """`model` is an Idefics3 or SmolVLM model on `device`; the slots may grow in between."""
        self._text = model.model.text_model
        self._head = model.lm_head
        self._slots = slots
        self._device = device
        # [token ids and positions, slots, greatest width]
        self._inputs = torch.zeros((2, slots.count, WIDTHS[-1]), dtype=torch.int64, device=device)
        self._captures = device.type == "cuda"
        self._graphs: dict[Shape, _Graph | None] = {}
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def run(self, appends: Sequence[Append], want_logits: bool = False) -> list[Predicted]:
        """Write the tokens of each append into its slot, in one pass; predict after each token."""
        shape = self._shape(appends)
        self._inputs.copy_(self._host_inputs(appends))
        passed = (self._replay if self._captures else self._pass)(shape)
        ids = passed.ids.tolist()
        # Copied to the host: the next pass may overwrite the tensor.
        logits = passed.logits.float().cpu().numpy() if want_logits else None
        return [
            Predicted(
                ids[each.slot][: len(each.token_ids)],
                None if logits is None else logits[each.slot, : len(each.token_ids)],
            )
            for each in appends
        ]

    def forget_graphs(self) -> None:
        """Drop all graphs. Call it before the slots grow: graphs hold addresses of their memory."""
        self._graphs.clear()
        self._pool = None

    def _shape(self, appends: Sequence[Append]) -> Shape:
        widest = max(len(each.token_ids) for each in appends)
        return Shape(
            self._slots.rows(1 + max(each.slot for each in appends)),
            min(width for width in WIDTHS if width >= widest),
            self._slots.rounded(max(each.start + len(each.token_ids) for each in appends)),
        )

    def _host_inputs(self, appends: Sequence[Append]) -> torch.Tensor:
        inputs = torch.zeros(self._inputs.shape, dtype=torch.int64)
        # Unused rows and columns write to the position past the capacity, which nothing reads.
        inputs[1] = self._slots.capacity
        for each in appends:
            count = len(each.token_ids)
            inputs[0, each.slot, :count] = torch.tensor(each.token_ids)
            inputs[1, each.slot, :count] = torch.arange(each.start, each.start + count)
        return inputs

    def _pass(self, shape: Shape) -> _Passed:
        """Run one pass over `_inputs`: fixed shapes, no host reads of values."""
        token_ids, positions = self._inputs[:, : shape.rows, : shape.width]
        columns = torch.arange(shape.length, device=self._device)
        output = self._text(
            inputs_embeds=self._text.embed_tokens(token_ids),
            # A mask of four dimensions is used as it is, [rows, heads, width, length].
            attention_mask=(columns <= positions[..., None])[:, None],
            position_ids=positions,
            past_key_values=_Cache(self._slots, positions, shape.length),
            use_cache=True,
        )
        # In float32, as transformers' generate does, so that ties of coarser formats fall the same.
        logits: torch.Tensor = self._head(output.last_hidden_state)
        return _Passed(logits.float().argmax(-1), logits)

    def _replay(self, shape: Shape) -> _Passed:
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(shape)
        graph = self._graphs[shape]
        if graph is None:
            return self._pass(shape)
        graph.graph.replay()
        return graph.passed

    def _capture(self, shape: Shape) -> _Graph | None:
        """Return None if this device cannot capture; the shape then runs kernel by kernel."""
        with torch.cuda.device(self._device):
            # One pool for all: two never run at once, and outputs are read before the next pass.
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            # One plain pass first: libraries set up a stream at its first use, and too little
            # memory raises a clear error. The graph writes the same values again.
            with torch.cuda.stream(self._stream):
                self._pass(shape)
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            try:
                # torch's own context leaves its stream current if ending the capture fails.
                with (
                    torch.cuda.stream(torch.cuda.current_stream()),
                    torch.cuda.graph(graph, pool=self._pool, stream=self._stream),
                ):
                    passed = self._pass(shape)
            except RuntimeError as error:
                log.warning("%s runs without a CUDA graph: %s", shape, first_line(error))
                # A pool with a failed capture cannot hold another one.
                self._pool = None
                return None
            return _Graph(graph, passed)


@dataclass(frozen=True)
class _Passed:
    ids: torch.Tensor
    """[rows, width]: the argmax of `logits`."""
    logits: torch.Tensor
    """[rows, width, vocabulary]"""


@dataclass(frozen=True)
class _Graph:
    graph: Any
    passed: _Passed


class _Cache:
    """The part of a transformers cache that the layers call, over the first rows of the slots."""

    def __init__(self, slots: KVSlots, positions: torch.Tensor, length: int) -> None:
        self._slots, self._positions, self._length = slots, positions, length

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new ones at their positions; return all that the layer attends to."""
        self._slots.append(layer, self._positions, keys, values)
        return self._slots.read(layer, len(self._positions), self._length)
