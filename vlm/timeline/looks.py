"""Captions and answers as they come, written as moments and gaps; for the writer thread alone."""

from __future__ import annotations

import sqlite3
from typing import Final

from vlm.timeline import store
from vlm.timeline.meaning import Vectors
from vlm.timeline.pictures import small_picture
from vlm.timeline.spans import GapReason, Look, Track

_MOST_RECENT: Final = 64


class Looks:
    """The cameras that have been seen, each with its last moment."""

    def __init__(self, started_s: float, vectors: Vectors) -> None:
        """`started_s`: since when this server could have kept moments."""
        self._started_s = started_s
        self._vectors = vectors
        self._tracks: dict[str, Track] = {}
        # The moments of the last looks, by camera and time.
        self._recent: dict[tuple[str, float], int] = {}

    def forget(self) -> None:
        """Read the tracks anew: what was written last may not be there."""
        self._tracks.clear()
        self._recent.clear()

    def add(self, connection: sqlite3.Connection, look: Look, with_picture: bool) -> None:
        """Write a caption or an answer."""
        track = None
        if look.kind == "caption":
            track = self._track(connection, look.camera, look.source)
            new = store.add_look(connection, track, look, self._started_s)
        else:
            new = store.insert_moment(connection, look)
        moment = track.moment if new is None and track is not None else new
        if moment is not None:
            self._recent[look.camera, look.at_s] = moment
        if len(self._recent) > _MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        if new is None or look.image is None:
            return
        jpeg = small_picture(look.image) if with_picture else None
        if jpeg is not None:
            store.insert_picture(connection, new, jpeg)
        vector = self._vectors.of_image(look.image)
        if vector is not None:
            store.insert_vector(connection, new, *vector)

    def add_gap(
        self,
        connection: sqlite3.Connection,
        camera: str,
        why: GapReason,
        source: str,
        from_s: float,
        to_s: float | None,
    ) -> None:
        """Write a gap that the page reports."""
        track = self._track(connection, camera, source)
        store.add_gap(connection, track, camera, source, from_s, to_s, why)

    def add_trouble(self, connection: sqlite3.Connection, camera: str) -> None:
        """Remember that a caption failed."""
        self._track(connection, camera, "").trouble = "model"

    def add_sure(
        self, connection: sqlite3.Connection, look: tuple[str, float], sure: float
    ) -> None:
        """Set how sure the model was of a recent look."""
        if look in self._recent:
            store.set_sure(connection, self._recent[look], sure)

    def _track(self, connection: sqlite3.Connection, camera: str, source: str) -> Track:
        track = self._tracks.get(camera)
        if track is None:
            track = self._tracks[camera] = store.find_track(connection, camera, source)
        return track
