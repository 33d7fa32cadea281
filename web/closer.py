"""`POST /api/hiding`, `/api/patches` and `/api/where`: parts of a picture, and what they show."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request
from PIL import Image
from werkzeug.datastructures import MultiDict

from vlm.errors import (
    BadRequestError,
    NotReadyError,
    NotSupportedError,
    PartFailedError,
    PartOffError,
    SwitchingError,
)
from vlm.finder.finder import Finder
from vlm.images.frame import Frame
from vlm.prompts import CHAT_MAX_CHARS, TEXT_PATTERN, clean_text
from vlm.results import EngineInfo, Hidden, Looked, LookWord, Patched, Result, Scored
from vlm.scheduler.worker import Worker
from vlm.scoring.looks import core_of, looks_of, pointed_cells
from vlm.scoring.patches import likeness
from vlm.scoring.where import (
    MAX_PHRASE_CHARS,
    By,
    WhereBox,
    WhereQuestion,
    boxes_of,
    read_phrase,
)
from vlm.types import HideTask, LookTask, PatchTask, Task
from web.caption_fields import FIELDS, CaptionFields, read_caption_fields
from web.picture_body import read_picture
from web.streaming import Admission, run_task, running_model

MAX_CELLS: Final = 4096

_DIGITS: Final = 4
_SHARED_FIELDS: Final = {name: FIELDS[name] for name in ("detail", "camera")}
_CELLS: Final = r"^[0-9]{1,6}(,[0-9]{1,6})*$"
_NUMBER: Final = re.compile(r"[0-9]{1,6}")
# Anything else that `float` reads, such as "nan", is no share.
_SHARE: Final = re.compile(r"[0-9.eE+-]{1,32}")


def _place(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": CHAT_MAX_CHARS, "description": description}


# The fields of each route beside the picture, in JSON Schema.
HIDING_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    **{name: FIELDS[name] for name in ("prompt", "preset", "turns")},
    "text": {
        "type": "string",
        "minLength": 1,
        "maxLength": CHAT_MAX_CHARS,
        "pattern": TEXT_PATTERN,
        "description": "The answer.",
    },
    "start": _place("Where the word begins in `text`, in characters."),
    "end": _place("Where it ends."),
    "cells": {
        "type": "string",
        "pattern": _CELLS,
        "description": "The cells of `grid` to hide, with commas between, row by row from the top "
        "left corner. Absent: those that the word looked at.",
    },
    **_SHARED_FIELDS,
}
PATCHES_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    name: {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.5,
        "description": f"A place in the upright picture, 0 to 1 from its {side}.",
    }
    for name, side in (("x", "left side"), ("y", "top"))
} | _SHARED_FIELDS


WHERE_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "phrase": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_PHRASE_CHARS,
        "description": "The name of a thing, such as `red cup`.",
    },
    **_SHARED_FIELDS,
}


@dataclass(frozen=True)
class HidingAnswer:
    """The probability of a word, 0 to 1, with the whole picture and without some cells."""

    before: float
    after: float
    # Those that were hidden.
    cells: tuple[int, ...]
    # Rows and columns of all. (Of any length here and below: schemathesis 4.32 cannot read the
    # schema of a pair.)
    grid: tuple[int, ...]
    # Seconds of the model's work.
    total_s: float


@dataclass(frozen=True)
class PatchesAnswer:
    """How alike each patch of a picture is to one of them, and what the model sees of it."""

    # Rows and columns of patches.
    grid: tuple[int, ...]
    # 0 to 255 for each patch, row by row from the top left corner.
    map: tuple[int, ...]
    # Width and height of all tiles together.
    size_px: tuple[int, ...]
    # Those that the picture is cut into, and the image tokens of a prompt.
    tiles: int
    tokens: int
    total_s: float


@dataclass(frozen=True)
class FoundPlace:
    """Where a thing is; `box` is x0, y0, x1, y1 in 0 to 1, from the top left corner."""

    box: tuple[float, ...]
    # 0 to 1, that the thing is there.
    score: float
    by: By


@dataclass(frozen=True)
class WhereAnswer:
    """The boxes of a thing, the surest first; none if it is not there, or not known."""

    boxes: tuple[FoundPlace, ...]
    # False if the model was not taught this word, so that it cannot tell.
    known: bool
    # Seconds of work.
    total_s: float


@dataclass(frozen=True)
class _Hide:
    fields: CaptionFields
    text: str
    start: int
    end: int
    cells: tuple[int, ...] | None


def closer_blueprint(worker: Worker, finder: Finder, admission: Admission) -> Blueprint:
    """Return the routes over a started `worker`; `finder` knows where some things are."""
    blueprint = Blueprint("closer", __name__)

    @blueprint.post("/api/hiding")
    def hiding() -> Response:
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            image, asked = read_picture(request, _read_hide, place)
            fields, model = asked.fields, running_model(worker)
            frame = Frame(image, fields.camera)
            detail = fields.detail or "low"
            chat = frame.request(fields.prompt, 1, detail, turns=fields.turns)
            messages = chat.answer_task.messages
            cells, looking_s = asked.cells, 0.0
            if cells is None:
                task = LookTask(messages, asked.text, detail)
                looked = run_task(task, frame, worker, admission, held)
                if not isinstance(looked, Looked):
                    return Response()
                cells, looking_s = _pointed(asked, looked), looked.stats.total_s
            hide = HideTask(messages, asked.text, asked.start, asked.end, ((), cells), detail)
            hidden = run_task(hide, frame, worker, admission, held)
            if not isinstance(hidden, Hidden):
                return Response()
            _check_same(worker, model)
            before, after = (round(math.exp(each), _DIGITS) for each in hidden.logprobs)
            total_s = round(looking_s + hidden.stats.total_s, _DIGITS)
            return jsonify(HidingAnswer(before, after, cells, hidden.grid, total_s))

    @blueprint.post("/api/patches")
    def patches() -> Response:
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            image, (x, y, fields) = read_picture(request, _read_place, place)
            detail = fields.detail or "low"
            frame = Frame(image, fields.camera)
            found = run_task(PatchTask(image, detail), frame, worker, admission, held)
            if not isinstance(found, Patched) or found.features is None:
                return Response()
            rows, columns, _ = found.features.shape
            tile_rows, tile_columns = found.tiles
            tiles = tile_rows * tile_columns
            return jsonify(
                PatchesAnswer(
                    (rows, columns),
                    tuple(likeness(found.features, x, y).ravel().tolist()),
                    (tile_columns * found.side_px, tile_rows * found.side_px),
                    # Beside several, the whole picture is one more.
                    tiles + (tiles > 1),
                    found.tokens,
                    round(found.stats.total_s, _DIGITS),
                )
            )

    @blueprint.post("/api/where")
    def where() -> Response:
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            image, (phrase, fields) = read_picture(request, _read_phrase, place)
            began_s = time.perf_counter()
            boxes = _detected(finder, image, phrase)
            total_s = time.perf_counter() - began_s
            if boxes:
                return jsonify(_where(boxes, total_s))
            model = running_model(worker)
            frame = Frame(image, fields.camera)
            question = WhereQuestion(image, phrase, model.model, fields.detail or "low")
            if not question.is_known:
                return jsonify(_where((), total_s, known=False))

            def run(task: Task) -> Result | None:
                nonlocal total_s
                result = run_task(task, frame, worker, admission, held)
                total_s += 0.0 if result is None else result.stats.total_s
                return result

            scored = run(question.is_there)
            if not isinstance(scored, Scored):
                return Response()
            probability = question.probability(scored)
            if probability is None:
                return jsonify(_where((), total_s))
            looked = run(question.looks)
            if not isinstance(looked, Looked):
                return Response()
            features = None
            with suppress(NotSupportedError):
                patched = run(question.patches)
                if not isinstance(patched, Patched):
                    return Response()
                features = patched.features
            _check_same(worker, model)
            return jsonify(_where(boxes_of(looked, features, probability), total_s))

    return blueprint


def _check_same(worker: Worker, model: EngineInfo) -> None:
    """Raise SwitchingError if another model runs now: its parts of an answer would not fit."""
    if worker.info != model:
        raise SwitchingError("The model was changed meanwhile. Try again.")


def _detected(finder: Finder, image: Image.Image, phrase: str) -> tuple[WhereBox, ...]:
    """Return the detector's boxes; none if it does not know the name, or is off."""
    try:
        found = finder.boxes(image, [phrase])
    except (PartOffError, PartFailedError, NotReadyError):
        return ()
    boxes = (
        WhereBox((each.x0, each.y0, each.x1, each.y1), each.score, "detector")
        for each in found.boxes
    )
    return tuple(sorted(boxes, key=lambda each: -each.score))


