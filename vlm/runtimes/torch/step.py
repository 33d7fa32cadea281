"""The text model's pass over a few new tokens of several sequences, in few fixed shapes.

On CUDA each shape is captured as a graph when it is first met. A pass of this small a model is
hundreds of kernels of a few microseconds, which Python cannot launch as fast as they run.
Capturing by hand runs the pass twice; `torch.compile` would compile each shape first, while a
person waits, and asks for a compiler that not every machine has.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from vlm.runtimes.torch.slots import KVSlots

log = logging.getLogger("sightline")

# How many tokens a pass appends to each sequence: one while decoding, more while checking a draft.
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
    """`run` gives what the model chooses; its tensors stay where they are, whatever it is asked."""

    def __init__(self, model: Any, slots: KVSlots, device: torch.device) -> None:
        """`model` is an Idefics3 or SmolVLM model on `device`; the slots may grow in between."""
        self._text = model.model.text_model
        self._head = model.lm_head
        self._slots = slots
        self._device = device
        self.logits = torch.zeros(0, device=device)
        """Those of the last pass, [rows, width, vocabulary]; the next one may overwrite them."""
        # [token ids and positions, slots, greatest width]
        self._inputs = torch.zeros((2, slots.count, WIDTHS[-1]), dtype=torch.int64, device=device)
        self._captures = device.type == "cuda"
        self._graphs: dict[Shape, _Graph | None] = {}
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def run(self, appends: Sequence[Append]) -> list[list[int]]:
        """Write each one's tokens into its slot, in one pass; the choice after each of them."""
        shape = self._shape(appends)
        self._inputs.copy_(self._host_inputs(appends))
        passed = (self._replay if self._captures else self._pass)(shape)
        self.logits = passed.logits
        chosen = passed.choices.tolist()
        return [chosen[each.slot][: len(each.token_ids)] for each in appends]

    def forget_graphs(self) -> None:
        """To be called before the slots grow: graphs hold the addresses of what they read."""
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
        # Where rows and columns that nobody asked for write what nobody reads.
        inputs[1] = self._slots.capacity
        for each in appends:
            count = len(each.token_ids)
            inputs[0, each.slot, :count] = torch.tensor(each.token_ids)
            inputs[1, each.slot, :count] = torch.arange(each.start, each.start + count)
        return inputs

    def _pass(self, shape: Shape) -> _Passed:
        """One pass over `_inputs`: fixed shapes, and no look at any value."""
        token_ids, positions = self._inputs[:, : shape.rows, : shape.width]
        columns = torch.arange(shape.length, device=self._device)
        output = self._text(
            inputs_embeds=self._text.embed_tokens(token_ids),
            # One of four dimensions is taken as it is, [rows, heads, width, length].
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
        """None where this device cannot; such a shape is run kernel by kernel from then on."""
        with torch.cuda.device(self._device):
            # All in one pool: never do two run at once, and what comes out is read before the next.
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            # Once as it is, for what libraries set up for a stream when it is first used, and for
            # an honest error where memory is short. It writes what the graph will write again.
            with torch.cuda.stream(self._stream):
                self._pass(shape)
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            try:
                # torch's own context leaves its stream current where ending the capture fails.
                with (
                    torch.cuda.stream(torch.cuda.current_stream()),
                    torch.cuda.graph(graph, pool=self._pool, stream=self._stream),
                ):
                    passed = self._pass(shape)
            except RuntimeError as error:
                log.warning("%s runs without a CUDA graph: %s", shape, str(error).splitlines()[0])
                # What a broken capture leaves of its pool is no place for another.
                self._pool = None
                return None
            return _Graph(graph, passed)


@dataclass(frozen=True)
class _Passed:
    """`choices`, [rows, width], out of `logits`, [rows, width, vocabulary]."""

    choices: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class _Graph:
    graph: Any
    passed: _Passed


class _Cache:
    """What the layers of a transformers model ask of a cache, over the first rows of the slots."""

    def __init__(self, slots: KVSlots, positions: torch.Tensor, length: int) -> None:
        self._slots, self._positions, self._length = slots, positions, length

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new ones at their positions; all that the layer then attends to."""
        self._slots.append(layer, self._positions, keys, values)
        return self._slots.read(layer, len(self._positions), self._length)
