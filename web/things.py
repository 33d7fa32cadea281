"""`POST /api/boxes`, `/api/things` and `/api/text`: what the small models find in a picture."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, jsonify, request
from PIL import Image
from werkzeug.datastructures import MultiDict

from vlm.errors import BadRequestError, BusyError
from vlm.finder.finder import Finder, Thing
from vlm.prompts import clean_text
from vlm.reading.plausible import MAX_LINES
from web.picture_body import read_picture
from web.streaming import RETRY_AFTER_S, Admission, Place
from web.wsgi import watch_client

# Requests of one route in flight, from the reading of the picture on. A small model works on one
# picture at a time, so that more would only wait.
MAX_IN_FLIGHT: Final = 3
MAX_NAMES: Final = 16
MAX_NAME_CHARS: Final = 64

_NAME: Final = rf"[^,\ufffd]{{0,{MAX_NAME_CHARS}}}"
_NAMES: Final = rf"^{_NAME}(,{_NAME}){{0,{MAX_NAMES - 1}}}$"
# From so many lines on there may be more: some of MAX_LINES are not plausible and left out.
_MANY_LINES: Final = 80
_MANY_LINES_NOTE: Final = f"At most {MAX_LINES} lines are read, those of the largest letters."
_SCALES: Final = ("1", "1000")
_SCALE: Final[dict[str, Any]] = {
    "enum": list(_SCALES),
    "default": "1",
    "description": "Boxes in 0 to 1 of the upright picture, or in whole numbers from 0 to 1000.",
}


def _names_field(description: str) -> dict[str, Any]:
    rule = f"With commas between; at most {MAX_NAMES}, each of {MAX_NAME_CHARS} characters."
    return {
        "type": "string",
        "pattern": _NAMES,
        "description": f"{description} {rule}",
    }


# The fields of each route beside the picture, in JSON Schema: the reader below checks requests by
# them, and the OpenAPI document shows them.
BOXES_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "scale": _SCALE,
    "find": _names_field(
        "Only these things, by the words that people say: `cup`, `mug`, `fruit`. Names that the "
        "detector does not know come back in `unknown`."
    ),
    "phrases": _names_field(
        "What a detector without names of its own looks for; others ignore it."
    ),
}
THINGS_FIELDS: Final[Mapping[str, dict[str, Any]]] = {}
_MIRRORED: Final = ("0", "1")
TEXT_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "scale": _SCALE,
    "mirrored": {
        "enum": list(_MIRRORED),
        "default": "0",
        "description": "`1`: the camera mirrors its pictures; they are turned back to be read. "
        "Boxes are in the picture as it came.",
    },
}


@dataclass(frozen=True)
class FoundBox:
    """A thing in the picture; `box` is x0, y0, x1, y1 from the top left corner."""

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxesAnswer:
    """The boxes of a picture, the surest first."""

    boxes: tuple[FoundBox, ...]
    detector: str
    # Names of `find` that the detector does not know.
    unknown: tuple[str, ...]
    # Seconds of work, without the reading of the picture.
    total_s: float


@dataclass(frozen=True)
class ThingsAnswer:
    """The things in a picture, the likeliest first, and the place where it was made."""

    things: tuple[Thing, ...]
    place: str | None
    total_s: float


@dataclass(frozen=True)
class FoundLine:
    """A line of text; `box` as of a thing."""

    text: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class TextAnswer:
    """The lines of text in a picture, in reading order."""

    lines: tuple[FoundLine, ...]
    # Says that the picture has more lines than were read.
    note: str | None
    total_s: float


class _Fields(NamedTuple):
    scale: int
    find: tuple[str, ...]
    phrases: tuple[str, ...]
    is_mirrored: bool


def things_blueprint(finder: Finder, admission: Admission) -> Blueprint:
    """Return the routes over `finder`; they never wait for the model that captions."""
    blueprint = Blueprint("things", __name__)
    detector, classifier, reader = _Room("detector"), _Room("classifier"), _Room("reader")

    @blueprint.post("/api/boxes")
    def boxes() -> Response:
        with admission.place() as place, detector.place():
            image, fields = _read(BOXES_FIELDS, place)
            began_s = time.perf_counter()
            found = finder.boxes(image, fields.find, fields.phrases)
            kept = tuple(
                FoundBox(box.name, round(box.score, 4), _scaled(box_of, fields.scale))
                for box in found.boxes
                for box_of in [(box.x0, box.y0, box.x1, box.y1)]
            )
            return jsonify(BoxesAnswer(kept, found.detector, found.unknown, _since(began_s)))

    @blueprint.post("/api/things")
    def things() -> Response:
        with admission.place() as place, classifier.place():
            image, _ = _read(THINGS_FIELDS, place)
            began_s = time.perf_counter()
            found = finder.things(image)
            kept = tuple(
                replace(thing, probability=round(thing.probability, 4)) for thing in found.things
            )
            return jsonify(ThingsAnswer(kept, found.place, _since(began_s)))

    @blueprint.post("/api/text")
    def text() -> Response:
        with admission.place() as place, reader.place():
            image, fields = _read(TEXT_FIELDS, place)
            began_s = time.perf_counter()
            is_cancelled = watch_client(request.environ)
            lines = tuple(
                FoundLine(line.text, round(line.score, 4), _scaled(line.box, fields.scale))
                for line in finder.text(image, fields.is_mirrored, is_cancelled)
            )
            note = _MANY_LINES_NOTE if len(lines) >= _MANY_LINES else None
            return jsonify(TextAnswer(lines, note, _since(began_s)))

    return blueprint


class _Room:
    """Bounds the requests of one route, which do not queue behind captions or each other."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._places = threading.BoundedSemaphore(MAX_IN_FLIGHT)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for the block; raise BusyError if none is free."""
        if not self._places.acquire(blocking=False):
            raise BusyError(
                f"The {self._part} is busy. Try again in {RETRY_AFTER_S} s.", RETRY_AFTER_S
            )
        try:
            yield
        finally:
            self._places.release()


