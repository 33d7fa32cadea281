"""`POST /api/labels` and `/api/aspects`: how likely the model finds given labels of a picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, cast, get_args

from flask import Blueprint, Response, jsonify, request
from PIL import Image
from werkzeug.datastructures import MultiDict

from vlm.errors import BadRequestError
from vlm.finder.meaning import Meaning
from vlm.images.frame import Frame
from vlm.results import Scored
from vlm.scheduler.worker import Worker
from vlm.scoring.aspects import AspectScore, aspects_of, aspects_task, read_aspects
from vlm.scoring.labels import (
    MAX_LABEL_CHARS,
    MAX_LABELS,
    SYNONYM_MARK,
    LabelQuestion,
    LabelScore,
    Mode,
    read_labels,
)
from vlm.types import Detail, ScoreTask
from web.caption_fields import FIELDS, checked_field
from web.picture_body import read_picture
from web.streaming import Admission, run_task, running_model

_DIGITS: Final = 4

# As for captions. A picture that was captioned with the same detail is not encoded again.
_SHARED_FIELDS: Final = {name: FIELDS[name] for name in ("detail", "camera")}
# The fields of each route beside the picture, in JSON Schema.
LABELS_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "labels": {
        "type": "string",
        "minLength": 1,
        "description": f"At most {MAX_LABELS} labels of {MAX_LABEL_CHARS} characters, with commas "
        "between or one a line. `sofa|couch` is one label with two names.",
    },
    "mode": {
        "enum": list(get_args(Mode)),
        "default": "one",
        "description": "`one`: the labels exclude each other. `many`: each may fit or not.",
    },
    "pair": {
        "enum": ["0", "1"],
        "default": "0",
        "description": "`1`: the dual encoder answers too, in `pair`, for a comparison.",
    },
    **_SHARED_FIELDS,
}
ASPECTS_FIELDS: Final[Mapping[str, dict[str, Any]]] = _SHARED_FIELDS


@dataclass(frozen=True)
class PairScore:
    """A label with how likely the dual encoder finds it to be true, whatever the others are."""

    label: str
    probability: float


@dataclass(frozen=True)
class PairAnswer:
    """What the dual encoder says of the same labels, the likeliest first."""

    model: str
    labels: tuple[PairScore, ...]
    # Seconds, the encoding of the picture included.
    total_s: float


@dataclass(frozen=True)
class LabelsAnswer:
    """The labels of a picture, the likeliest first."""

    labels: tuple[LabelScore, ...]
    # The probability that none fits; null for a model whose probabilities were not calibrated.
    none: float | None
    calibrated: bool
    model: str
    # Tokens that were scored, and the passes that it took.
    rows: int
    passes: int
    # Seconds of the model's work.
    total_s: float
    # Null unless it was asked for.
    pair: PairAnswer | None


@dataclass(frozen=True)
class AspectsAnswer:
    """The aspects of a picture, each with its labels, the likeliest first."""

    aspects: tuple[AspectScore, ...]
    calibrated: bool
    model: str
    rows: int
    passes: int
    total_s: float


class _Fields(NamedTuple):
    labels: tuple[str, ...]
    mode: Mode
    detail: Detail
    camera: str | None
    with_pair: bool


def labels_blueprint(worker: Worker, meaning: Meaning, admission: Admission) -> Blueprint:
    """Return the routes over a started `worker` and a dual encoder.

    `admission` bounds the requests in flight.
    """
    blueprint = Blueprint("labels", __name__)

    @blueprint.post("/api/labels")
    def labels() -> Response:
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            image, fields = read_picture(request, lambda given: _read(given, LABELS_FIELDS), place)
            question = LabelQuestion(fields.labels, fields.mode, running_model(worker).model)
            frame = Frame(image, fields.camera)
            scored = _scored(question.task(image, fields.detail), frame, worker, admission, held)
            if scored is None:
                return Response()
            found = question.read(scored)
            return jsonify(
                LabelsAnswer(
                    tuple(
                        replace(
                            each,
                            probability=round(each.probability, _DIGITS),
                            logprob=round(each.logprob, _DIGITS),
                        )
                        for each in found.labels
                    ),
                    None if found.none is None else round(found.none, _DIGITS),
                    found.calibrated,
                    scored.model,
                    scored.rows,
                    scored.passes,
                    round(scored.stats.total_s, _DIGITS),
                    _by_pair(meaning, image, fields.labels) if fields.with_pair else None,
                )
            )

    @blueprint.post("/api/aspects")
    def aspects() -> Response:
        with ExitStack() as held:
            place = held.enter_context(admission.place())
            image, fields = read_picture(request, lambda given: _read(given, ASPECTS_FIELDS), place)
            asked = aspects_of(running_model(worker).model)
            frame = Frame(image, fields.camera)
            task = aspects_task(image, asked, fields.detail)
            scored = _scored(task, frame, worker, admission, held)
            if scored is None:
                return Response()
            found = read_aspects(scored, asked)
            rounded = tuple(
                replace(
                    aspect,
                    labels=tuple(
                        replace(each, probability=round(each.probability, _DIGITS))
                        for each in aspect.labels
                    ),
                )
                for aspect in found.aspects
            )
            return jsonify(
                AspectsAnswer(
                    rounded,
                    found.calibrated,
                    scored.model,
                    scored.rows,
                    scored.passes,
                    round(scored.stats.total_s, _DIGITS),
                )
            )

    return blueprint


def _scored(
    task: ScoreTask, frame: Frame, worker: Worker, admission: Admission, held: ExitStack
) -> Scored | None:
    """Return the result of `task`; None if the client has left."""
    result = run_task(task, frame, worker, admission, held)
    return result if isinstance(result, Scored) else None


def _by_pair(meaning: Meaning, image: Image.Image, labels: Sequence[str]) -> PairAnswer:
    """Return what the dual encoder says of `labels`; raise what `Meaning` does."""
    from vlm.pairs.pair import probabilities

    pair = meaning.pair()
    names = [(label, name.strip()) for label in labels for name in label.split(SYNONYM_MARK)]
    began_s = time.perf_counter()
    vectors = meaning.image_vectors([image])
    (likely,) = probabilities(pair, vectors, meaning.text_vectors([name for _, name in names]))
    total_s = time.perf_counter() - began_s
    best: dict[str, float] = {}
    for (label, _), probability in zip(names, likely.tolist(), strict=True):
        best[label] = max(best.get(label, 0.0), probability)
    scores = [PairScore(label, round(value, _DIGITS)) for label, value in best.items()]
    ordered = sorted(scores, key=lambda each: -each.probability)
    return PairAnswer(pair.name, tuple(ordered), round(total_s, _DIGITS))


def _read(values: MultiDict[str, str], schema: Mapping[str, Any]) -> _Fields:
    """Return the first value of each field of `schema`, or its default; raises BadRequestError.

    All values of a field are checked: a wrong one is a mistake even if it has no effect.
    """
    modes = get_args(Mode)
    if "mode" in schema and any(each not in modes for each in values.getlist("mode")):
        raise BadRequestError(f"mode must be one of: {', '.join(modes)}.")
    if "pair" in schema and any(each not in ("0", "1") for each in values.getlist("pair")):
        raise BadRequestError("pair must be 0 or 1.")
    for name in _SHARED_FIELDS:
        for text in values.getlist(name):
            checked_field(name, text)
    return _Fields(
        read_labels(values.get("labels", "")) if "labels" in schema else (),
        cast(Mode, values.get("mode", "one")),
        cast(Detail, values.get("detail", "low")),
        values.get("camera"),
        values.get("pair") == "1",
    )
