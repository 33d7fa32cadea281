"""The page's state core: events in, then the state and its plan."""

from __future__ import annotations

import pytest

from state_core import LOADING, STATS, STATUS

# -- the pace of frames --


def test_nothing_is_opened_or_captured_before_start(core):
    core.dispatch("status-received", status=STATUS)
    assert core.plan["camera"] is None
    assert core.plan["captureAt"] is None


def test_start_opens_the_camera_and_stop_closes_it(core):
    core.dispatch("started")
    assert core.plan["camera"] == {"attempt": 1, "deviceId": ""}
    core.dispatch("stopped")
    assert core.plan["camera"] is None


def test_one_frame_is_in_flight_at_a_time(core):
    core.live()
    for type_ in ("capture-started", "frame-sent", "text-received"):
        core.dispatch(type_, text="A")
        assert core.plan["captureAt"] is None


def test_next_frame_waits_for_the_caption_and_the_interval(core):
    core.live().dispatch("setting-changed", name="intervalS", value=2)
    assert core.captioned(at=1000, took=300).plan["captureAt"] == 3000
    assert core.captioned(at=3000, took=5000).plan["captureAt"] == 8000
    # Or for a longer one of the server's, which several cameras share.
    for chosen_s, due_at in ((5, 15_000), (1, 12_000)):
        core.dispatch("capture-started", 10_000).dispatch("frame-sent", 10_000)
        stats = {**STATS, "chosen": {"interval_s": chosen_s}}
        core.dispatch("caption-done", 10_100, text="A star.", stats=stats)
        assert core.plan["captureAt"] == due_at


def test_shorter_interval_applies_at_once(core):
    core.live().dispatch("setting-changed", name="intervalS", value=30).captioned(at=1000)
    assert core.plan["captureAt"] == 31_000
    core.dispatch("setting-changed", 2000, name="intervalS", value=1)
    assert core.plan["captureAt"] == 3000


def test_frame_may_be_skipped_only_after_one_was_captioned(core):
    core.live()
    assert core.must_send(0)
    core.captioned(at=0)
    assert not core.must_send(500)


def test_unchanged_scene_is_captured_again_and_sent_after_ten_seconds(core):
    core.live().captioned(at=1000)
    core.dispatch("capture-started", 2000).dispatch("frame-unchanged", 2010)
    assert core.state["request"] is None
    assert core.plan["captureAt"] > 2010
    assert not core.must_send(10_999)
    assert core.must_send(11_000)


def test_failed_frame_does_not_count_as_captioned(core):
    core.live().captioned(at=0).dispatch("capture-started", 1000).dispatch("frame-sent", 1000)
    core.dispatch("request-failed", 1100, kind="refused", message="no")
    assert core.must_send(1200)


def test_new_prompt_cancels_the_request_and_captures_a_new_frame(core):
    core.live().captioned(at=0).dispatch("capture-started", 500).dispatch("frame-sent", 500)
    core.dispatch("setting-changed", 600, name="preset", value="count")
    assert core.plan["requestId"] is None
    assert core.plan["captureAt"] == 600
    assert core.must_send(600)
    core.dispatch("text-received", 700, id=2, text="of the old prompt")
    core.dispatch("caption-done", 700, id=2, text="of the old prompt", stats=STATS)
    assert core.state["caption"]["text"] == "A red circle."
    assert core.dispatch("capture-started", 700).state["request"]["prompt"] == "How many?"


def test_other_settings_do_not_cancel_the_request(core):
    core.live().dispatch("capture-started", 0)
    core.dispatch("setting-changed", name="mirror", value=True)
    core.dispatch("setting-changed", name="ownPrompt", value="not chosen")
    assert core.plan["requestId"] == 1


def test_own_question_is_used_unless_it_is_empty(core):
    core.begin(settings={"preset": "count"}).live()
    core.dispatch("setting-changed", name="asksOwn", value=True)
    assert core.dispatch("capture-started").state["request"]["prompt"] == "How many?"
    core.dispatch("setting-changed", name="ownPrompt", value="  Is it safe?  ")
    assert core.dispatch("capture-started").state["request"]["prompt"] == "Is it safe?"


def test_typed_question_has_priority_until_its_first_answer(core):
    core.begin(settings={"asksOwn": True, "ownPrompt": " Is it safe? "}).live()
    kinds = []

    def capture(at):
        kinds.append(core.dispatch("capture-started", at).state["request"]["kind"])

    for at in (0, 1000):
        capture(at)
        core.dispatch("request-failed", at, kind="busy", message="Full.")
    for at in (2000, 3000):
        core.captioned(at)
        capture(at + 500)
    core.dispatch("setting-changed", 4000, name="ownPrompt", value="And now?")
    capture(4000)
    core.dispatch("setting-changed", 5000, name="asksOwn", value=False)
    capture(5000)
    assert kinds == ["question", "question", "live", "live", "question", "live"]


