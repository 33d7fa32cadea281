"""The page's state core: events in, the next state, and what it then asks of the world."""

from __future__ import annotations

import pytest
from state_core import LOADING, STATS, STATUS

# -- the pace of frames --


def test_nothing_is_opened_or_sent_before_start(core):
    core.tell("status-answered", status=STATUS)
    assert core.plan["camera"] is None
    assert core.plan["lookAt"] is None


def test_start_opens_the_camera_and_stop_closes_it(core):
    core.tell("started")
    assert core.plan["camera"] == {"request": 1, "deviceId": ""}
    core.tell("stopped")
    assert core.plan["camera"] is None


def test_one_frame_is_under_way_at_a_time(core):
    core.live().tell("look-begun", 0)
    assert core.plan["lookAt"] is None
    core.tell("frame-sent", 10, id=core.pass_id)
    assert core.plan["lookAt"] is None
    core.tell("words-arrived", 50, id=core.pass_id, text="A")
    assert core.plan["lookAt"] is None


def test_the_next_frame_waits_for_the_caption_and_for_the_interval(core):
    core.live().tell("setting-changed", name="intervalS", value=2)
    assert core.captioned(at=1000, took=300).plan["lookAt"] == 3000
    assert core.captioned(at=3000, took=5000).plan["lookAt"] == 8000


def test_a_shorter_interval_counts_at_once(core):
    core.live().tell("setting-changed", name="intervalS", value=30).captioned(at=1000)
    assert core.plan["lookAt"] == 31_000
    core.tell("setting-changed", 2000, name="intervalS", value=1)
    assert core.plan["lookAt"] == 3000


def test_a_frame_may_be_left_out_only_after_one_was_captioned(core):
    core.live()
    assert core.must_send(0)
    core.captioned(at=0)
    assert not core.must_send(500)


def test_an_unchanged_scene_is_looked_at_again_and_sent_after_ten_seconds(core):
    core.live().captioned(at=1000).tell("look-begun", 2000).tell("frame-unchanged", 2010, id=2)
    assert core.state["pass"] is None
    assert core.plan["lookAt"] > 2010
    assert not core.must_send(10_999)
    assert core.must_send(11_000)


def test_a_failed_frame_does_not_count_as_captioned(core):
    core.live().captioned(at=0).tell("look-begun", 1000).tell("frame-sent", 1000, id=2)
    core.tell("pass-failed", 1100, id=2, kind="refused", message="no")
    assert core.must_send(1200)


def test_another_prompt_drops_the_frame_under_way_and_sends_a_fresh_one(core):
    core.live().captioned(at=0).tell("look-begun", 500).tell("frame-sent", 500, id=2)
    core.tell("setting-changed", 600, name="preset", value="count")
    assert core.plan["passId"] is None
    assert core.plan["lookAt"] == 600
    assert core.must_send(600)
    core.tell("words-arrived", 700, id=2, text="of the old prompt")
    core.tell("caption-done", 700, id=2, text="of the old prompt", stats=STATS)
    assert core.state["caption"]["text"] == "A red circle."
    assert core.tell("look-begun", 700).state["pass"]["prompt"] == "How many?"


def test_settings_that_do_not_touch_the_prompt_leave_the_frame_under_way(core):
    core.live().tell("look-begun", 0)
    core.tell("setting-changed", name="mirror", value=True)
    core.tell("setting-changed", name="ownPrompt", value="not chosen")
    assert core.plan["passId"] == 1


def test_an_own_question_is_asked_once_it_says_something(core):
    core.begin(settings={"preset": "count"}).live()
    core.tell("setting-changed", name="asksOwn", value=True)
    assert core.tell("look-begun").state["pass"]["prompt"] == "How many?"
    core.tell("setting-changed", name="ownPrompt", value="  Is it safe?  ")
    assert core.tell("look-begun").state["pass"]["prompt"] == "Is it safe?"


