"""Vectors of moments: what a dual encoder says how near a query is to a picture."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Vector = npt.NDArray[np.float32]

_FIRST_ROWS: Final = 1024


class Meaning(Protocol):
    """A dual encoder: vectors of texts and of pictures that can be compared."""

    @property
    def space(self) -> str:
        """Its name; vectors of another one are not compared."""

    @property
    def floor(self) -> float:
        """Less similar than this is not relevant, as a cosine."""

    def embed_text(self, text: str) -> Vector | None:
        """Return a vector [d] of length 1 in float32; None if it cannot now."""

    def embed_image(self, image: Image.Image) -> Vector | None:
        """As `embed_text`, of an RGB picture; the timeline's writer thread calls it."""


class Vectors:
    """The vectors of all moments as one matrix, kept in step with the file."""

    def __init__(self) -> None:
        self.meaning: Meaning | None = None
        self._lock = threading.Lock()
        self._space = ""
        self._last_id = 0
        self._count = 0
        self._moments = np.zeros(0, np.int64)
        self._rows = np.zeros((0, 0), np.float32)

    def of_image(self, image: Image.Image) -> tuple[str, bytes] | None:
        """Return the space and the vector of `image` as float16; None without a dual encoder."""
        if self.meaning is None:
            return None
        vector = self.meaning.embed_image(image)
        return None if vector is None else (self.meaning.space, packed(vector))

    def of_text(self, text: str) -> Vector | None:
        """Return the vector of `text`; None without a dual encoder."""
        return None if self.meaning is None else self.meaning.embed_text(text)

    def of_moment(self, connection: sqlite3.Connection, moment: int) -> Vector | None:
        """Return the vector of a moment's picture; None if there is none of this dual encoder."""
        if self.meaning is None:
            return None
        row = connection.execute(
            "SELECT vector FROM vectors JOIN moments ON moments.id = moment "
            "WHERE moment = ? AND space = ? AND deletion IS NULL",
            (moment, self.meaning.space),
        ).fetchone()
        return None if row is None else unpacked(row[0])

    def nearest(
        self, connection: sqlite3.Connection, vector: Vector, most: int, floor: float | None = None
    ) -> list[tuple[int, float]]:
        """Return moments with their cosine to `vector`, the nearest first.

        Those that were deleted may be among them. `floor`: as that of the dual encoder.
        """
        if self.meaning is None:
            return []
        least = self.meaning.floor if floor is None else floor
        with self._lock:
            self._read_new(connection, self.meaning.space, len(vector))
            moments, rows = self._moments[: self._count], self._rows[: self._count]
        if not len(moments):
            return []
        cosines = rows @ vector.astype(np.float32)
        chosen = np.flatnonzero(cosines >= least)
        if len(chosen) > most:
            chosen = chosen[np.argpartition(-cosines[chosen], most - 1)[:most]]
        # Of equals the newest first.
        order = sorted(chosen, key=lambda at: (-cosines[at], -moments[at]))
        return [(int(moments[at]), float(cosines[at])) for at in order]

    def _read_new(self, connection: sqlite3.Connection, space: str, width: int) -> None:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM vectors").fetchone()
        if space != self._space or self._rows.shape[1] != width or last < self._last_id:
            self._space, self._last_id, self._count = space, 0, 0
            self._moments = np.zeros(_FIRST_ROWS, np.int64)
            self._rows = np.zeros((_FIRST_ROWS, width), np.float32)
        if last == self._last_id:
            return
        found = connection.execute(
            "SELECT moment, vector FROM vectors WHERE id > ? AND id <= ? AND space = ?",
            (self._last_id, last, space),
        ).fetchall()
        self._last_id = last
        new = [(moment, unpacked(each)) for moment, each in found]
        new = [(moment, each) for moment, each in new if len(each) == width]
        self._grow(self._count + len(new))
        for moment, each in new:
            self._moments[self._count], self._rows[self._count] = moment, each
            self._count += 1

    def _grow(self, rows: int) -> None:
        """Make room; readers of the old arrays keep them."""
        if rows <= len(self._moments):
            return
        more = max(rows, 2 * len(self._moments)) - len(self._moments)
        self._moments = np.concatenate([self._moments, np.zeros(more, np.int64)])
        self._rows = np.concatenate([self._rows, np.zeros((more, self._rows.shape[1]), np.float32)])


def packed(vector: Vector) -> bytes:
    """Return `vector` as it is stored: float16, little-endian."""
    return vector.astype("<f2").tobytes()


def unpacked(stored: bytes) -> Vector:
    """Return the vector of `packed`."""
    return np.frombuffer(stored, "<f2").astype(np.float32)


def fuse(rankings: Sequence[Sequence[int]], constant: int = 60) -> dict[int, float]:
    """Return the reciprocal rank fusion of rankings: the sum of 1 / (constant + rank) for each.

    Cormack, Clarke and Buettcher, SIGIR 2009.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + 1 / (constant + rank)
    return scores
