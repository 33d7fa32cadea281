"""The page's state core and models: what is asked of the server, and what a change brings about."""

from __future__ import annotations

import pytest
from state_core import STATUS
from told_models import LARGE, NANO, SMALL, fetching, loading, models, problem


def status(model=NANO, **what):
    return {**STATUS, "model": model, "models": models(model, **what)}


FETCHING = status(change=fetching())
SWAPPED = status(SMALL)


def answered(core, at=0, **what):
    request = core.plan["modelRequest"]
    return core.tell("model-request-answered", at, id=request["id"], models=models(**what))


def refused(core, at=0, kind="refused", message="No."):
    request = core.plan["modelRequest"]
    return core.tell(
        "model-request-refused", at, id=request["id"], kind=kind, message=message, random=0.5
    )


# -- asking --


def test_a_model_that_is_chosen_is_asked_for_once(core):
    core.live().tell("model-chosen", model=SMALL)
    asked = core.plan["modelRequest"]
    assert (asked["action"], asked["model"]) == ("switch", SMALL)
    core.tell("model-chosen", model=LARGE).tell("model-chosen", model=SMALL)
    assert core.plan["modelRequest"] == asked
    answered(core, change=fetching())
    assert core.plan["modelRequest"] is None


def test_the_answer_counts_at_once_and_the_server_is_asked_again(core):
    core.live().tell("model-chosen", 1000, model=SMALL)
    answered(core, 1100, change=fetching())
    assert core.state["server"]["status"]["models"]["change"] == fetching()
    assert core.plan["askAt"] == 1100


def test_an_answer_to_an_earlier_request_is_ignored(core):
    core.live().tell("model-chosen", model=SMALL)
    answered(core).tell("model-chosen", model=LARGE)
    core.tell("model-request-answered", id=1, models=models(change=fetching()))
    assert core.plan["modelRequest"]["model"] == LARGE
    assert core.state["server"]["status"]["models"]["change"] is None


def test_how_the_server_is_waits_for_the_answer_to_a_request(core):
    core.live().tell("model-chosen", model=SMALL)
    assert core.plan["askAt"] is None


def test_a_change_can_be_cancelled_and_only_a_change(core):
    core.live().tell("change-cancelled")
    assert core.plan["modelRequest"] is None
    core.tell("status-answered", status=FETCHING).tell("change-cancelled")
    assert core.plan["modelRequest"]["action"] == "cancel"


def test_a_dismissed_problem_is_forgotten_by_the_server_too(core):
    core.live(status=status(problem=problem())).tell("problem-dismissed")
    assert core.plan["modelRequest"]["action"] == "dismiss"


def test_a_dismissed_refusal_is_nothing_to_the_server(core):
    core.live().tell("model-chosen", model=LARGE)
    refused(core).tell("problem-dismissed")
    assert core.plan["modelRequest"] is None
    assert core.state["models"]["refusal"] is None


def test_a_refusal_is_kept_in_words_until_something_else_is_asked(core):
    core.live().tell("model-chosen", 1000, model=LARGE)
    refused(core, 1100, message="It needs 6.1 GB of memory.")
    assert core.state["models"]["refusal"]["message"] == "It needs 6.1 GB of memory."
    assert core.plan["askAt"] == 1100
    core.tell("model-chosen", model=SMALL)
    assert core.state["models"]["refusal"] is None


@pytest.mark.parametrize("kind", ["unreachable", "silent"])
def test_a_request_that_nobody_answers_leads_back_to_looking_for_the_server(core, kind):
    core.live().tell("model-chosen", model=SMALL)
    refused(core, kind=kind)
    assert core.state["server"]["phase"] == "gone"
    assert core.plan["modelRequest"] is None
    assert core.plan["askAt"] is not None


# -- watching --


@pytest.mark.parametrize("state", ["ready", "loading", "failed"])
def test_a_change_is_followed_every_second(core, state):
    core.live().tell("status-answered", 1000, status={**FETCHING, "state": state})
    assert core.plan["askAt"] == 2000


def test_a_change_is_followed_while_frames_are_captioned(core):
    core.live().tell("status-answered", status=FETCHING)
    core.tell("look-begun").tell("frame-sent", id=1)
    assert core.plan["askAt"] == 1000


def test_captions_go_on_while_a_model_changes(core):
    core.live(status=FETCHING).captioned(at=0)
    assert core.plan["lookAt"] == 500
    assert core.notice(500) is None


# -- the swap --


def test_another_model_is_shown_even_a_scene_that_stands_still(core):
    core.live(status=FETCHING).captioned(at=0)
    core.tell("setting-changed", name="intervalS", value=30)
    assert not core.must_send(1000)
    core.tell("status-answered", 1000, status=SWAPPED)
    assert core.must_send(1000)
    assert core.plan["lookAt"] <= 1000
    core.captioned(at=1000)
    assert not core.must_send(2000)


def test_a_frame_under_way_at_the_swap_is_followed_by_one_for_the_new_model(core):
    core.live(status=FETCHING).tell("look-begun", 0).tell("frame-sent", 0, id=1)
    core.tell("status-answered", 500, status=SWAPPED)
    assert core.plan["passId"] == 1
    core.tell("caption-done", 600, id=1, text="By nano.", stats={})
    assert core.must_send(700)


def test_a_look_under_way_at_the_swap_does_not_lose_the_new_models_frame(core):
    core.live(status=FETCHING).captioned(at=0).tell("look-begun", 500)
    core.tell("status-answered", 505, status=SWAPPED).tell("frame-unchanged", 510, id=2)
    assert core.must_send(700)


def test_the_swap_is_told_once_and_for_some_seconds(core):
    core.live(status=status(change=loading()))
    assert core.state["models"]["ending"] is None
    # The server still tidies up: the change is over for people.
    core.tell("status-answered", 1000, status=status(SMALL, change=loading()))
    core.tell("status-answered", 2000, status=SWAPPED)
    assert core.state["models"]["ending"]["at"] == 1000
    assert core.card(1000)["id"] == "swapped"
    assert core.card(60_000) is None


@pytest.mark.parametrize("first", [None, NANO])
def test_the_first_model_of_a_server_is_no_swap(core, first):
    core.live(status={**STATUS, "state": "loading", "model": first})
    core.tell("status-answered", status=SWAPPED)
    assert core.card() is None


def test_another_model_after_a_new_start_of_the_server_is_no_swap(core):
    core.live().tell("status-missed", message="down").tell("status-answered", status=SWAPPED)
    assert core.card() is None


@pytest.mark.parametrize("failed_model", [NANO, SMALL])
def test_a_model_that_replaces_one_that_failed_is_told_of_and_captions_begin(core, failed_model):
    failed = {**status(failed_model, change=loading()), "state": "failed"}
    assert core.live(status=failed).card()["id"] == "loading"
    core.tell("status-answered", 1000, status=SWAPPED)
    assert core.card(1000)["id"] == "swapped"
    assert core.plan["lookAt"] == 1000


@pytest.mark.parametrize("asked_here", [True, False])
def test_a_change_that_was_cancelled_is_told_as_that(core, asked_here):
    core.live(status=FETCHING)
    if asked_here:
        answered(core.tell("change-cancelled"), change=None)
    else:
        core.tell("status-answered", status=status(change=fetching(cancelling=True)))
        core.tell("status-answered", status=status())
    assert core.card()["id"] == "cancelled"


def test_a_change_that_failed_is_told_as_a_problem_only(core):
    core.live(status=FETCHING).tell("status-answered", status=status(problem=problem()))
    assert core.card()["id"] == "problem"
    assert core.state["models"]["ending"] is None