def _read(schema: Mapping[str, Any], place: Place) -> tuple[Image.Image, _Fields]:
    return read_picture(request, lambda values: _read_fields(values, schema), place)


def _read_fields(values: MultiDict[str, str], schema: Mapping[str, Any]) -> _Fields:
    """Return the first value of each field of `schema`, or its default; raises BadRequestError.

    All values of a field are checked: a wrong one is a mistake even if it has no effect.
    """
    scale = _choice("scale", values, schema, "1")
    mirrored = _choice("mirrored", values, schema, "0")
    names = {
        name: [_names(name, text) for text in values.getlist(name)] if name in schema else []
        for name in ("find", "phrases")
    }
    return _Fields(
        scale=int(scale),
        find=names["find"][0] if names["find"] else (),
        phrases=names["phrases"][0] if names["phrases"] else (),
        is_mirrored=mirrored == "1",
    )


def _choice(name: str, values: MultiDict[str, str], schema: Mapping[str, Any], default: str) -> str:
    """Return the first value of a field with few values; `default` without it."""
    if name not in schema:
        return default
    given = values.getlist(name)
    if any(value not in schema[name]["enum"] for value in given):
        raise BadRequestError(f"{name} must be one of: {', '.join(schema[name]['enum'])}.")
    return given[0] if given else default


def _names(field: str, text: str) -> tuple[str, ...]:
    """Return the names in `text`, which have commas between them; raises BadRequestError."""
    text = clean_text(text)
    if not re.fullmatch(_NAMES, text):
        raise BadRequestError(
            f"{field} must be at most {MAX_NAMES} names with commas between, each of at most "
            f"{MAX_NAME_CHARS} characters."
        )
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def _scaled(
    box: tuple[float, float, float, float], scale: int
) -> tuple[float, float, float, float]:
    digits = 4 if scale == 1 else None
    x0, y0, x1, y1 = (round(scale * value, digits) for value in box)
    return x0, y0, x1, y1


def _since(began_s: float) -> float:
    return round(time.perf_counter() - began_s, 4)