def test_removed_preset_falls_back_to_the_first(core):
    core.begin(settings={"preset": "removed"}).live()
    assert core.dispatch("capture-started").state["request"]["prompt"] == "Describe."


def test_hidden_page_pauses_and_resumes_when_visible(core):
    core.live().captioned(at=0).dispatch("visibility-changed", 1000, visible=False)
    assert core.plan["captureAt"] is None
    assert core.plan["pollAt"] is None
    assert core.plan["keepAwake"] is False
    core.dispatch("visibility-changed", 5000, visible=True)
    assert core.plan["captureAt"] <= 5000
    assert core.plan["pollAt"] == 5000
    assert core.plan["keepAwake"] is True


# -- the camera --


def test_events_of_an_earlier_camera_are_ignored(core):
    core.live().dispatch("setting-changed", name="deviceId", value="back")
    assert core.plan["camera"] == {"attempt": 2, "deviceId": "back"}
    core.dispatch("camera-failed", attempt=1, problem="ended")
    assert core.state["camera"]["phase"] == "opening"


def test_another_camera_sends_a_new_frame(core):
    core.live().captioned(at=0).dispatch("setting-changed", 500, name="deviceId", value="back")
    core.dispatch("camera-opened", 600, deviceId="back")
    assert core.plan["captureAt"] == 600
    assert core.must_send(600)


def test_captions_resume_when_a_failed_camera_is_back(core):
    devices = [{"deviceId": "front", "label": "Front"}]
    for problem in ("missing", "ended", "taken", "silent", "unknown"):
        core.begin().live().dispatch("camera-failed", problem=problem)
        core.dispatch("devices-listed", devices=devices, changed=False)
        assert core.plan["camera"] is None, problem
        core.dispatch("devices-listed", devices=devices, changed=True)
        assert core.plan["camera"] == {"attempt": 2, "deviceId": ""}, problem


def test_camera_that_opens_after_stop_stays_closed(core):
    core.dispatch("started").dispatch("stopped").dispatch("camera-opened", deviceId="front")
    assert core.plan["camera"] is None
    core.dispatch("devices-listed", devices=[{"deviceId": "a", "label": ""}], changed=True)
    assert core.plan["camera"] is None


# -- a hidden page --


def test_hidden_page_switches_its_camera_off_and_takes_it_again(core):
    core.live().captioned(at=0).dispatch("visibility-changed", 1000, visible=False)
    assert core.plan["captureAt"] is None
    assert core.plan["camera"] is not None
    assert core.plan["sleepAt"] == 31_000
    core.dispatch("sleep-due", 31_000)
    assert core.plan["camera"] is None and core.plan["sleepAt"] is None
    core.dispatch("visibility-changed", 40_000, visible=True)
    assert core.plan["camera"] is not None
    core.dispatch("camera-opened", 40_100, deviceId="front")
    assert core.plan["captureAt"] is not None
    # A short look at another tab costs nothing.
    core.dispatch("visibility-changed", 50_000, visible=False)
    core.dispatch("visibility-changed", 51_000, visible=True)
    assert core.state["camera"]["phase"] == "live"
    core.dispatch("setting-changed", 52_000, name="background", value=True)
    core.dispatch("visibility-changed", 53_000, visible=False)
    assert core.plan["captureAt"] is not None and core.plan["sleepAt"] is None


# -- two tabs --


def test_two_tabs_keep_each_others_settings(core):
    body = """
      let stored = null;
      const storage = () => ({
        getItem: () => stored,
        setItem: (key, text) => { stored = text; },
      });
      const before = M.loadSettings(storage);
      M.saveSettings(storage, M.changesOf(before, { ...before, preset: "count" }));
      M.saveSettings(storage, M.changesOf(before, { ...before, mirror: true }));
      const after = M.loadSettings(storage);
      return [after.preset, after.mirror, M.sharedOf(M.changesOf(before, after))];
    """
    assert core.run(body) == ["count", True, {"mirror": True}]


# -- start and stop --


def test_second_press_on_start_is_no_stop_and_a_broken_start_starts_again(core):
    core.dispatch("status-received", status=STATUS).dispatch("start-pressed", 1000)
    core.dispatch("start-pressed", 1300)
    assert core.state["started"]
    core.dispatch("start-pressed", 1500)
    assert not core.state["started"]
    core.dispatch("start-pressed", 2000).dispatch("camera-failed", 2100, problem="denied")
    attempt = core.state["camera"]["attempt"]
    assert not core.run("return M.isRunning(arg);", core.state)
    core.dispatch("start-pressed", 2200)
    assert core.state["started"] and core.state["camera"]["attempt"] == attempt + 1


