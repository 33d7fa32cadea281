"""The camera in the page's state core: which one is opened, and when again without a press."""

from __future__ import annotations

from typing import Any

import pytest

from state_core import STATUS, Core

A = {"deviceId": "a", "label": "Integrated Camera"}
B = {"deviceId": "b", "label": "USB Camera (046d:08e5)"}
CHOSEN_B = {"deviceId": "b", "deviceLabel": "USB Camera (046d:08e5)"}
HIDDEN = {"deviceId": "", "label": ""}


def list_cameras(core: Core, *devices: dict[str, str], at: float = 0, **fields: Any) -> Core:
    event = {"changed": True, "permission": "granted", **fields}
    return core.dispatch("devices-listed", at, devices=list(devices), **event)


def started_with(core: Core, settings: dict[str, Any], *devices: dict[str, str]) -> Core:
    core.begin(settings=settings).dispatch("status-received", status=STATUS)
    return list_cameras(core, *devices).dispatch("started")


def camera_to_open(core: Core) -> str | None:
    planned = core.plan["camera"]
    return None if planned is None else planned["deviceId"]


# -- the chosen camera --


def test_chosen_camera_is_found_by_id_or_label(core):
    found = {
        "its id": B,
        "another id, the same label": {**B, "deviceId": "x"},
        "another id, without the browser's ids": {"deviceId": "x", "label": "USB Camera"},
    }
    for case, device in found.items():
        started_with(core, CHOSEN_B, A, device)
        assert camera_to_open(core) == device["deviceId"], case


def test_no_other_camera_is_opened_while_the_chosen_one_is_missing(core):
    other = {**B, "deviceId": "x"}
    missing = {
        "another label": ([A], CHOSEN_B),
        "two cameras with its label": ([other, {**B, "deviceId": "y"}], CHOSEN_B),
        "a label that another camera shared": ([other], {**CHOSEN_B, "deviceIsTwin": True}),
        "no label known": ([A], {"deviceId": "b"}),
    }
    for case, (devices, settings) in missing.items():
        started_with(core, settings, *devices)
        assert camera_to_open(core) is None, case
        notice = core.notice()
        assert notice["id"] == "camera-gone", case
        assert (settings.get("deviceLabel") or "The chosen camera") in notice["title"]
        offered = [one["value"] for one in notice["actions"] if one["action"] == "use"]
        assert offered == [one["deviceId"] for one in devices], case


def test_camera_that_the_browser_does_not_name_is_tried_by_its_id(core):
    started_with(core, CHOSEN_B, HIDDEN)
    assert camera_to_open(core) == "b"
    core.dispatch("camera-failed", problem="missing")
    assert core.notice()["id"] == "camera-gone"
    # After the refusal the browser tells the names: the camera has another id now.
    list_cameras(core, A, {**B, "deviceId": "x"}, changed=False)
    assert camera_to_open(core) == "x"
    assert core.state["settings"]["deviceId"] == "x"


def test_any_camera_is_left_again_once_the_chosen_one_is_found(core):
    started_with(core, CHOSEN_B, HIDDEN).dispatch("camera-failed", problem="missing")
    (use, _) = core.notice()["actions"]
    assert (use["action"], use["value"]) == ("use", "")
    core.dispatch("any-camera-asked")
    assert camera_to_open(core) == ""
    list_cameras(core, A, {**B, "deviceId": "x"}, changed=False)
    core.dispatch("camera-opened", deviceId="a")
    assert camera_to_open(core) == "x"


def test_unplugged_chosen_camera_is_waited_for(core):
    started_with(core, CHOSEN_B, A, B).dispatch("camera-opened", deviceId="b")
    list_cameras(core, A).dispatch("camera-failed", 100, problem="ended")
    assert (camera_to_open(core), core.plan["reopenAt"]) == (None, None)
    assert core.notice()["id"] == "camera-gone"
    list_cameras(core, A, {"deviceId": "c", "label": "Third"}, at=200)
    assert camera_to_open(core) is None
    list_cameras(core, A, {**B, "deviceId": "x"}, at=300)
    assert camera_to_open(core) == "x"


def test_order_of_list_and_end_does_not_matter(core):
    started_with(core, CHOSEN_B, A, B).dispatch("camera-opened", deviceId="b")
    core.dispatch("camera-failed", 100, problem="ended")
    list_cameras(core, A, at=110)
    assert (camera_to_open(core), core.notice()["id"]) == (None, "camera-gone")


