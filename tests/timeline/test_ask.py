"""Questions over the timeline: how they are read, what records answer, what a model is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.events import Record
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.timeline.plans import plan_of
from vlm.timeline.query import Query
from vlm.timeline.recall import chat_of, relevant, sourced
from vlm.timeline.records import recorded
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline
from web_client import app_over, read_events, started

NOW_S = datetime(2026, 5, 4, 18, 0).timestamp()
HOUR_S = 3600.0
# Hours before NOW_S, seconds in view, caption.
SEEN = (
    (30.0, 0, "A striped red star and a dog."),
    (5.0, 12, "A man beside a red star."),
    (4.0, 0, "A blue circle."),
    (3.0, 9, "A red star left of a blue circle."),
    (2.0, 0, "There is no dog and no red star here."),
    (1.0, 0, "Two green stars and a woman."),
)


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    kept = Timeline(tmp_path / "asked.sqlite3", chosen={"keep": "words", "days": "0"})
    for hours, seconds, text in SEEN:
        for at_s in {0, seconds}:
            kept.add(Look(NOW_S - hours * HOUR_S + at_s, text, camera="door", source="Front door"))
    kept.settle()
    yield kept
    kept.close()


def test_questions_are_read_without_a_model() -> None:
    midnight = datetime(2026, 5, 4).timestamp()
    for question, kind, words in (
        ("When was the last red star?", "last", "red star"),
        ("When did the red star first appear?", "first", "red star"),
        ("At what time was a blue circle visible?", "when", "blue circle"),
        ("Was there a dog?", "when", "dog"),
        ("When did a red up arrow show up?", "when", "red up arrow"),
        ("How often was a red star seen today?", "often", "red star"),
        ("For how long was the cat in view?", "long", "cat"),
        ("How many different stars were there?", "many", "stars"),
        ("how many different things did you see", "many", ""),
        # A place, a relation and a property are more than the name of a thing.
        ("When was somebody at the door?", "recall", "door"),
        ("When was a star to the left of a circle?", "recall", "star left circle"),
        ("What colour was the car?", "recall", "colour car"),
        ("What happened?", "recall", ""),
        ("?! \U0001f600", "recall", ""),
    ):
        plan = plan_of(question, NOW_S)
        assert (plan.kind, plan.phrase) == (kind, words), question
    for question, from_s, to_s in (
        ("Was there a dog today?", midnight, midnight + 24 * HOUR_S),
        ("Was there a dog yesterday?", midnight - 24 * HOUR_S, midnight),
        ("Was there a dog in the last two hours?", NOW_S - 2 * HOUR_S, None),
        ("What happened over the past 30 minutes?", NOW_S - HOUR_S / 2, None),
        ("Was there a dog this morning?", midnight, midnight + 12 * HOUR_S),
        ("Was there a dog?", None, None),
    ):
        plan = plan_of(question, NOW_S)
        assert (plan.from_s, plan.to_s) == (from_s, to_s), question


def test_records_answer_when_and_how_often_a_thing_was_seen(timeline: Timeline) -> None:
    for question, text in (
        ("When was the last red star?", "A red star was last seen today at 15:00."),
        ("When was the first red star?", "A red star was first seen yesterday at 12:00."),
        ("How often was a red star seen today?", "A red star was seen twice."),
        ("How long was a red star seen today?", "A red star was in view for 21 seconds in all"),
        ("When was the last striped red star?", "A striped red star was last seen yesterday"),
        ("How often did you see stars?", "A star was seen 4 times."),
        # What a caption denies is not seen.
        ("When was the last dog?", "A dog was last seen yesterday at 12:00."),
        # A man is a person, a person need not be a man.
        ("When was the last person?", "A person was last seen today at 17:00."),
        ("When was the last man?", "A man was last seen today at 13:00."),
        ("How many different stars?", "2 different stars were named: red and green."),
        ("When was the last cat?", None),
        ("When was the last dog today?", None),
    ):
        plan = plan_of(question, NOW_S)
        query = Query(from_s=plan.from_s, to_s=plan.to_s)
        with timeline.reading() as connection:
            assert connection is not None
            found = recorded(connection, plan, query, NOW_S)
            if text is None:
                assert found is None, question
                continue
            assert found is not None, question
            assert found.sentences[0].text.startswith(text), (question, found.sentences)
            ids = {each for told in found.sentences for each in told.moments}
            there = connection.execute("SELECT id FROM moments").fetchall()
            assert ids and ids <= {row[0] for row in there}


def test_a_model_is_shown_what_is_relevant_and_its_sentences_have_sources(
    timeline: Timeline,
) -> None:
    plan = plan_of("What was the man beside?", NOW_S)
    with timeline.reading() as connection:
        assert connection is not None
        found = relevant(connection, plan, Query(), timeline.vectors)
        assert [each.text for each in found] == ["A man beside a red star."]
        every = relevant(connection, plan_of("What happened?", NOW_S), Query(), timeline.vectors)
        assert len(every) >= 3
        none = plan_of("Was the elephant grey?", NOW_S)
        assert relevant(connection, none, Query(), timeline.vectors) == ()
    (message,) = chat_of("What happened?", every, {every[0].id: Image.new("RGB", (8, 8))}, NOW_S)
    texts = [each for each in message.parts if isinstance(each, str)]
    assert [each.text for each in every] == [
        text for each in texts for text in (moment.text for moment in every) if text in each
    ]
    assert sum(isinstance(each, Image.Image) for each in message.parts) == 1
    told = sourced("The man was beside a star. A blue circle came later! Quite so.", every)
    by_id = {each.id: each.text for each in every}
    assert [each.text for each in told] == [
        "The man was beside a star.", "A blue circle came later!", "Quite so."
    ]  # fmt: skip
    assert {"A blue circle."} <= {by_id[each] for each in told[1].moments}
    # A sentence that shares nothing is from all of them.
    assert set(told[2].moments) == set(by_id)


class Requests:
    """Counts what the worker has run."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def request_ended(self, record: Record) -> None:
        self.tasks.append(type(record.request.task).__name__)

    def step_ran(self, batch_size: int) -> None:
        pass


