"""The timeline's file: one SQLite database, its schema, and what can be wrong with it."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import platformdirs

from vlm.errors import TimelineError

FILE_NAME: Final = "timeline.sqlite3"
GAP_REASONS: Final = ("stopped", "hidden", "server", "camera", "model")

FaultCode = Literal[
    "disk_full", "read_only", "locked", "damaged", "newer", "in_use", "too_slow", "unusable"
]

_BUSY_S: Final = 10.0
# The first bytes of a file of SQLite, and where its header has the version of the schema.
_MAGIC: Final = b"SQLite format 3\0"
_VERSION_BYTES: Final = slice(60, 64)
_HEADER_BYTES: Final = 100

# Numbered by their place, from 1 on. They are only ever added to: a file of any older version is
# brought up to date by those that it lacks.
MIGRATIONS: Final = (
    """
    CREATE TABLE moments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        from_s REAL NOT NULL,
        to_s REAL NOT NULL CHECK (to_s >= from_s),
        kind TEXT NOT NULL CHECK (kind IN ('caption', 'answer', 'alert')),
        camera TEXT NOT NULL DEFAULT '',
        source TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        question TEXT NOT NULL DEFAULT '',
        text TEXT NOT NULL,
        sure REAL CHECK (sure BETWEEN 0 AND 1),
        tags TEXT NOT NULL DEFAULT '',
        finish TEXT NOT NULL DEFAULT 'stop',
        kept INTEGER NOT NULL DEFAULT 0 CHECK (kept IN (0, 1)),
        -- The number of the deletion that may still be undone.
        deletion INTEGER
    );
    CREATE INDEX moments_by_time ON moments (from_s, id);
    CREATE INDEX moments_by_camera ON moments (camera, to_s);
    CREATE INDEX moments_by_source ON moments (source, to_s);
    CREATE INDEX moments_deleted ON moments (deletion) WHERE deletion IS NOT NULL;
    CREATE TABLE pictures (
        moment INTEGER PRIMARY KEY REFERENCES moments ON DELETE CASCADE,
        jpeg BLOB NOT NULL CHECK (length(jpeg) <= 65536)
    );
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        moment INTEGER NOT NULL REFERENCES moments ON DELETE CASCADE,
        -- The model that made it; vectors of two models cannot be compared.
        space TEXT NOT NULL,
        vector BLOB NOT NULL
    );
    CREATE INDEX vectors_by_moment ON vectors (moment);
    CREATE TABLE things (
        moment INTEGER NOT NULL REFERENCES moments ON DELETE CASCADE,
        thing TEXT NOT NULL,
        attribute TEXT NOT NULL
    );
    CREATE INDEX things_by_name ON things (thing, attribute, moment);
    CREATE INDEX things_by_moment ON things (moment);
    CREATE TABLE gaps (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        from_s REAL NOT NULL,
        to_s REAL CHECK (to_s >= from_s),
        camera TEXT NOT NULL DEFAULT '',
        source TEXT NOT NULL DEFAULT '',
        why TEXT NOT NULL CHECK (why IN ('stopped', 'hidden', 'server', 'camera', 'model')),
        deletion INTEGER
    );
    CREATE INDEX gaps_by_time ON gaps (from_s);
    CREATE INDEX gaps_open ON gaps (camera) WHERE to_s IS NULL;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    -- A standing question is the same for all captions, and would be found in all of them.
    CREATE VIEW searchable AS
        SELECT id, text, CASE kind WHEN 'answer' THEN question ELSE '' END AS question, tags
        FROM moments;
    CREATE VIRTUAL TABLE words USING fts5 (
        text, question, tags, content = 'searchable', content_rowid = 'id',
        tokenize = 'porter unicode61 remove_diacritics 2'
    );
    CREATE VIRTUAL TABLE parts USING fts5 (
        text, question, tags, content = 'searchable', content_rowid = 'id', tokenize = 'trigram'
    );
    CREATE TRIGGER moment_added AFTER INSERT ON moments BEGIN
        INSERT INTO words (rowid, text, question, tags) VALUES
            (new.id, new.text, iif(new.kind = 'answer', new.question, ''), new.tags);
        INSERT INTO parts (rowid, text, question, tags) VALUES
            (new.id, new.text, iif(new.kind = 'answer', new.question, ''), new.tags);
    END;
    CREATE TRIGGER moment_deleted AFTER DELETE ON moments BEGIN
        INSERT INTO words (words, rowid, text, question, tags) VALUES
            ('delete', old.id, old.text, iif(old.kind = 'answer', old.question, ''), old.tags);
        INSERT INTO parts (parts, rowid, text, question, tags) VALUES
            ('delete', old.id, old.text, iif(old.kind = 'answer', old.question, ''), old.tags);
    END;
    CREATE TRIGGER moment_changed AFTER UPDATE OF text, question, tags, kind ON moments BEGIN
        INSERT INTO words (words, rowid, text, question, tags) VALUES
            ('delete', old.id, old.text, iif(old.kind = 'answer', old.question, ''), old.tags);
        INSERT INTO parts (parts, rowid, text, question, tags) VALUES
            ('delete', old.id, old.text, iif(old.kind = 'answer', old.question, ''), old.tags);
        INSERT INTO words (rowid, text, question, tags) VALUES
            (new.id, new.text, iif(new.kind = 'answer', new.question, ''), new.tags);
        INSERT INTO parts (rowid, text, question, tags) VALUES
            (new.id, new.text, iif(new.kind = 'answer', new.question, ''), new.tags);
    END;
    """,
    """
    -- Of files the camera of their moments is their path.
    CREATE TABLE files (
        path TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        modified_s REAL NOT NULL,
        content TEXT NOT NULL,
        until_s REAL
    ) WITHOUT ROWID;
    CREATE INDEX files_by_content ON files (content);
    CREATE TRIGGER file_deleted AFTER DELETE ON moments BEGIN
        DELETE FROM files WHERE path = old.camera
            AND NOT EXISTS (SELECT 1 FROM moments WHERE camera = old.camera);
    END;
    """,
)


@dataclass(frozen=True)
class Fault:
    """Why nothing is kept now."""

    code: FaultCode
    why: str
    """In a sentence, with what to do."""


class FaultError(TimelineError):
    """The file cannot be used; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.why)
        self.fault = fault


