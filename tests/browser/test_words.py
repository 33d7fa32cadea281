"""What the page says: each failure in words with a way on, and the figures of its readout."""

from __future__ import annotations

import pytest
from state_core import FAILED, LOADING, STATS, STATUS

LOST = {"kind": "refused", "message": "The image is cut short."}
FAILURES = {
    "insecure": lambda core: core.begin(secure=False),
    "camera-denied": lambda core: core.live().tell("camera-failed", request=1, problem="denied"),
    "camera-missing": lambda core: core.live().tell("camera-failed", request=1, problem="missing"),
    "camera-ended": lambda core: core.live().tell("camera-failed", request=1, problem="ended"),
    "camera-taken": lambda core: core.live().tell("camera-failed", request=1, problem="taken"),
    "camera-silent": lambda core: core.live().tell("camera-muted", request=1, muted=True),
    "camera-unknown": lambda core: core.live().tell("camera-failed", request=1, problem="unknown"),
    "server-gone": lambda core: core.live().tell("status-missed", message="down"),
    "model-failed": lambda core: core.live(status=FAILED),
    "frame-refused": lambda core: core.live().tell("look-begun").tell("pass-failed", id=1, **LOST),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_has_words_and_a_way_on(core, name):
    FAILURES[name](core)
    notice = core.notice(1)
    assert notice["id"] == name
    assert notice["tone"] == "problem"
    assert notice["title"] and notice["text"]
    assert notice["actions"]


def test_a_failed_model_is_explained_in_the_servers_words(core):
    core.live(status=FAILED)
    assert core.notice()["text"] == "No such folder."
    assert core.plan["askAt"] is not None


def test_what_loading_is_at_is_told(core):
    core.live(status={**LOADING, "progress": "Converting it, once: text model"})
    assert core.notice()["text"].startswith("Converting it, once: text model. Captions begin")


def test_a_loading_model_and_an_asking_browser_are_waited_for_in_words(core):
    core.live(status=LOADING)
    assert core.notice()["id"] == "model-loading"
    core.begin().tell("status-answered", status=STATUS).tell("started")
    assert core.notice(0) is None
    assert core.notice(5000)["id"] == "camera-opening"


def test_being_turned_away_once_is_not_worth_a_word(core):
    core.live()
    for at in (0, 1000):
        assert core.notice(at) is None
        core.tell("look-begun", at)
        core.tell("pass-failed", at, id=core.pass_id, kind="busy", message="Full.")
    assert core.notice(2000)["id"] == "frame-busy"


def test_the_readout_tells_first_word_rate_and_age(core):
    core.live().tell("look-begun", 1000).tell("frame-sent", 1000, id=1)
    core.tell("words-arrived", 1250, id=1, text="A")
    core.tell("caption-done", 1500, id=1, text="A red circle.", stats=STATS)
    parts = core.run("return M.readoutOf(arg, 4000);", core.state)
    assert [part["value"] for part in parts] == ["0.25 s", "8", "3 s"]


def test_a_rate_that_cannot_be_known_is_left_out(core):
    core.live().tell("look-begun", 0)
    one = {**STATS, "tokens": 1, "tokens_per_s": 0.0}
    core.tell("caption-done", 500, id=1, text="No.", stats=one)
    parts = core.run("return M.readoutOf(arg, 600);", core.state)
    assert [part["label"] for part in parts] == ["First word", "Frame age"]
