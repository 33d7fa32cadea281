"""Many short continuations of one state as a tree, so that one pass scores them all.

Known from speculative decoding as tree attention (Miao et al., 2023, arxiv.org/abs/2305.09781).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# A row of the tree, and a token that may follow it.
Asked = tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """Tokens behind a state, each behind its parent. A row is the index of one of them."""

    token_ids: Sequence[int]
    """None of an image."""
    parents: Sequence[int]
    """Of each row: its parent, which comes before it; -1: the last token of the state."""
    hidden: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Of some rows: positions of the state that the row does not see."""

    def __len__(self) -> int:
        return len(self.token_ids)

    def depths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of the tree before each row, [rows]."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return np.array(depths, np.int64)

    def mask(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return what each row attends to, [rows, len(positions) + rows].

        The first columns are the tokens of the state, at `positions`; the others the tree's rows.
        """
        known, rows = len(positions), len(self)
        mask = np.zeros((rows, known + rows), np.bool_)
        mask[:, :known] = True
        for row, parent in enumerate(self.parents):
            if parent >= 0:
                mask[row, known:] = mask[parent, known:]
            mask[row, known + row] = True
        for row, hidden in self.hidden.items():
            mask[row, :known] &= ~np.isin(positions, list(hidden))
        return mask


def asked_rows(asked: Sequence[Asked]) -> list[int]:
    """Return the rows whose logits are needed, in order, each once."""
    return sorted({row for row, _ in asked})


def logprobs_of(
    logits: npt.NDArray[np.float32], rows: Sequence[int], asked: Sequence[Asked]
) -> list[float]:
    """Return the log probability of each asked token after its row.

    `logits`, [len(rows), vocabulary], are those after `rows`.
    """
    most = logits.max(-1)
    sums = np.exp(logits - most[:, None]).sum(-1, dtype=np.float64)
    norms = dict(zip(rows, (most + np.log(sums)).tolist(), strict=True))
    index = {row: each for each, row in enumerate(rows)}
    return [float(logits[index[row], token]) - norms[row] for row, token in asked]