_WORDS: Final[dict[FaultCode, str]] = {
    "disk_full": "The disk is full. Free some space, or delete a part of the timeline.",
    "read_only": "The timeline's file cannot be written. Check the permissions of its folder.",
    "locked": "Another program holds the timeline's file. End that program.",
    "damaged": "The timeline's file is damaged. Move it away, and a new one is made.",
    "newer": "The timeline's file was made by a newer release. Install that release, or move the "
    "file away.",
    "in_use": "Another Sightline on this machine keeps its timeline in the same file. End it, or "
    "give this one another file (--timeline-file).",
    "too_slow": "The disk is too slow for the captions. Some of them were not kept.",
    "unusable": "The timeline's file cannot be opened.",
}


def fault(code: FaultCode) -> Fault:
    """Return the fault with its words."""
    return Fault(code, _WORDS[code])


def fault_of(error: Exception) -> Fault:
    """Return what an error of SQLite or of the system means.

    By its message: Python 3.10 gives no error codes.
    """
    if isinstance(error, FaultError):
        return error.fault
    text = str(error).lower()
    codes: tuple[tuple[str, FaultCode], ...] = (
        ("full", "disk_full"),
        ("no space", "disk_full"),
        ("readonly", "read_only"),
        ("permission", "read_only"),
        ("read-only", "read_only"),
        ("locked", "locked"),
        ("busy", "locked"),
        ("malformed", "damaged"),
        ("not a database", "damaged"),
    )
    return fault(next((code for words, code in codes if words in text), "unusable"))


def default_file() -> Path:
    """Return the file in $SIGHTLINE_DATA, else in this platform's folder for data of users."""
    if named := os.environ.get("SIGHTLINE_DATA"):
        return Path(named).expanduser() / FILE_NAME
    if sys.platform == "darwin":
        # platformdirs would prefer $XDG_DATA_HOME.
        return Path("~/Library/Application Support/sightline").expanduser() / FILE_NAME
    return platformdirs.user_data_path("sightline", appauthor=False) / FILE_NAME


def open_writer(file: Path) -> sqlite3.Connection:
    """Return a connection that may write, to a file of the newest version; it is made if absent.

    Raise FaultError. A file of a newer version, or of another kind, stays as it is.
    """
    _check_header(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            # What a camera saw is for the person who runs the server alone.
            with suppress(FileExistsError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = _connect(file)
    except (OSError, sqlite3.Error) as error:
        raise FaultError(fault_of(error)) from error
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(connection)
    except (sqlite3.Error, FaultError) as error:
        connection.close()
        raise FaultError(fault_of(error)) from error
    return connection


@contextmanager
def reader(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads. Raise FaultError, also for errors inside the block."""
    _check_header(file)
    try:
        connection = _connect(file)
    except sqlite3.Error as error:
        raise FaultError(fault_of(error)) from error
    try:
        connection.execute("PRAGMA query_only = ON")
        yield connection
    except sqlite3.Error as error:
        raise FaultError(fault_of(error)) from error
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the number of migrations that the file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _check_header(file: Path) -> None:
    """Raise FaultError if the file is of a newer version, or of another kind.

    SQLite is not asked: it might write to the file.
    """
    try:
        with file.open("rb") as opened:
            header = opened.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise FaultError(fault_of(error)) from error
    if header and (len(header) < _HEADER_BYTES or not header.startswith(_MAGIC)):
        raise FaultError(fault("damaged"))
    if int.from_bytes(header[_VERSION_BYTES], "big") > len(MIGRATIONS):
        raise FaultError(fault("newer"))


def _migrate(connection: sqlite3.Connection) -> None:
    if version_of(connection) == len(MIGRATIONS):
        return
    # Another process may migrate at the same time, so the version is read once more inside.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)
        if version > len(MIGRATIONS):
            raise FaultError(fault("newer"))
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`; a trigger has semicolons inside.

    `executescript` would commit each of them by itself.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