def test_another_camera_follows_if_none_was_chosen(core):
    started_with(core, {}, A, B).dispatch("camera-opened", deviceId="b")
    list_cameras(core, A).dispatch("camera-failed", 100, problem="ended")
    assert camera_to_open(core) == ""


def test_chosen_camera_with_another_id_stays_open(core):
    started_with(core, CHOSEN_B, A, B).dispatch("camera-opened", deviceId="b")
    attempt = core.state["camera"]["attempt"]
    list_cameras(core, {**A, "deviceId": "y"}, {**B, "deviceId": "x"})
    assert core.plan["camera"]["attempt"] == attempt
    assert core.state["camera"]["deviceId"] == core.state["settings"]["deviceId"] == "x"


def test_label_that_two_cameras_share_tells_neither(core):
    started_with(core, CHOSEN_B, A, B).dispatch("camera-opened", deviceId="b")
    twin = {**B, "deviceId": "twin"}
    list_cameras(core, A, B, twin)
    list_cameras(core, A, twin).dispatch("camera-failed", 100, problem="ended")
    assert camera_to_open(core) is None


def test_camera_chosen_in_a_notice_is_opened_and_kept(core):
    started_with(core, CHOSEN_B, A)
    core.dispatch("setting-changed", name="deviceId", value="a")
    assert camera_to_open(core) == "a"
    assert core.state["settings"]["deviceLabel"] == "Integrated Camera"


def test_try_again_asks_for_a_chosen_camera_that_is_not_listed(core):
    assert camera_to_open(started_with(core, CHOSEN_B, A).dispatch("retried")) == "b"


def test_cameras_of_one_name_are_numbered(core):
    started_with(core, {}, B, A, {**B, "deviceId": "twin"}).dispatch("camera-opened", deviceId="b")
    choices = core.run("return M.cameraChoices(arg);", core.state)
    labels = [one["label"] for one in choices["options"]]
    assert labels == [f"{B['label']} (1)", A["label"], f"{B['label']} (2)"]
    assert choices["selected"] == "b"


def test_missing_chosen_camera_stays_selected(core):
    started_with(core, CHOSEN_B, A)
    choices = core.run("return M.cameraChoices(arg);", core.state)
    assert choices["selected"] == "b"
    assert choices["options"][-1]["label"] == f"{B['label']} (not connected)"


# -- refusals --


@pytest.mark.parametrize("problem", ["denied", "dismissed", "system", "embedded"])
def test_refusal_is_not_asked_again_by_itself(core, problem):
    prompt = {"permission": "prompt"}
    list_cameras(core.begin(), HIDDEN, **prompt).dispatch("started")
    core.dispatch("camera-failed", problem=problem)
    list_cameras(core, A, **prompt)
    list_cameras(core, A, B, permission="denied")
    core.dispatch("network-returned").dispatch("visibility-changed", visible=True)
    assert (camera_to_open(core), core.plan["reopenAt"]) == (None, None)
    list_cameras(core, A, B, permission="granted")
    assert camera_to_open(core) == ""


def test_withdrawn_permission_is_not_asked_for(core):
    list_cameras(core, A).dispatch("started").dispatch("camera-opened", deviceId="a")
    list_cameras(core, HIDDEN, permission="prompt").dispatch("camera-failed", problem="ended")
    assert (camera_to_open(core), core.plan["reopenAt"]) == (None, None)
    assert core.notice()["id"] == "camera-denied"


# -- opened again by itself --


def test_taken_camera_is_tried_again_with_longer_and_longer_waits(core):
    started_with(core, CHOSEN_B, A, B)
    waits, at = [], 0.0
    for _ in range(8):
        core.dispatch("camera-failed", at, problem="taken")
        reopen_at = core.plan["reopenAt"]
        assert core.notice(at)["until"] == reopen_at
        waits.append(reopen_at - at)
        at = reopen_at
        core.dispatch("camera-retry-due", at)
        assert camera_to_open(core) == "b"
        # The notice stays meanwhile, or a screen reader would hear it again and again.
        assert core.notice(at)["id"] == "camera-taken"
    assert waits == sorted(waits)
    assert waits[0] <= 3_000
    assert waits[-1] == waits[-2] <= 60_000


