"""Keys and values of several sequences in one block of memory whose address stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from weakref import ref

import torch

_KEYS, _VALUES = 0, 1
# A step for eight reads the weights once, as a step for one does.
SLOTS: Final = 8
# The smallest room for a sequence; longer rooms double it. A tile, its prompt and a caption fit. A
# step attends to a room of this length, so that its time follows the real length, while the number
# of lengths, each with graphs of its own, stays small. An 8192-token context for eight sequences
# would be 1.5 GB of SmolVLM-256M's keys and values in bfloat16; this is 47 MB.
BLOCK_TOKENS: Final = 256


class StaticKVState:
    """A `KVState` that lies in a slot while it is being appended to, else in a tensor of its own.

    That tensor is `parked`, [layers, 2, heads, tokens, head size]; its first `length` tokens count.
    """

    def __init__(self, parked: torch.Tensor, length: int) -> None:
        self.length = length
        self.parked: torch.Tensor | None = parked
        self.slot: int | None = None
        layers, pair, heads, _, head_size = parked.shape
        self._bytes_per_token = layers * pair * heads * head_size * parked.itemsize

    @property
    def nbytes(self) -> int:
        """Memory in bytes; in a slot, what a tensor of its own would take."""
        return self.length * self._bytes_per_token if self.parked is None else self.parked.nbytes


class KVSlots:
    """Slots for the sequences of a pass. A slot is evicted only when another sequence needs it.

    `memory`, [layers, 2, slots, heads, capacity + 1, head size], changes its address only in
    `grow`. The one position past the capacity is where padding is written; nothing reads it.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        head_size: int,
        slots: int,
        block_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocate nothing before the first `grow`; capacities are `block_tokens` times 2^n."""
        self.count = slots
        self.capacity = 0
        self.memory = torch.empty(
            (layers, 2, slots, heads, 0, head_size), dtype=dtype, device=device
        )
        self._block_tokens = block_tokens
        self._owners: list[ref[StaticKVState] | None] = [None] * slots

    def rounded(self, tokens: int) -> int:
        """Return the smallest length `block_tokens` * 2^n that has room for `tokens`."""
        length = self._block_tokens
        while length < tokens:
            length *= 2
        return length

    def rows(self, sequences: int) -> int:
        """Return the smallest power of two of slots, at most all, that holds so many sequences."""
        rows = 1
        while rows < sequences:
            rows *= 2
        return min(rows, self.count)

    def grow(self, tokens: int) -> None:
        """Make room for `tokens` in each slot; the contents of the slots stay."""
        capacity = self.rounded(tokens)
        *outer, _, head_size = self.memory.shape
        memory = self.memory.new_zeros((*outer, capacity + 1, head_size))
        memory[..., : self.capacity, :] = self.memory[..., : self.capacity, :]
        self.memory, self.capacity = memory, capacity

    def seat(self, states: Sequence[StaticKVState]) -> list[int]:
        """Return slots for `states`, none longer than the capacity.

        They are among the first `rows(len(states))`, so that a pass over few sequences reads few
        slots, however many others are kept.
        """
        rows = self.rows(len(states))
        taken = {state.slot for state in states}
        vacant = [slot for slot in range(rows) if slot not in taken]
        slots = []
        for state in states:
            slot = state.slot
            if slot is None or slot >= rows:
                slot = vacant.pop(0)
                self._move(state, slot)
            slots.append(slot)
        return slots

    def truncate(self, state: StaticKVState, length: int) -> None:
        """Drop all but the first `length` tokens of `state`."""
        if state.slot is not None:
            # A mask hides them, but a NaN among them would pass through any mask.
            self.memory[:, :, state.slot, :, length : state.length].zero_()
        state.length = length

    def fork(self, state: StaticKVState, length: int) -> StaticKVState:
        """Return a parked state with the first `length` tokens of `state`."""
        return StaticKVState(self._tokens(state, length).clone(), length)

    def append(
        self, layer: int, positions: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> None:
        """Write `keys` and `values`, [rows, heads, width, head size], into the first rows' slots.

        `positions`, [rows, width], says where in its slot each token goes.
        """
        rows = len(positions)
        index = positions[:, None, :, None].expand_as(keys)
        self.memory[layer, _KEYS, :rows].scatter_(2, index, keys)
        self.memory[layer, _VALUES, :rows].scatter_(2, index, values)

    def read(self, layer: int, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the first `rows` slots, [rows, heads, length, head size], in place."""
        keys, values = self.memory[layer, :, :rows, :, :length]
        return keys, values

    def _tokens(self, state: StaticKVState, length: int) -> torch.Tensor:
        if state.parked is not None:
            return state.parked[..., :length, :]
        return self.memory[:, :, state.slot, :, :length]

    def _move(self, state: StaticKVState, slot: int) -> None:
        """Put `state` into `slot`; park the state that is there, if it is still in use."""
        owner_ref = self._owners[slot]
        owner = owner_ref() if owner_ref is not None else None
        if owner is not None and owner.slot == slot:
            owner.parked, owner.slot = self._tokens(owner, owner.length).clone(), None
        # As in `truncate`: old values of the slot must not be NaN.
        self.memory[:, :, slot].zero_()
        self.memory[:, :, slot, :, : state.length] = self._tokens(state, state.length)
        self._owners[slot] = ref(state)
        state.parked, state.slot = None, slot
