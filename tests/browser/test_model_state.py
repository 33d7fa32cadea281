"""The state core and models: requests to the server, and the course of a change."""

from __future__ import annotations

import pytest

from model_states import LARGE, NANO, SMALL, fetching, loading, models, problem
from state_core import STATUS


def status(model=NANO, **fields):
    return {**STATUS, "model": model, "models": models(model, **fields)}


FETCHING = status(change=fetching())
SWAPPED = status(SMALL)


def succeed(core, at=0, **fields):
    return core.dispatch("model-request-done", at, models=models(**fields))


def fail(core, at=0, kind="refused", message="No."):
    return core.dispatch("model-request-failed", at, kind=kind, message=message)


# -- requests --


def test_chosen_model_is_requested_once(core):
    core.live().dispatch("model-chosen", model=SMALL)
    request = core.plan["modelRequest"]
    assert (request["action"], request["model"]) == ("switch", SMALL)
    core.dispatch("model-chosen", model=LARGE).dispatch("model-chosen", model=SMALL)
    assert core.plan["modelRequest"] == request
    succeed(core, change=fetching())
    assert core.plan["modelRequest"] is None


def test_response_applies_at_once_and_starts_a_poll(core):
    core.live().dispatch("model-chosen", 1000, model=SMALL)
    succeed(core, 1100, change=fetching())
    assert core.state["server"]["status"]["models"]["change"] == fetching()
    assert core.plan["pollAt"] == 1100


def test_response_to_an_earlier_request_is_ignored(core):
    core.live().dispatch("model-chosen", model=SMALL)
    succeed(core).dispatch("model-chosen", model=LARGE)
    core.dispatch("model-request-done", id=1, models=models(change=fetching()))
    assert core.plan["modelRequest"]["model"] == LARGE
    assert core.state["server"]["status"]["models"]["change"] is None


def test_server_is_not_polled_while_a_model_request_is_in_flight(core):
    core.live().dispatch("model-chosen", model=SMALL)
    assert core.plan["pollAt"] is None


def test_only_a_change_can_be_cancelled(core):
    core.live().dispatch("change-cancelled")
    assert core.plan["modelRequest"] is None
    core.dispatch("status-received", status=FETCHING).dispatch("change-cancelled")
    assert core.plan["modelRequest"]["action"] == "cancel"


def test_problem_is_dismissed_on_the_server_and_a_refusal_only_here(core):
    core.live(status=status(problem=problem())).dispatch("problem-dismissed")
    assert core.plan["modelRequest"]["action"] == "dismiss"
    core.begin().live().dispatch("model-chosen", model=LARGE)
    fail(core).dispatch("problem-dismissed")
    assert core.plan["modelRequest"] is None
    assert core.state["models"]["refusal"] is None


def test_refusal_is_shown_until_the_next_request(core):
    core.live().dispatch("model-chosen", 1000, model=LARGE)
    fail(core, 1100, message="It needs 6.1 GB of memory.")
    assert core.state["models"]["refusal"]["message"] == "It needs 6.1 GB of memory."
    assert core.plan["pollAt"] == 1100
    core.dispatch("model-chosen", model=SMALL)
    assert core.state["models"]["refusal"] is None


@pytest.mark.parametrize("kind", ["unreachable", "timeout"])
def test_unanswered_model_request_starts_polling(core, kind):
    core.live().dispatch("model-chosen", model=SMALL)
    fail(core, kind=kind)
    assert core.state["server"]["phase"] == "gone"
    assert core.plan["modelRequest"] is None
    assert core.plan["pollAt"] is not None


# -- a change in progress --


def test_change_is_polled_every_second(core):
    for state in ("ready", "loading", "failed"):
        core.begin().live().dispatch("status-received", 1000, status={**FETCHING, "state": state})
        assert core.plan["pollAt"] == 2000, state
    core.begin().live().dispatch("status-received", status=FETCHING)
    core.dispatch("capture-started").dispatch("frame-sent")
    assert core.plan["pollAt"] == 1000


def test_captions_continue_during_a_change(core):
    core.live(status=FETCHING).captioned(at=0)
    assert core.plan["captureAt"] == 500
    assert core.notice(500) is None


# -- the swap --


def test_new_model_captions_even_an_unchanged_scene(core):
    core.live(status=FETCHING).captioned(at=0)
    core.dispatch("setting-changed", name="intervalS", value=30)
    assert not core.must_send(1000)
    core.dispatch("status-received", 1000, status=SWAPPED)
    assert core.must_send(1000)
    assert core.plan["captureAt"] <= 1000
    core.captioned(at=1000)
    assert not core.must_send(2000)


def test_frame_in_flight_at_the_swap_is_followed_by_one_for_the_new_model(core):
    core.live(status=FETCHING).dispatch("capture-started", 0).dispatch("frame-sent", 0)
    core.dispatch("status-received", 500, status=SWAPPED)
    assert core.plan["requestId"] == 1
    core.dispatch("caption-done", 600, text="By nano.", stats={})
    assert core.must_send(700)


def test_capture_during_the_swap_does_not_lose_the_new_models_frame(core):
    core.live(status=FETCHING).captioned(at=0).dispatch("capture-started", 500)
    core.dispatch("status-received", 505, status=SWAPPED).dispatch("frame-unchanged", 510)
    assert core.must_send(700)


def test_swap_is_shown_once_for_some_seconds(core):
    core.live(status=status(change=loading()))
    assert core.state["models"]["ending"] is None
    # The server still cleans up: the new model already runs.
    core.dispatch("status-received", 1000, status=status(SMALL, change=loading()))
    core.dispatch("status-received", 2000, status=SWAPPED)
    assert core.state["models"]["ending"]["at"] == 1000
    assert core.card(1000)["id"] == "swapped"
    assert core.card(60_000) is None


@pytest.mark.parametrize("first", [None, NANO])
def test_first_model_of_a_server_is_no_swap(core, first):
    core.live(status={**STATUS, "state": "loading", "model": first})
    core.dispatch("status-received", status=SWAPPED)
    assert core.card() is None


def test_another_model_after_a_restart_of_the_server_is_no_swap(core):
    core.live().dispatch("status-failed", message="down")
    core.dispatch("status-received", status=SWAPPED)
    assert core.card() is None


@pytest.mark.parametrize("failed_model", [NANO, SMALL])
def test_model_that_replaces_a_failed_one_is_a_swap_and_starts_captions(core, failed_model):
    failed = {**status(failed_model, change=loading()), "state": "failed"}
    assert core.live(status=failed).card()["id"] == "loading"
    core.dispatch("status-received", 1000, status=SWAPPED)
    assert core.card(1000)["id"] == "swapped"
    assert core.plan["captureAt"] == 1000


@pytest.mark.parametrize("here", [True, False])
def test_cancelled_change_is_shown_as_cancelled(core, here):
    core.live(status=FETCHING)
    if here:
        succeed(core.dispatch("change-cancelled"), change=None)
    else:
        core.dispatch("status-received", status=status(change=fetching(cancelling=True)))
        core.dispatch("status-received", status=status())
    assert core.card()["id"] == "cancelled"


def test_failed_change_is_shown_as_a_problem_only(core):
    core.live(status=FETCHING).dispatch("status-received", status=status(problem=problem()))
    assert core.card()["id"] == "problem"
    assert core.state["models"]["ending"] is None