def test_a_typed_question_goes_before_live_frames_until_its_first_answer(core):
    core.begin(settings={"asksOwn": True, "ownPrompt": " Is it safe? "}).live()
    kinds = []
    for at in (0, 1000):
        kinds.append(core.tell("look-begun", at).state["pass"]["kind"])
        core.tell("pass-failed", at, id=core.pass_id, kind="busy", message="Full.")
    for at in (2000, 3000):
        core.captioned(at)
        kinds.append(core.tell("look-begun", at + 500).state["pass"]["kind"])
    core.tell("setting-changed", 4000, name="ownPrompt", value="And now?")
    kinds.append(core.tell("look-begun", 4000).state["pass"]["kind"])
    core.tell("setting-changed", 5000, name="asksOwn", value=False)
    kinds.append(core.tell("look-begun", 5000).state["pass"]["kind"])
    assert kinds == ["question", "question", "live", "live", "question", "live"]


def test_a_preset_that_is_gone_gives_way_to_the_first(core):
    core.begin(settings={"preset": "removed"}).live()
    assert core.tell("look-begun").state["pass"]["prompt"] == "Describe."


def test_a_hidden_page_rests_and_goes_on_when_seen_again(core):
    core.live().captioned(at=0).tell("visibility-changed", 1000, visible=False)
    assert core.plan["lookAt"] is None
    assert core.plan["askAt"] is None
    assert core.plan["keepAwake"] is False
    core.tell("visibility-changed", 5000, visible=True)
    assert core.plan["lookAt"] <= 5000
    assert core.plan["askAt"] == 5000
    assert core.plan["keepAwake"] is True


# -- the camera --


def test_answers_about_an_earlier_camera_are_ignored(core):
    core.live().tell("setting-changed", name="deviceId", value="back")
    assert core.plan["camera"] == {"request": 2, "deviceId": "back"}
    core.tell("camera-failed", request=1, problem="ended")
    assert core.state["camera"]["phase"] == "opening"


def test_another_camera_means_a_fresh_frame(core):
    core.live().captioned(at=0).tell("setting-changed", 500, name="deviceId", value="back")
    core.tell("camera-opened", 600, request=2, deviceId="back")
    assert core.plan["lookAt"] == 600
    assert core.must_send(600)


@pytest.mark.parametrize("problem", ["missing", "ended", "taken", "denied"])
def test_captions_go_on_when_the_camera_is_back(core, problem):
    core.live().tell("camera-failed", request=1, problem=problem)
    assert core.plan["camera"] is None
    devices = [{"deviceId": "front", "label": "Front"}]
    core.tell("devices-listed", devices=devices, changed=False)
    assert core.plan["camera"] is None
    core.tell("devices-listed", devices=devices, changed=True)
    assert core.plan["camera"] == {"request": 2, "deviceId": ""}


def test_a_camera_that_comes_after_stop_stays_closed(core):
    core.tell("started").tell("stopped").tell("camera-opened", request=1, deviceId="front")
    assert core.plan["camera"] is None
    core.tell("devices-listed", devices=[{"deviceId": "a", "label": ""}], changed=True)
    assert core.plan["camera"] is None


# -- the server --


def test_a_server_that_is_gone_is_asked_again_ever_more_rarely(core):
    core.live()
    waits = []
    for at in range(0, 120_000, 10_000):
        core.tell("status-missed", at, message="down")
        waits.append(core.plan["askAt"] - at)
    assert waits[0] < 1000
    assert waits == sorted(waits)
    assert waits[-1] <= 8000
    assert core.plan["lookAt"] is None


def test_pages_that_lose_the_server_together_do_not_come_back_together(core):
    body = "return [0, 0.5, 1].map((random) => M.backoffMs(3, random));"
    early, middle, late = core.run(body, None)
    assert early < middle < late == 2 * early


def test_captions_go_on_at_once_when_the_server_is_back(core):
    core.live().captioned(at=0).tell("look-begun", 500).tell("frame-sent", 500, id=2)
    core.tell("pass-failed", 600, id=2, kind="unreachable", message="down")
    core.tell("status-missed", 1000, message="down").tell("status-answered", 9000, status=LOADING)
    assert core.plan["lookAt"] is None
    assert core.plan["askAt"] == 10_000
    core.tell("status-answered", 10_000, status=STATUS)
    assert core.plan["lookAt"] == 10_000
    assert core.must_send(10_000)
    assert core.notice(10_000) is None
    core.tell("status-missed", 20_000, message="down")
    assert core.plan["askAt"] < 21_000