def ask(client: FlaskClient, **body: Any) -> list[tuple[str, Any]]:
    answer = client.post("/api/timeline/ask", json=body)
    assert answer.status_code == 200, answer.text
    return [(name, data) for name, data in read_events(answer.text)]


def check(events: list[tuple[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Check what all answers have in common; return the plan and the last event."""
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("found", "done") and set(names[1:-1]) <= {"token"}
    found, done = events[0][1], events[-1][1]
    assert "".join(data["text"] for _, data in events[1:-1]).strip() == done["text"]
    ids = {each["id"] for each in found["moments"]}
    assert {each for told in done["sentences"] for each in told["moments"]} <= ids
    assert found["plan"] == done["plan"]
    return found["plan"], done


def test_the_route_answers_by_records_by_the_model_or_not_at_all(
    engine: Engine, tiled_engine: Engine, tmp_path: Path
) -> None:
    settings = Settings(
        timeline="pictures", timeline_days=0, timeline_file=str(tmp_path / "kept.sqlite3")
    )
    for one in (engine, tiled_engine):
        with started(Worker(lambda one=one: one, Settings.max_queue)) as worker:
            app = app_over(worker, settings)
            client, requests = app.test_client(), Requests()
            timeline: Timeline = app.extensions["timeline"]
            for index in range(6):
                frame = make_frame(index, "held_out")
                look = Look(NOW_S + index * HOUR_S, f"A red star {index}.", image=frame.image)
                timeline.add(look)
            timeline.settle()
            worker.subscribe(requests)
            plan, done = check(ask(client, question="How often was a red star seen?"))
            assert (plan, done["text"].split(".")[0]) == ("often", "A red star was seen 6 times")
            for question in ("When was the last elephant?", "Was the elephant grey?"):
                plan, done = check(ask(client, question=question))
                assert (plan, done["sentences"][0]["moments"]) == ("nothing", [])
            early = ask(client, question="How often was a red star seen?", to=NOW_S)
            assert check(early)[0] == "nothing"
            assert requests.tasks == []
            plan, done = check(ask(client, question="Was the star striped?"))
            assert plan == "recall" and done["text"]
            assert "ScoreTask" in requests.tasks
            assert ("AnswerTask" in requests.tasks) == (one is tiled_engine)
            # A question over the timeline is no moment of it.
            timeline.settle()
            assert timeline.status().moments == 6
            for body in ({}, {"question": " "}, {"question": "x" * 501}, {"question": 1}, []):
                assert client.post("/api/timeline/ask", json=body).status_code == 400, body
            timeline.delete()
            timeline.close()
            (tmp_path / "kept.sqlite3").unlink()
