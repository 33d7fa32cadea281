"""`/api/timeline/...`: what is kept of captions and answers, found again and deleted."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError, UnknownMomentError
from vlm.timeline.choices import Keep
from vlm.timeline.days import Gap, gaps_between, half_hours
from vlm.timeline.exports import FORMATS
from vlm.timeline.imports import add_imported, read_lines
from vlm.timeline.search import Found, Moment, moments_of, picture_of, search
from vlm.timeline.spans import GapReason
from vlm.timeline.timeline import Timeline
from web.field_reader import FieldReader
from web.json_body import read_json_object
from web.timeline_fields import (
    DAYS_FIELDS,
    EXPORT_FIELDS,
    GAP_BODY,
    KEEP_BODY,
    MOST_ID,
    RANGE_FIELDS,
    SETTINGS_BODY,
    UNDO_BODY,
    read_query,
)

MAX_IMPORT_BYTES: Final = 16 * 2**20

_DIGITS: Final = 4
_NO_MOMENT: Final = "There is no such moment in the timeline."


def timeline_blueprint(timeline: Timeline) -> Blueprint:
    """Return the routes over `timeline`; while nothing was ever kept they find nothing."""
    blueprint = Blueprint("timeline", __name__, url_prefix="/api/timeline")
    moment_path = "/moments/<int:moment>"

    @blueprint.url_value_preprocessor
    def check_moment(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if values is not None and values.get("moment", 0) > MOST_ID:
            raise UnknownMomentError(_NO_MOMENT)

    @blueprint.get("")
    def find() -> Response:
        query = read_query(request.args)
        with timeline.reading() as connection:
            found = Found() if connection is None else search(connection, query, timeline.vectors)
        has_reason = bool(query.text.strip()) or query.like is not None
        return jsonify(found_fields(found, has_reason))

    @blueprint.get("/days")
    def days() -> Response:
        fields = FieldReader(request.args, DAYS_FIELDS)
        from_s, to_s = fields.read("from"), fields.read("to")
        camera = fields.read("camera") or ""
        with timeline.reading() as connection:
            if connection is None:
                return jsonify({"half_hours": [], "gaps": []})
            counts = half_hours(connection, from_s, to_s, camera)
            gaps = gaps_between(connection, from_s, to_s, camera)
        names = ("captions", "answers", "alerts")
        return jsonify(
            {
                "half_hours": [
                    {"from": each.from_s} | {name: getattr(each, name) for name in names}
                    for each in counts
                ],
                "gaps": [gap_fields(each) for each in gaps],
            }
        )

    @blueprint.get(moment_path)
    def one(moment: int) -> Response:
        with timeline.reading() as connection:
            found = {} if connection is None else moments_of(connection, [moment])
        if moment not in found:
            raise UnknownMomentError(_NO_MOMENT)
        return jsonify(moment_fields(found[moment], False))

    @blueprint.get(f"{moment_path}/picture")
    def picture(moment: int) -> Response:
        with timeline.reading() as connection:
            jpeg = None if connection is None else picture_of(connection, moment)
        if jpeg is None:
            raise UnknownMomentError("No picture of this moment is kept.")
        return Response(jpeg, mimetype="image/jpeg")

    @blueprint.post(f"{moment_path}/keep")
    def keep(moment: int) -> Response:
        body = read_json_object('{"kept": true}')
        kept = FieldReader(body, KEEP_BODY["properties"]).read("kept")
        timeline.keep_moment(moment, kept is not False)
        return one(moment)

    @blueprint.delete(moment_path)
    def delete_one(moment: int) -> Response:
        return jsonify(timeline.delete(moment=moment))

    @blueprint.delete("")
    def delete() -> Response:
        fields = FieldReader(request.args, RANGE_FIELDS)
        return jsonify(timeline.delete(fields.read("from"), fields.read("to")))

    @blueprint.get("/export")
    def export() -> Response:
        query = read_query(request.args, paged=False)
        name = FieldReader(request.args, EXPORT_FIELDS).read("format") or "txt"
        chosen = FORMATS[name]
        # An error comes before the first byte, if there is one.
        with timeline.reading():
            pass

        def pieces() -> Iterator[str]:
            with timeline.reading() as connection:
                if connection is not None:
                    yield from chosen.write(connection, query)

        # To be saved: as a page of this server it could do what the server's own page can.
        file = f"timeline-{time.strftime('%Y-%m-%d')}.{chosen.suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{file}"'}
        return Response(pieces(), mimetype=chosen.media_type, headers=headers)

    @blueprint.post("/import")
    def import_lines() -> Response:
        request.max_content_length = MAX_IMPORT_BYTES
        try:
            text = request.get_data(cache=False).decode("utf-8")
        except RequestEntityTooLarge:
            raise BadRequestError(
                f"At most {MAX_IMPORT_BYTES // 2**20} MiB are accepted here. Use "
                "`python -m vlm.timeline import FILE`."
            ) from None
        except UnicodeDecodeError:
            raise BadRequestError("The lines are not in UTF-8.") from None
        items = [*read_lines(io.StringIO(text))]
        if not items:
            raise BadRequestError("Send the lines of an export as `jsonl`.")
        return jsonify(timeline.write(lambda connection: add_imported(connection, items)))

    @blueprint.post("/undo")
    def undo() -> Response:
        body = read_json_object('{"deletion": 1}')
        number = FieldReader(body, UNDO_BODY["properties"]).read("deletion")
        return jsonify({"moments": timeline.undo(number)})

    @blueprint.get("/settings")
    def settings() -> Response:
        return jsonify(timeline.status())

    @blueprint.post("/settings")
    def choose() -> Response:
        body = read_json_object('{"keep": "words", "days": 7, "mb": 500}')
        fields = FieldReader(body, SETTINGS_BODY["properties"])
        timeline.choose(cast("Keep | None", fields.read("keep")), *map(fields.read, ("days", "mb")))
        return jsonify(timeline.status())

    @blueprint.post("/gaps")
    def gaps() -> tuple[str, int]:
        body = read_json_object('{"camera": "door", "why": "stopped"}')
        fields = FieldReader(body, GAP_BODY["properties"])
        camera, why = fields.read("camera"), fields.read("why")
        if not camera or why is None:
            raise BadRequestError("`camera` and `why` are required.")
        timeline.add_gap(
            camera,
            cast(GapReason, why),
            fields.read("source") or "",
            fields.read("from"),
            fields.read("to"),
        )
        return "", 204

    return blueprint


def found_fields(found: Found, has_reason: bool) -> dict[str, Any]:
    """Return the JSON of a page of moments; `has_reason`: each was found for a reason."""
    return {
        "moments": [moment_fields(each, has_reason) for each in found.moments],
        "gaps": [gap_fields(each) for each in found.gaps],
        "more": found.next is not None,
        "before": found.next,
    }


def moment_fields(moment: Moment, has_reason: bool) -> dict[str, Any]:
    """Return the JSON of a moment."""
    similarity = moment.why.similarity
    why = {
        "words": moment.why.words,
        "similarity": None if similarity is None else round(similarity, _DIGITS),
    }
    return {
        "id": moment.id,
        "from": moment.from_s,
        "to": moment.to_s,
        "kind": moment.kind,
        "camera": moment.camera,
        "source": moment.source,
        "model": moment.model,
        "question": moment.question,
        "text": moment.text,
        "sure": moment.sure,
        "tags": moment.tags.split(),
        "finish": moment.finish,
        "kept": moment.kept,
        "picture": moment.has_picture,
        "why": why if has_reason else None,
    }


def gap_fields(gap: Gap) -> dict[str, Any]:
    """Return the JSON of a gap."""
    return {
        "from": gap.from_s,
        "to": gap.to_s,
        "camera": gap.camera,
        "source": gap.source,
        "why": gap.why,
    }
