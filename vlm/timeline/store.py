"""What is written to the timeline: each function takes a connection, inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from vlm.timeline.spans import GapReason, Look, Track, step
from vlm.timeline.things import things_of

DAY_S: Final = 86_400.0
# Moments that one step of the retention deletes: other writing goes on between two steps.
_BATCH: Final = 2000
# Retention by size goes on until so much of the limit is left.
_ROOM: Final = 0.95


def insert_moment(
    connection: sqlite3.Connection, look: Look, to_s: float | None = None, kept: bool = False
) -> int:
    """Insert a moment that begins with `look`, with its things; return its id."""
    cursor = connection.execute(
        "INSERT INTO moments (from_s, to_s, kind, camera, source, model, question, text, sure, "
        "tags, finish, kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            look.at_s,
            look.at_s if to_s is None else max(look.at_s, to_s),
            look.kind,
            look.camera,
            look.source,
            look.model,
            look.question,
            look.text,
            look.sure,
            look.tags,
            look.finish,
            kept,
        ),
    )
    moment = int(cursor.lastrowid or 0)
    if look.kind == "caption":
        connection.executemany(
            "INSERT INTO things (moment, thing, attribute) VALUES (?, ?, ?)",
            [(moment, *named) for named in things_of(look.text)],
        )
    return moment


def insert_picture(connection: sqlite3.Connection, moment: int, jpeg: bytes) -> None:
    """Insert the small picture of a moment."""
    connection.execute("INSERT INTO pictures (moment, jpeg) VALUES (?, ?)", (moment, jpeg))


def insert_vector(connection: sqlite3.Connection, moment: int, space: str, vector: bytes) -> None:
    """Insert a vector of a moment; `space` names the model that made it."""
    connection.execute(
        "INSERT INTO vectors (moment, space, vector) VALUES (?, ?, ?)", (moment, space, vector)
    )


def insert_gap(
    connection: sqlite3.Connection,
    camera: str,
    source: str,
    from_s: float,
    to_s: float | None,
    why: GapReason,
) -> int:
    """Insert a gap; without `to_s` it goes on until the camera's next look. Return its id."""
    cursor = connection.execute(
        "INSERT INTO gaps (from_s, to_s, camera, source, why) VALUES (?, ?, ?, ?, ?)",
        (from_s, to_s, camera, source, why),
    )
    return int(cursor.lastrowid or 0)


def find_track(connection: sqlite3.Connection, camera: str, source: str) -> Track:
    """Return the track of a camera that this process has not seen yet.

    A page has another name for its camera after each reload, so the source counts as well.
    """
    track = Track()
    row = connection.execute(
        "SELECT max(to_s) FROM moments WHERE kind = 'caption' AND deletion IS NULL "
        "AND (camera = ? OR (source = ? AND source <> ''))",
        (camera, source),
    ).fetchone()
    track.to_s = row[0]
    gap = connection.execute(
        "SELECT id, from_s FROM gaps WHERE to_s IS NULL AND deletion IS NULL "
        "AND (camera = ? OR (source = ? AND source <> '')) ORDER BY id DESC LIMIT 1",
        (camera, source),
    ).fetchone()
    if gap is not None:
        track.gap, track.gap_from_s = gap
    return track


def add_look(
    connection: sqlite3.Connection, track: Track, look: Look, started_s: float
) -> int | None:
    """Write a caption, and what it does to the track of its camera.

    Return the id of a new moment, None if the last one was prolonged.
    """
    decided = step(track, look, started_s)
    if decided.prolongs:
        cursor = connection.execute(
            "UPDATE moments SET to_s = max(to_s, ?) WHERE id = ? AND deletion IS NULL",
            (look.at_s, track.moment),
        )
        # It may have been deleted meanwhile.
        if cursor.rowcount == 1:
            track.to_s = max(look.at_s, track.to_s or look.at_s)
            return None
    if decided.closes_gap:
        connection.execute(
            "UPDATE gaps SET to_s = max(from_s, ?) WHERE id = ?", (look.at_s, track.gap)
        )
        track.gap = None
    if decided.gap is not None:
        insert_gap(connection, look.camera, look.source, *decided.gap)
    moment = insert_moment(connection, look)
    track.same, track.to_s, track.trouble = look.same, look.at_s, None
    # In a gap that lasts nothing can be prolonged.
    track.moment = moment if track.gap is None else None
    return moment


def add_gap(
    connection: sqlite3.Connection,
    track: Track,
    camera: str,
    source: str,
    from_s: float,
    to_s: float | None,
    why: GapReason,
) -> None:
    """Write a gap that the page reports; a second one while one is open changes nothing."""
    if track.gap is not None:
        if to_s is not None and to_s >= track.gap_from_s:
            connection.execute("UPDATE gaps SET to_s = ? WHERE id = ?", (to_s, track.gap))
            track.gap, track.to_s = None, to_s
        return
    # The last look was before the stop, whatever the page's clock says.
    begins_s = from_s if track.to_s is None else max(from_s, track.to_s)
    ends_s = None if to_s is None else max(begins_s, to_s)
    gap = insert_gap(connection, camera, source, begins_s, ends_s, why)
    track.moment = None
    if ends_s is None:
        track.gap, track.gap_from_s = gap, begins_s
    else:
        track.to_s = ends_s