def _where(boxes: Sequence[WhereBox], total_s: float, known: bool = True) -> WhereAnswer:
    places = (
        FoundPlace(
            tuple(round(side, _DIGITS) for side in each.box), round(each.score, _DIGITS), each.by
        )
        for each in boxes
    )
    return WhereAnswer(tuple(places), known, round(total_s, _DIGITS))


def _pointed(asked: _Hide, looked: Looked) -> tuple[int, ...]:
    """Return the cells that the word looked at; raises BadRequestError if that is not known."""
    looks = looks_of(asked.text, looked)
    words: tuple[LookWord, ...] = () if looks is None else looks.words
    for word in words:
        if word.start < asked.end and asked.start < word.end:
            return pointed_cells(word)
    raise BadRequestError("What this word looked at is not known. Send `cells`.")


def _read_hide(values: MultiDict[str, str]) -> _Hide:
    text = clean_text(values.get("text", ""))
    if not text.strip():
        raise BadRequestError("text must be the answer that the word is in.")
    start, end = (_whole(name, values) for name in ("start", "end"))
    if not 0 <= start < end <= len(text):
        raise BadRequestError(
            f"start and end must be a place in text, which has {len(text)} characters."
        )
    lead = len(text) - len(text.lstrip())
    text = text.strip()
    core = core_of(text, max(start - lead, 0), max(end - lead, 0))
    if core is None:
        raise BadRequestError("There is no word in text from start to end.")
    cells: tuple[int, ...] | None = None
    if "cells" in values:
        if not re.fullmatch(_CELLS, values["cells"]):
            raise BadRequestError("cells must be whole numbers with commas between.")
        cells = tuple(dict.fromkeys(map(int, values["cells"].split(","))))
        if len(cells) > MAX_CELLS:
            raise BadRequestError(f"cells has {len(cells)} numbers; at most {MAX_CELLS} are taken.")
    return _Hide(read_caption_fields(values), text, *core, cells)


def _read_place(values: MultiDict[str, str]) -> tuple[float, float, CaptionFields]:
    found = []
    for name in ("x", "y"):
        text = values.get(name, "0.5")
        try:
            value = float(text) if _SHARE.fullmatch(text) else -1.0
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise BadRequestError(f"{name} must be a number from 0 to 1, such as 0.5.")
        found.append(value)
    return found[0], found[1], read_caption_fields(values)


def _read_phrase(values: MultiDict[str, str]) -> tuple[str, CaptionFields]:
    return read_phrase(values.get("phrase", "")), read_caption_fields(values)


def _whole(name: str, values: MultiDict[str, str]) -> int:
    text = values.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise BadRequestError(f"{name} must be a whole number of characters.")
    return int(text)