def test_stopped_camera_is_opened_again_once_by_itself(core):
    core.live().captioned(at=0).dispatch("camera-stalled", 20_000, stalled=True)
    assert core.plan["captureAt"] is None
    assert core.notice(20_000)["id"] == "camera-stalled"
    reopen_at = core.plan["reopenAt"]
    core.dispatch("camera-retry-due", reopen_at)
    assert core.plan["camera"]["attempt"] == 2
    assert core.notice(reopen_at)["id"] == "camera-stalled"
    core.dispatch("camera-opened", reopen_at + 300, deviceId="front")
    assert core.notice(reopen_at + 300) is None
    core.dispatch("camera-stalled", reopen_at + 3_500, stalled=True)
    assert core.plan["reopenAt"] is None
    assert [one["label"] for one in core.notice(reopen_at + 3_500)["actions"]] == ["Try again"]
    assert core.dispatch("retried", 90_000).plan["camera"]["attempt"] == 3


def test_camera_that_sends_again_is_not_opened_again(core):
    core.live().dispatch("camera-stalled", 5_000, stalled=True)
    core.dispatch("camera-stalled", 6_000, stalled=False)
    assert core.plan["reopenAt"] is None
    assert core.plan["captureAt"] is not None
    assert core.notice(6_000) is None


def test_nothing_is_opened_again_after_stop_or_while_hidden(core):
    core.live().dispatch("camera-stalled", 5_000, stalled=True)
    core.dispatch("visibility-changed", 5_500, visible=False)
    assert core.plan["reopenAt"] is None
    core.dispatch("visibility-changed", 5_600, visible=True).dispatch("stopped", 6_000)
    assert core.plan["reopenAt"] is None
    assert core.dispatch("camera-retry-due", 9_000).plan["camera"] is None


# -- pictures --


def test_muted_camera_is_told_after_three_seconds(core):
    core.live().captioned(at=0).dispatch("camera-muted", 1_000, muted=True)
    assert core.plan["captureAt"] is None
    assert core.notice(3_900) is None
    assert core.notice(4_000)["id"] == "camera-muted"
    core.dispatch("camera-muted", 5_000, muted=False)
    assert core.plan["captureAt"] <= 5_000
    assert core.notice(5_000) is None


def test_mute_that_follows_silence_is_a_halt(core):
    core.live().dispatch("camera-muted", 1_000, muted=True, silentMs=900)
    core.dispatch("camera-stalled", 3_000, stalled=True)
    assert core.notice(9_000)["id"] == "camera-stalled"


def test_black_picture_is_told_until_there_is_something_to_see(core):
    core.live().dispatch("capture-started", 1_000).dispatch("frame-black", 2_000)
    assert core.notice(2_000)["id"] == "camera-black"
    assert core.plan["captureAt"] > 2_000
    core.dispatch("capture-started", 3_000).dispatch("frame-sent", 3_100)
    assert core.notice(3_100) is None


def test_refuted_picture_leaves_no_caption_and_its_question_is_asked_again(core):
    core.begin(settings={"asksOwn": True, "ownPrompt": "Is it safe?"}).live()
    core.dispatch("capture-started", 1_000).dispatch("frame-sent", 1_100)
    core.dispatch("frame-refuted", 1_200)
    state = core.state
    assert state["session"]["entries"] == []
    assert (state["caption"]["text"], state["request"]) == ("", None)
    assert core.plan["captureAt"] == 1_200
    assert core.must_send(1_200)
    assert core.dispatch("capture-started", 1_200).state["request"]["kind"] == "question"


def test_frame_age_is_that_of_the_cameras_frame(core):
    core.live().dispatch("capture-started", 1_000).dispatch("frame-sent", 2_000, frameAt=1_900)
    core.dispatch("caption-done", 2_500, text="A star.", stats={})
    assert core.state["caption"]["capturedAt"] == 1_900


def test_corrected_levels_are_told(core):
    core.live().dispatch("capture-started", 0).dispatch("frame-sent", 0, isFullRange=True)
    core.dispatch("caption-done", 100, text="A star.", stats={})
    chip = core.run("return M.chipOf(arg, 100);", core.state)
    assert chip["text"] == "Live, full range levels"
