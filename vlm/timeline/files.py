"""The files of which moments are kept: a file is known again, and goes on where it was."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple


class KnownFile(NamedTuple):
    """A file as it was when it was added."""

    size: int
    modified_s: float
    content: str
    """A hash."""
    until_s: float | None
    """A video was captioned up to here, in seconds; None: the file was added to its end."""


def find_file(connection: sqlite3.Connection, path: str) -> KnownFile | None:
    """Return what is known of a file; None if nothing of it is kept."""
    row = connection.execute(
        "SELECT size, modified_s, content, until_s FROM files WHERE path = ?", (path,)
    ).fetchone()
    return None if row is None else KnownFile(*row)


def has_content(connection: sqlite3.Connection, content: str) -> bool:
    """Return whether a file with this content was added to its end."""
    row = connection.execute(
        "SELECT 1 FROM files WHERE content = ? AND until_s IS NULL", (content,)
    ).fetchone()
    return row is not None


def set_file(
    connection: sqlite3.Connection,
    path: str,
    size: int,
    modified_s: float,
    content: str,
    until_s: float | None,
) -> None:
    """Write that a file was added up to `until_s`."""
    connection.execute(
        "INSERT OR REPLACE INTO files (path, size, modified_s, content, until_s) "
        "VALUES (?, ?, ?, ?, ?)",
        (path, size, modified_s, content, until_s),
    )


def forget_file(connection: sqlite3.Connection, path: str) -> None:
    """Delete a file and its moments."""
    connection.execute("DELETE FROM moments WHERE camera = ?", (path,))
    connection.execute("DELETE FROM files WHERE path = ?", (path,))


def last_moment(connection: sqlite3.Connection, path: str) -> tuple[int, str]:
    """Return id and text of the last moment of a file; 0 and an empty text if there is none."""
    row = connection.execute(
        "SELECT id, text FROM moments WHERE camera = ? AND deletion IS NULL "
        "ORDER BY to_s DESC, id DESC LIMIT 1",
        (path,),
    ).fetchone()
    return (0, "") if row is None else (int(row[0]), str(row[1]))


def prolong(connection: sqlite3.Connection, moment: int, to_s: float) -> None:
    """Let a moment last until `to_s` at least."""
    connection.execute("UPDATE moments SET to_s = max(to_s, ?) WHERE id = ?", (to_s, moment))


def camera_of(connection: sqlite3.Connection, moment: int) -> str | None:
    """Return the camera of a moment, which is the path of a file; None if there is no moment."""
    row = connection.execute(
        "SELECT camera FROM moments WHERE id = ? AND deletion IS NULL", (moment,)
    ).fetchone()
    return None if row is None else str(row[0])
