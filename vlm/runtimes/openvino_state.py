"""Keys and values as OpenVINO holds them: inside an inference request, one for each sequence."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# The CPU plugin makes room for as many rows again whenever it runs out of them.
_ROOM: Final = 2


class OpenVinoKVState:
    """Rows of keys and values in `request`, of which those of rejected tokens are masked out.

    Taking rows away would mean to copy all of the others; a masked one only takes part in a sum
    with a weight of zero.
    """

    def __init__(self, request: Any, bytes_per_row: int) -> None:
        """`request` has been fed nothing; each token adds `bytes_per_row`."""
        self.request = request
        self._bytes_per_row = bytes_per_row
        self._counts: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.length = 0

    @property
    def nbytes(self) -> int:
        """The memory that the request keeps for it, rejected tokens and spare room included."""
        return len(self._counts) * self._bytes_per_row * _ROOM

    def mask(self, new: int) -> npt.NDArray[np.bool_]:
        """What each of `new` tokens attends to, [1, 1, new, rows + new]: all before it, itself."""
        rows = len(self._counts)
        mask = np.empty((1, 1, new, rows + new), np.bool_)
        mask[..., :rows] = self._counts
        mask[..., rows:] = np.tri(new, dtype=np.bool_)
        return mask

    def append(self, new: int, spare: int = 0) -> None:
        """The request has been fed `new` tokens, and `spare` rows after them that do not count."""
        self._counts = np.concatenate([self._counts, np.arange(new + spare) < new])
        self.length += new

    def truncate(self, length: int) -> None:
        """Mask out all but the first `length` tokens."""
        self._counts[self._rows()[length:]] = False
        self.length = min(length, self.length)

    def copy_to(self, other: OpenVinoKVState, length: int) -> None:
        """Fill `other`, which has been fed nothing, with the first `length` tokens."""
        rows = self._rows()[:length]
        # A slice is copied at once, single rows are not.
        is_prefix = len(rows) == 0 or rows[-1] == len(rows) - 1
        kept = slice(len(rows)) if is_prefix else rows
        states = {each.name: each for each in other.request.query_state()}
        for each in self.request.query_state():
            states[each.name].state = each.state.__class__(
                np.ascontiguousarray(each.state.data[:, :, kept])
            )
        other.append(len(rows))

    def _rows(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self._counts)
