"""Lines of JSON that were exported, read back with bounds."""

from __future__ import annotations

import base64
import binascii
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from PIL import Image

from vlm.errors import BadRequestError
from vlm.timeline import store
from vlm.timeline.pictures import MAX_BYTES, SIDE_PX
from vlm.timeline.spans import GapReason, Kind, Look

LINE_MAX_CHARS: Final = 200_000
_TEXT_MAX_CHARS: Final = 20_000
_MOST_TIME_S: Final = 1e11


@dataclass(frozen=True)
class ImportedMoment:
    """A moment of a file."""

    look: Look
    to_s: float
    kept: bool
    jpeg: bytes | None


@dataclass(frozen=True)
class ImportedGap:
    """A gap of a file."""

    camera: str
    source: str
    from_s: float
    to_s: float | None
    why: GapReason


@dataclass
class Imported:
    """How many moments and gaps were imported."""

    moments: int = 0
    gaps: int = 0
    # Moments and gaps that were there already.
    known: int = 0


def read_lines(lines: Iterable[str]) -> Iterator[ImportedMoment | ImportedGap]:
    """Yield what the lines of `write_jsonl` hold; raise BadRequestError that names a wrong line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > LINE_MAX_CHARS:
                raise ValueError(f"more than {LINE_MAX_CHARS} characters")
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise ValueError("no object")
            yield _gap(fields) if fields.get("type") == "gap" else _moment(fields)
        except (ValueError, RecursionError, KeyError) as error:
            raise BadRequestError(
                f"Line {number} is not one of a timeline's export ({error}). Nothing was imported."
            ) from None


def add_imported(
    connection: sqlite3.Connection, items: Iterable[ImportedMoment | ImportedGap]
) -> Imported:
    """Write `items`, without those that are there already; inside a transaction."""
    done = Imported()
    for item in items:
        if isinstance(item, ImportedGap):
            where, values = _same_gap(item)
            if connection.execute(f"SELECT 1 FROM gaps WHERE {where}", values).fetchone():
                done.known += 1
                continue
            store.insert_gap(connection, item.camera, item.source, item.from_s, item.to_s, item.why)
            done.gaps += 1
            continue
        look = item.look
        known = connection.execute(
            "SELECT 1 FROM moments WHERE from_s = ? AND to_s = ? AND kind = ? AND camera = ? "
            "AND text = ? AND deletion IS NULL",
            (look.at_s, item.to_s, look.kind, look.camera, look.text),
        ).fetchone()
        if known:
            done.known += 1
            continue
        moment = store.insert_moment(connection, look, item.to_s, item.kept)
        if item.jpeg is not None:
            store.insert_picture(connection, moment, item.jpeg)
        done.moments += 1
    return done


def _same_gap(gap: ImportedGap) -> tuple[str, tuple[object, ...]]:
    return (
        "from_s = ? AND to_s IS ? AND camera = ? AND why = ? AND deletion IS NULL",
        (gap.from_s, gap.to_s, gap.camera, gap.why),
    )


def _moment(fields: dict[str, Any]) -> ImportedMoment:
    sure = fields.get("sure")
    look = Look(
        at_s=_time(fields, "from"),
        text=_text(fields, "text"),
        kind=cast(Kind, _one_of(fields, "kind", get_args(Kind))),
        camera=_text(fields, "camera", ""),
        source=_text(fields, "source", ""),
        model=_text(fields, "model", ""),
        question=_text(fields, "question", ""),
        sure=None if sure is None else _number(fields, "sure", 0, 1),
        tags=_text(fields, "tags", ""),
        finish=_text(fields, "finish", "stop"),
    )
    to_s = _time(fields, "to")
    if to_s < look.at_s or not look.text:
        raise ValueError("it ends before it begins, or has no text")
    picture = fields.get("picture")
    return ImportedMoment(
        look, to_s, fields.get("kept") is True, None if picture is None else _jpeg(picture)
    )


def _gap(fields: dict[str, Any]) -> ImportedGap:
    from_s = _time(fields, "from")
    # One that lasted when it was exported ends here: its camera is another one now.
    to_s = from_s if fields.get("to") is None else _time(fields, "to")
    if to_s < from_s:
        raise ValueError("it ends before it begins")
    why = cast(GapReason, _one_of(fields, "why", get_args(GapReason)))
    return ImportedGap(_text(fields, "camera", ""), _text(fields, "source", ""), from_s, to_s, why)


def _jpeg(value: object) -> bytes:
    try:
        jpeg = base64.b64decode(cast(str, value), validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError("its picture is not in base64") from error
    wrong = f"its picture is no JPEG of at most {MAX_BYTES} bytes and {SIDE_PX} pixels"
    if len(jpeg) > MAX_BYTES:
        raise ValueError(wrong)
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            if max(image.size) > SIDE_PX:
                raise ValueError(wrong)
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(wrong) from error
    return jpeg


def _text(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or len(value) > _TEXT_MAX_CHARS:
        raise ValueError(f"{name} is no text, or too long")
    # Lone surrogates cannot be stored.
    return value.encode("utf-8", "replace").decode().replace("\0", " ")


def _one_of(fields: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = fields.get(name)
    if value not in allowed:
        raise ValueError(f"{name} is not one of {', '.join(allowed)}")
    return str(value)


def _time(fields: dict[str, Any], name: str) -> float:
    return _number(fields, name, 0, _MOST_TIME_S)


def _number(fields: dict[str, Any], name: str, low: float, high: float) -> float:
    value = fields.get(name)
    # NaN is in no range.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is no number from {low:g} to {high:g}")
    return float(value)