def test_an_answer_that_a_restarted_server_still_loads_leads_back_to_asking(core):
    core.live().tell("look-begun", 0)
    core.tell("pass-failed", 100, id=1, kind="loading", message="Loading.", retryAfterS=2)
    assert core.plan["askAt"] == 100
    assert core.plan["lookAt"] is None
    assert core.notice(100)["id"] == "model-loading"


@pytest.mark.parametrize(("retry_after_s", "wait_ms"), [(7, 7000), (10**9, 60_000)])
def test_a_busy_server_is_left_alone_as_long_as_it_asks(core, retry_after_s, wait_ms):
    core.live().tell("look-begun", 1000)
    core.tell("pass-failed", 1000, id=1, kind="busy", message="Full.", retryAfterS=retry_after_s)
    assert core.plan["lookAt"] == 1000 + wait_ms


def test_a_frame_that_a_newer_one_replaced_is_nothing_to_complain_about(core):
    core.live().captioned(at=0).tell("look-begun", 1000).tell("frame-sent", 1000, id=2)
    core.tell("pass-failed", 1100, id=2, kind="superseded", message="A newer frame has come.")
    assert core.state["pace"]["failures"] == 0
    assert core.notice(1100) is None
    assert core.plan["lookAt"] == 1500
    assert core.must_send(1500)
    core.tell("look-begun", 1500)
    core.tell("pass-failed", 9000, id=3, kind="superseded", message="A newer frame has come.")
    assert 9000 < core.plan["lookAt"] < 9500


def test_frames_that_keep_failing_are_tried_ever_more_rarely_until_one_succeeds(core):
    core.live()
    waits = []
    for at in (0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000):
        core.tell("look-begun", at)
        core.tell("pass-failed", at, id=core.pass_id, kind="refused", message="no")
        waits.append(core.plan["lookAt"] - at)
    assert waits == sorted(waits)
    assert waits[-1] <= 8000
    core.captioned(at=70_000).tell("look-begun", 80_000)
    core.tell("pass-failed", 80_000, id=core.pass_id, kind="refused", message="no")
    assert core.plan["lookAt"] - 80_000 == waits[0]


def test_a_server_at_work_on_a_frame_is_not_asked_how_it_is(core):
    core.live().tell("look-begun", 0).tell("frame-sent", 0, id=1)
    assert core.plan["askAt"] is None


# -- what is kept --


def test_a_caption_that_repeats_prolongs_the_one_before(core):
    core.live()
    for at, text in ((0, "A"), (1000, "A"), (2000, "B"), (3000, "A"), (4000, " ")):
        core.captioned(at=at, text=text, took=0)
    told = [(one["text"], one["clock"], one["lastClock"]) for one in core.state["history"]]
    assert told == [("A", 0, 1000), ("B", 2000, 2000), ("A", 3000, 3000)]


def test_the_list_of_captions_is_bounded_and_can_be_cleared(core):
    body = """
      let state = arg;
      for (let at = 0; at < 700; at += 1) {
        state = M.reduce(state, { type: "look-begun", at });
        const done = { type: "caption-done", id: state.pass.id, text: `${at}`, stats: {} };
        state = M.reduce(state, { ...done, at, clock: at });
      }
      return state;
    """
    core.state = core.run(body, core.live().state)
    assert len(core.state["history"]) == 500
    assert core.state["history"][-1]["text"] == "699"
    assert core.tell("history-cleared").state["history"] == []


@pytest.mark.parametrize(
    "junk",
    [
        None,
        7,
        "x",
        [],
        {"intervalS": "1"},
        {"intervalS": -1},
        {"jpegQuality": 9},
        {"theme": "pink"},
    ],
)
def test_rubbish_in_the_memory_gives_the_defaults(core, junk):
    lawful = core.run("return M.lawfulSettings(arg);", junk)
    assert lawful == core.run("return M.lawfulSettings(null);", None)
    assert lawful["jpegQuality"] == 0.8
    assert lawful["mirror"] is False


def test_forbidden_storage_is_lived_with(core):
    body = """
      const forbidden = () => { throw new Error("no"); };
      M.rememberSettings(forbidden, {});
      return M.rememberedSettings(forbidden);
    """
    assert core.run(body, None)["jpegQuality"] == 0.8