def set_sure(connection: sqlite3.Connection, moment: int, sure: float) -> None:
    """Set how sure the model was of a moment's text, 0 to 1."""
    connection.execute("UPDATE moments SET sure = ? WHERE id = ?", (sure, moment))


def set_kept(connection: sqlite3.Connection, moment: int, kept: bool) -> bool:
    """Set whether the retention spares a moment; return whether there is one."""
    cursor = connection.execute(
        "UPDATE moments SET kept = ? WHERE id = ? AND deletion IS NULL", (kept, moment)
    )
    return cursor.rowcount == 1


def mark_deleted(
    connection: sqlite3.Connection,
    deletion: int,
    from_s: float | None = None,
    to_s: float | None = None,
    moment: int | None = None,
) -> int:
    """Mark a moment, or all moments and gaps that overlap a time, as deleted; return how many."""
    low = float("-inf") if from_s is None else from_s
    high = float("inf") if to_s is None else to_s
    if moment is not None:
        cursor = connection.execute(
            "UPDATE moments SET deletion = ? WHERE id = ? AND deletion IS NULL", (deletion, moment)
        )
        return cursor.rowcount
    cursor = connection.execute(
        "UPDATE moments SET deletion = ? WHERE deletion IS NULL AND from_s <= ? AND to_s >= ?",
        (deletion, high, low),
    )
    connection.execute(
        "UPDATE gaps SET deletion = ? WHERE deletion IS NULL AND from_s <= ? "
        "AND coalesce(to_s, from_s) >= ?",
        (deletion, high, low),
    )
    return cursor.rowcount


def undo_deletion(connection: sqlite3.Connection, deletion: int) -> int:
    """Take back a deletion; return how many moments are there again."""
    connection.execute("UPDATE gaps SET deletion = NULL WHERE deletion = ?", (deletion,))
    return connection.execute(
        "UPDATE moments SET deletion = NULL WHERE deletion = ?", (deletion,)
    ).rowcount


def purge(connection: sqlite3.Connection, deletions: Sequence[int] | None = None) -> int:
    """Delete what these deletions (None: any) have marked; return the number of moments."""
    where, values = "deletion IS NOT NULL", ()  # type: tuple[str, tuple[int, ...]]
    if deletions is not None:
        where = f"deletion IN ({', '.join('?' * len(deletions))})"
        values = tuple(deletions)
    connection.execute(f"DELETE FROM gaps WHERE {where}", values)
    return connection.execute(f"DELETE FROM moments WHERE {where}", values).rowcount


def delete_old(connection: sqlite3.Connection, before_s: float) -> bool:
    """Delete a batch of what ended before a time; return whether there may be more.

    Moments that a person keeps are spared.
    """
    connection.execute("DELETE FROM gaps WHERE coalesce(to_s, from_s) < ?", (before_s,))
    cursor = connection.execute(
        "DELETE FROM moments WHERE id IN (SELECT id FROM moments WHERE to_s < ? AND kept = 0 "
        "ORDER BY from_s LIMIT ?)",
        (before_s, _BATCH),
    )
    return cursor.rowcount > 0


def delete_surplus(connection: sqlite3.Connection, most_bytes: int) -> bool:
    """Delete the oldest moments by their share of the surplus; return whether any was.

    As for `delete_old`. The file has less only after `forget_deleted`.
    """
    size = used_bytes(connection)
    if size <= most_bytes:
        return False
    (total,) = connection.execute("SELECT count(*) FROM moments").fetchone()
    cursor = connection.execute(
        "DELETE FROM moments WHERE id IN (SELECT id FROM moments WHERE kept = 0 "
        "ORDER BY from_s LIMIT ?)",
        (max(1, int(total * (1 - _ROOM * most_bytes / size))),),
    )
    return cursor.rowcount > 0


def count_moments(connection: sqlite3.Connection) -> int:
    """Return the number of moments."""
    (count,) = connection.execute("SELECT count(*) FROM moments WHERE deletion IS NULL").fetchone()
    return int(count)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that are in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def forget_deleted(connection: sqlite3.Connection) -> bool:
    """Overwrite what was deleted, in the file and in its log; outside of a transaction.

    The indices of words have deleted words until their parts are merged. Return whether the log
    could be emptied, which a reader may prevent for a moment.
    """
    for index in ("words", "parts"):
        connection.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")
    connection.execute("VACUUM")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def read_settings(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the settings that are kept in the file."""
    return dict(connection.execute("SELECT name, value FROM settings"))


def write_settings(connection: sqlite3.Connection, values: Iterable[tuple[str, str]]) -> None:
    """Write settings over those of the same name."""
    connection.executemany("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", values)
