"""Checks in the results of an engine: they never change a text and hold up nothing for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from photographs import photograph
from vlm.engine.engine import Engine
from vlm.finder.finder import MAX_LOOKS, Finder
from vlm.finder.witnesses import WitnessedEngine, WitnessedPushEngine
from vlm.results import Check, Result, StreamEvent, TokenChunk
from vlm.scheduler.protocol import OnEvent, never, stream_alone
from vlm.settings import Settings
from vlm.types import AnswerTask, Message, Request
from worker_kit import GUARD_S, running, text_of

CAPTION = "A cat and a dog lie on a table."


class Saying:
    """The bundled engine, whose answers say CAPTION instead of their own text."""

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.max_batch = 2
        self._engine = engine

    def begin(self, request: Request, is_cancelled: Callable[[], bool]) -> object:
        return self._engine.begin(request, is_cancelled)

    def advance(self, jobs: Sequence[object]) -> list[list[StreamEvent | Exception]]:
        return [
            [
                Result(CAPTION, event.finish_reason, event.stats)
                if isinstance(event, Result)
                else event
                for event in events
            ]
            for events in self._engine.advance(jobs)  # type: ignore[arg-type]
        ]

    def rest(self, is_needed: Callable[[], bool]) -> None:
        """There is nothing to do between captions."""

    def close(self) -> None:
        pass


class Pushing(Saying):
    """The same as a push engine, which delivers its events within `begin`."""

    pushes = True

    def begin(self, request: Request, on_event: OnEvent) -> object:  # type: ignore[override]
        job = super().begin(request, never)
        for event in stream_alone(self, job):  # type: ignore[arg-type]
            on_event(event)
        return job


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions wait for their looks, however busy the machine is."""
    monkeypatch.setattr("vlm.finder.witnesses._STEPS", 100 * GUARD_S)


def about_cat(max_tokens: int = 8, **fields: object) -> Request:
    image = photograph("chelsea")
    message = Message("user", (image, "What is this?"))
    return Request(AnswerTask((message,), max_tokens, **fields))  # type: ignore[arg-type]


def result_of(engine: WitnessedEngine, request: Request) -> Result:
    *_, result = stream_alone(engine, engine.begin(request, never))
    assert isinstance(result, Result)
    return result


def test_the_nouns_of_a_caption_are_checked(engine: Engine, finder: Finder, patient: None) -> None:
    result = result_of(WitnessedEngine(Saying(engine), finder), about_cat())
    assert result.text == CAPTION
    assert result.stats.checks == (
        Check("cat", "cat", "found"),
        Check("dog", "dog", "not_found"),
        Check("table", "table", "not_checkable"),
    )


def test_a_text_and_its_chunks_are_as_without_witnesses(engine: Engine, finder: Finder) -> None:
    witnessed = WitnessedEngine(engine, finder)
    request = about_cat(40)
    *plain, own = engine.stream(request)
    *chunks, result = stream_alone(witnessed, witnessed.begin(request, never))
    assert isinstance(own, Result) and isinstance(result, Result)
    assert (result.text, result.finish_reason) == (own.text, own.finish_reason)
    texts = ["".join(c.text for c in each if isinstance(c, TokenChunk)) for each in (plain, chunks)]
    assert texts[0] == texts[1]


def test_several_requests_through_a_worker_each_have_their_checks(
    engine: Engine, finder: Finder, patient: None
) -> None:
    with running(WitnessedEngine(Saying(engine), finder)) as worker:
        streams = [worker.submit(about_cat()) for _ in range(3)]
        assert [text_of(stream) for stream in streams] == [CAPTION] * 3
        for stream in streams:
            assert stream.record is not None and stream.record.result is not None
            assert [check.word for check in stream.record.result.stats.checks] == [
                "cat",
                "dog",
                "table",
            ]


@pytest.mark.parametrize("what", ["two images", "no image", "json", "background"])
def test_only_answers_in_words_about_one_frame_are_checked(
    engine: Engine, finder: Finder, what: str
) -> None:
    image = photograph("chelsea")
    parts = {"two images": (image, image, "?"), "no image": ("?",)}.get(what, (image, "?"))
    task = AnswerTask((Message("user", parts),), 8, json_object=what == "json")
    request = Request(task, kind="background" if what == "background" else "question")
    result = result_of(WitnessedEngine(Saying(engine), finder), request)
    assert (result.text, result.stats.checks) == (CAPTION, ())


def test_a_look_that_is_late_or_has_no_place_gives_no_checks(
    engine: Engine, finder: Finder
) -> None:
    gate = threading.Event()
    blocker = finder.looking.submit(gate.wait, GUARD_S)
    try:
        witnessed = WitnessedEngine(Saying(engine), finder)
        jobs = [witnessed.begin(about_cat(), never) for _ in range(MAX_LOOKS + 2)]
        assert [job.look is None for job in jobs] == [False] * MAX_LOOKS + [True] * 2
        for job in jobs:
            *_, result = stream_alone(witnessed, job)
            assert isinstance(result, Result)
            assert (result.text, result.stats.checks) == (CAPTION, ())
    finally:
        gate.set()
    blocker.result(GUARD_S)
    # The cancelled looks have given their places back.
    assert result_of(witnessed, about_cat()).stats.checks


def test_a_failing_look_gives_no_checks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*names: str, **options: object) -> None:
        raise OSError("no such file")

    monkeypatch.setattr("vlm.detect.detector.load_detector", broken)
    finder = Finder(Settings())
    witnessed = WitnessedEngine(Saying(engine), finder)
    for _ in range(2):
        result = result_of(witnessed, about_cat())
        assert (result.text, result.stats.checks) == (CAPTION, ())
    assert len(caplog.records) == 1
    finder.close()


def test_answers_of_other_servers_are_checked_if_the_look_is_over(
    engine: Engine, finder: Finder
) -> None:
    results: list[StreamEvent | Exception] = []
    WitnessedPushEngine(Pushing(engine), finder).begin(about_cat(), results.append)  # type: ignore[arg-type]
    assert isinstance(results[-1], Result)
    assert results[-1].text == CAPTION
    gate = threading.Event()
    finder.looking.submit(gate.wait, GUARD_S)
    try:
        late: list[StreamEvent | Exception] = []
        WitnessedPushEngine(Pushing(engine), finder).begin(about_cat(), late.append)  # type: ignore[arg-type]
        assert isinstance(late[-1], Result)
        assert (late[-1].text, late[-1].stats.checks) == (CAPTION, ())
    finally:
        gate.set()