# -- the server --


def test_unreachable_server_is_polled_with_backoff(core):
    core.live()
    waits = []
    for at in range(0, 120_000, 10_000):
        core.dispatch("status-failed", at, message="down")
        waits.append(core.plan["pollAt"] - at)
    assert waits[0] < 1000
    assert waits == sorted(waits)
    assert waits[-1] <= 8000
    assert core.plan["captureAt"] is None


def test_backoff_is_random_so_that_pages_do_not_reconnect_together(core):
    early, middle, late = core.run("return [0, 0.5, 1].map((random) => M.backoffMs(3, random));")
    assert early < middle < late == 2 * early


def test_captions_resume_at_once_when_the_server_is_back(core):
    core.live().captioned(at=0).dispatch("capture-started", 500).dispatch("frame-sent", 500)
    core.dispatch("request-failed", 600, kind="unreachable", message="down")
    core.dispatch("status-failed", 1000, message="down")
    core.dispatch("status-received", 9000, status=LOADING)
    assert core.plan["captureAt"] is None
    assert core.plan["pollAt"] == 10_000
    core.dispatch("status-received", 10_000, status=STATUS)
    assert core.plan["captureAt"] == 10_000
    assert core.must_send(10_000)
    assert core.notice(10_000) is None
    core.dispatch("status-failed", 20_000, message="down")
    assert core.plan["pollAt"] < 21_000


def test_request_to_a_loading_server_starts_polling(core):
    core.live().dispatch("capture-started", 0)
    core.dispatch("request-failed", 100, kind="loading", message="Loading.", retryAfterS=2)
    assert core.plan["pollAt"] == 100
    assert core.plan["captureAt"] is None
    assert core.notice(100)["id"] == "model-loading"


@pytest.mark.parametrize(("retry_after_s", "wait_ms"), [(7, 7000), (10**9, 60_000)])
def test_retry_after_of_a_busy_server_is_honoured_up_to_a_minute(core, retry_after_s, wait_ms):
    core.live().dispatch("capture-started", 1000)
    failure = {"kind": "busy", "message": "Full.", "retryAfterS": retry_after_s}
    core.dispatch("request-failed", 1000, **failure)
    assert core.plan["captureAt"] == 1000 + wait_ms


def test_superseded_frame_is_no_failure(core):
    superseded = {"kind": "superseded", "message": "A newer frame has arrived."}
    core.live().captioned(at=0).dispatch("capture-started", 1000).dispatch("frame-sent", 1000)
    core.dispatch("request-failed", 1100, **superseded)
    assert core.state["pace"]["failures"] == 0
    assert core.notice(1100) is None
    assert core.plan["captureAt"] == 1500
    assert core.must_send(1500)
    core.dispatch("capture-started", 1500).dispatch("request-failed", 9000, **superseded)
    assert 9000 < core.plan["captureAt"] < 9500


def test_failing_frames_are_retried_with_backoff_until_one_succeeds(core):
    core.live()
    waits = []

    def fail(at):
        core.dispatch("capture-started", at)
        core.dispatch("request-failed", at, kind="refused", message="no")
        waits.append(core.plan["captureAt"] - at)

    for at in range(0, 70_000, 10_000):
        fail(at)
    assert waits == sorted(waits)
    assert waits[-1] <= 8000
    core.captioned(at=70_000)
    fail(80_000)
    assert waits[-1] == waits[0]


def test_server_is_not_polled_while_a_frame_is_in_flight(core):
    core.live().dispatch("capture-started", 0).dispatch("frame-sent", 0)
    assert core.plan["pollAt"] is None


# -- settings --


def test_invalid_stored_settings_become_the_defaults(core):
    wrong = ({"intervalS": "1"}, {"intervalS": -1}, {"jpegQuality": 9}, {"theme": "pink"})
    stored = [None, 7, "x", [], *wrong]
    default, *results = core.run("return arg.map((one) => M.validSettings(one));", [{}, *stored])
    assert results == [default] * len(stored)
    assert default["jpegQuality"] == 0.8
    assert default["mirror"] is False


def test_forbidden_storage_gives_the_defaults(core):
    body = """
      const forbidden = () => { throw new Error("no"); };
      M.saveSettings(forbidden, {});
      return M.loadSettings(forbidden);
    """
    assert core.run(body)["jpegQuality"] == 0.8
