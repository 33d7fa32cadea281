"""Sources in the page's state core: windows, videos, the sample and pictures."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import Any

import pytest

from model_states import fetching, models
from state_core import STATS, STATUS, Core

SCREEN = {"kind": "screen", "id": 1, "name": "A window"}
VIDEO = {"kind": "video", "id": 2, "name": "clip.mp4"}
SAMPLE = {"kind": "sample", "id": 3, "name": "Sample drawings"}
CAMERA = {"deviceId": "front", "label": "Front"}
TEXTS = ("A red circle.", "A blue star.")
# The problems of cameras that leave no other camera to choose.
WITHOUT_CAMERA = ("denied", "dismissed", "system", "embedded", "missing", "taken", "silent")


def shown(core: Core, source: dict[str, Any], at: float = 0) -> Core:
    core.dispatch("source-chosen", at, source=source)
    return core.dispatch("camera-opened", at, deviceId="")


def captioned_at(core: Core, at: float, seconds: float | None, text: str = TEXTS[0]) -> Core:
    core.dispatch("capture-started", at).dispatch("frame-sent", at, seconds=seconds)
    return core.dispatch("caption-done", at, text=text, stats=STATS)


def entries_of(core: Core) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = core.run("return M.entriesOf(arg);", core.state["session"])
    return entries


def actions_of(core: Core, at: float = 0) -> list[str]:
    notice = core.notice(at)
    return [] if notice is None else [one["action"] for one in notice["actions"]]


# -- changing the source --


@pytest.mark.parametrize("source", [SCREEN, VIDEO, SAMPLE], ids=lambda one: one["kind"])
def test_change_of_the_source_drops_the_words_and_ends_the_moment(core, source):
    core.dispatch("devices-listed", devices=[CAMERA], permission="granted", changed=True)
    captioned_at(core.live(), 1000, None)
    core.dispatch("capture-started", 2000).dispatch("frame-sent", 2000)
    core.dispatch("text-received", 2100, text="A red")
    shown(core, source, 2200)
    state = core.state
    assert (state["request"], state["caption"]["text"]) == (None, "")
    assert core.plan["camera"] is not None and core.plan["sleepAt"] is None
    captioned_at(core, 3000, None)
    first, gap, last = entries_of(core)
    assert gap["whys"] == ["source"]
    assert [first["source"], last["source"]] == ["Front", source["name"]]
    core.dispatch("camera-chosen", 4000)
    assert core.state["source"]["kind"] == "camera" and core.state["camera"]["phase"] == "opening"


def test_a_hidden_page_gives_up_its_camera_and_nothing_else(core):
    for source in (None, SCREEN, VIDEO, SAMPLE):
        core.begin().live()
        if source:
            shown(core, source)
        core.dispatch("visibility-changed", 100, visible=False)
        assert (core.plan["sleepAt"] is None) == (source is not None)
        if source is VIDEO:
            assert core.plan["playback"]["plays"] is False


def test_cameras_that_come_and_go_do_not_touch_another_source(core):
    shown(core.live(), SCREEN)
    attempt = core.state["camera"]["attempt"]
    core.dispatch("devices-listed", devices=[CAMERA], permission="granted", changed=True)
    core.dispatch("camera-failed", problem="ended")
    core.dispatch("devices-listed", devices=[], permission="prompt", changed=True)
    assert core.state["camera"]["attempt"] == attempt
    assert core.notice()["id"] == "screen-ended"


# -- how a video plays --


def test_paused_video_is_captioned_once_and_again_after_a_jump(core):
    core.live()
    shown(core, VIDEO)
    assert core.plan["playback"] == {"plays": True, "speed": 1, "loops": False}
    captioned_at(core, 1000, 1.0)
    core.dispatch("capture-started", 1500)
    core.dispatch("play-pressed", 2000)
    assert core.plan["requestId"] is None and core.plan["captureAt"] == 2000
    captioned_at(core, 2100, 2.0)
    assert core.plan["captureAt"] is None and not core.plan["playback"]["plays"]
    core.dispatch("video-moving", 3000)
    assert core.plan["captureAt"] is None and core.plan["stillId"] is None
    core.dispatch("video-moved", 3100)
    assert core.plan["captureAt"] == 3100
    # Until there are words of this place, those of the other one are old.
    assert core.run("return M.areOldWords(arg, 3100);", core.state)
    captioned_at(core, 3200, 7.0)
    assert core.run("return M.chipOf(arg, 3200);", core.state)["time"] == "words of 0:07"
    core.dispatch("setting-changed", 3300, name="preset", value="count")
    assert core.plan["captureAt"] == 3300
    core.dispatch("play-pressed", 4000).dispatch("video-paused", 5000, hasEnded=True)
    assert core.state["playback"]["hasEnded"] and core.plan["captureAt"] == 5000


def test_frozen_video_stands_still_and_names_its_place(core):
    core.live()
    shown(core, VIDEO).dispatch("freeze-pressed", 100)
    still = {"picture": "jpeg", "width": 4, "height": 3, "seconds": 65.2}
    core.dispatch("still-taken", 200, id=1, **still)
    assert not core.plan["playback"]["plays"]
    chip = core.run("return M.chipOf(arg, 200);", core.state)
    assert (chip["text"], chip["time"]) == ("Frozen", "at 1:05")


@pytest.mark.parametrize("seed", range(12))
def test_moments_of_a_video_cover_no_pause_and_no_jump(core, seed):
    choice = random.Random(seed)
    core.live()
    shown(core, VIDEO)
    at, place, plays, breaks = 0, 0.0, True, []
    for _ in range(80):
        step = choice.randint(200, 4000)
        at += step
        place += step / 1000 if plays else 0
        action = choice.choice(["caption", "caption", "caption", "pause", "jump", "look"])
        if action == "pause":
            core.dispatch("play-pressed", at)
            plays = not plays
            breaks += [] if plays else [place]
            if not plays:
                captioned_at(core, at, place, choice.choice(TEXTS))
        elif action == "jump":
            breaks.append(place)
            place = choice.uniform(0, 100)
            core.dispatch("video-moving", at).dispatch("video-moved", at)
            captioned_at(core, at, place, choice.choice(TEXTS))
        elif plays and action == "caption":
            captioned_at(core, at, place, choice.choice(TEXTS))
        elif plays:
            core.dispatch("capture-started", at).dispatch("frame-unchanged", at, seconds=place)
    entries = entries_of(core)
    moments = [one for one in entries if one["kind"] == "caption"]
    assert moments and {one["source"] for one in moments} == {"clip.mp4"}
    for one in moments:
        # A jump back, or a pause within, would make the place and the clock disagree.
        lasted = (one["to"] - one["from"]) / 1000
        assert one["toSeconds"] - one["seconds"] == pytest.approx(lasted, abs=0.001)
    for before, after in pairwise(entries):
        assert before["to"] == after["from"]
    whys = {why for one in entries if one["kind"] == "gap" for why in one["whys"]}
    assert whys <= {"moved", "paused", "unseen"} and whys


def test_subtitles_of_a_video_follow_its_own_time(core):
    core.live()
    captioned_at(core, 0, None, "Not of the video.")
    shown(core, VIDEO, 1000)
    captioned_at(core, 1000, 0.0, "Seen once.")
    captioned_at(core, 5000, 4.0, "A --> B")
    core.dispatch("video-moving", 6000).dispatch("video-moved", 6000)
    captioned_at(core, 6000, 0.0, "Seen again.")
    captioned_at(core, 6500, 0.5, "Later.")
    subtitles = core.run(
        "return M.FILES['video.srt'].write(M.entriesOf(arg));", core.state["session"]
    )
    assert subtitles == (
        "1\n00:00:00,000 --> 00:00:00,500\nSeen again.\n\n"
        "2\n00:00:00,500 --> 00:00:02,500\nLater.\n\n"
        "3\n00:00:04,000 --> 00:00:06,000\nA → B\n"
    )
    times = core.run("return M.entriesOf(arg).map(M.timesText);", core.state["session"])
    assert times[-1].endswith(" · 0:00")


# -- pictures --


def open_picture(core: Core, name: str, is_first: bool, at: float = 0) -> Core:
    picture = {"picture": "jpeg", "width": 4, "height": 3}
    return core.dispatch("picture-opened", at, **picture, name=name, isFirst=is_first)


def questions(core: Core) -> list[int]:
    return [len(still["thread"]) for still in core.state["stills"]]


def test_each_picture_is_asked_about_once_when_it_comes_into_view(core):
    core.dispatch("status-received", status=STATUS)
    open_picture(core, "a.png", True)
    open_picture(core, "b.png", False)
    assert questions(core) == [1, 0] and core.plan["askAt"] is not None
    assert core.plan["camera"] is None
    for still_id in (2, 1, 2):
        core.dispatch("view-opened", stillId=still_id, panel=None)
    assert questions(core) == [1, 1]
    chip = core.run("return M.chipOf(arg, 0);", core.state)
    assert (chip["text"], chip["time"]) == ("b.png", "")
    core.dispatch("start-pressed", 1000)
    assert core.state["view"]["stillId"] is None and core.state["started"]


def test_picture_takes_the_place_of_a_camera_that_fails_and_not_of_one_that_works(core):
    core.live().dispatch("camera-failed", problem="denied")
    open_picture(core, "a.png", True)
    assert not core.state["started"] and core.notice() is None
    core.begin().live()
    open_picture(core, "a.png", True)
    assert core.state["started"] and core.plan["camera"] is not None
    core.dispatch("freeze-pressed")
    assert core.plan["captureAt"] is not None


def test_only_pictures_of_a_camera_are_mirrored(core):
    mirrored = "return M.isMirrored(arg);"
    core.begin(settings={"mirror": True}).live()
    assert core.run(mirrored, core.state, "core/source")
    open_picture(core, "a.png", True)
    assert not core.run(mirrored, core.state, "core/source")
    shown(core, SCREEN)
    assert not core.run(mirrored, core.state, "core/source")


# -- words and ways on --


def test_notices_of_cameras_offer_what_works_without_one(core):
    for problem in WITHOUT_CAMERA:
        core.begin(canShare=True).live().dispatch("camera-failed", problem=problem)
        assert actions_of(core)[-3:] == ["file", "screen", "sample"], problem
        # Phones share no windows.
        core.begin(canShare=False).live().dispatch("camera-failed", problem=problem)
        assert actions_of(core)[-2:] == ["file", "sample"], problem


@pytest.mark.parametrize("source", [SCREEN, VIDEO, SAMPLE], ids=lambda one: one["kind"])
def test_each_failure_of_another_source_has_words_and_ways_on(core, source):
    way = {"screen": "screen", "video": "file", "sample": "sample"}[source["kind"]]
    for problem in ("ended", "denied", "missing", "taken", "silent", "unknown"):
        shown(core.begin(canShare=True).live(), source)
        core.dispatch("camera-failed", problem=problem)
        notice = core.notice()
        assert notice["title"] and notice["text"].endswith(".")
        assert actions_of(core) == [way, "camera"]
        assert core.plan["reopenAt"] is None


def test_what_cannot_be_shown_is_told_beside_what_is_in_view(core):
    shown(core.live(), SAMPLE)
    refuse = {"kind": "files", "problems": [{"name": "a.txt", "why": "type"}]}
    core.dispatch("files-chosen", count=6).dispatch("source-refused", **refuse)
    notice = core.notice()
    assert notice["title"] == "“a.txt” cannot be shown"
    assert notice["text"] == "It is no picture and no video."
    for why in ("broken", "empty", "gone", "large", "unplayable"):
        core.dispatch("source-refused", kind="files", problems=[{"name": f"{why}.x", "why": why}])
    notice = core.notice()
    assert notice["title"] == "6 files cannot be shown"
    assert "“gone.x” cannot be read" in notice["text"] and "2 more" in notice["text"]
    assert core.plan["captureAt"] is not None
    core.dispatch("refusal-closed")
    for _ in range(6):
        core.dispatch("file-read")
    assert core.notice() is None
    for why in ("denied", "missing", "taken"):
        core.dispatch("source-refused", kind="screen", problems=[{"name": "", "why": why}])
        assert actions_of(core) == ["screen", "close"]
    core.dispatch("refusal-closed").dispatch("files-chosen", 0, count=3)
    assert core.notice(100) is None
    assert core.notice(1000)["title"] == "Reading 3 files"


def test_insecure_address_tells_what_is_true_on_this_machine(core):
    here, elsewhere = ({**STATUS, "same_machine": same} for same in (True, False))
    cases = [
        ("linux", here, ["localhost", "file", "sample"], "open it as localhost"),
        ("android", elsewhere, ["file", "sample"], "adb reverse tcp:5000 tcp:5000"),
        ("ios", elsewhere, ["file", "sample"], "HTTPS proxy"),
        ("windows", elsewhere, ["file", "sample"], "ssh -N -L 5000:192.168.1.5:5000 192.168.1.5"),
        ("windows", None, ["file", "sample"], "Wait for"),
    ]
    for platform, status, actions, words in cases:
        core.begin(secure=False, canShare=False, platform=platform, host="192.168.1.5:5000")
        if status:
            core.dispatch("status-received", status=status)
        assert actions_of(core) == actions
        assert words in core.notice()["text"]
        shown(core, SAMPLE)
        assert core.notice() is None or core.notice()["id"] != "insecure"
        assert core.plan["camera"] is not None
    open_picture(core.begin(secure=False), "a.png", True)
    assert core.notice() is None


def test_reload_keeps_the_words_and_says_what_it_cannot_bring_back(core):
    kept = "return M.sessionOf(M.keptText(arg.session, true, arg.source));"
    for source, action in ((SCREEN, "screen"), (VIDEO, "file"), (SAMPLE, "sample")):
        core.begin().live()
        shown(core, source)
        seconds = 2.5 if source is VIDEO else None
        captioned_at(core, 1000, seconds)
        before = entries_of(core)
        after = core.run(kept, core.state)
        assert after["session"]["entries"] == before
        core.begin(kept=after)
        assert actions_of(core) == [action, "camera-start", "not-continued"]
        if source is VIDEO:
            assert "“clip.mp4”" in core.notice()["text"]
    core.begin().dispatch("status-received", status=STATUS)
    open_picture(core, "a.png", True).dispatch("ask-started")
    core.dispatch("ask-done", id=1, text="A star.", end="stop", stats=STATS, seconds=1)
    (answer,) = entries_of(core)
    assert (answer["source"], answer["text"]) == ("a.png", "A star.")
    after = core.run(kept, core.state)
    assert after["session"]["entries"] == [answer]
    # The next answer is another entry.
    core.begin(kept=after)
    assert core.state["lastTurnId"] == int(re.sub(r"\D", "", answer["id"]))


def test_nano_hints_at_models_for_real_scenes_until_that_is_followed(core):
    hint = "return M.hintsAtModels(arg, M.shownCaption(arg));"
    scene = "An unfamiliar scene, mostly grey, in dim light."

    def with_caption(text: str, **stats: Any) -> Core:
        core.begin().live().dispatch("capture-started").dispatch("frame-sent")
        return core.dispatch("caption-done", text=text, stats={**STATS, **stats})

    assert core.run(hint, with_caption(scene).state)
    assert core.run(hint, with_caption("Perhaps a kitchen.", by="finder").state)
    assert not core.run(hint, with_caption("A red circle.").state)
    core.run(hint, with_caption(scene).state)
    core.dispatch("setting-changed", name="modelHint", value=False)
    assert not core.run(hint, core.state)
    for status in (
        {**STATUS, "can_change_models": False},
        {**STATUS, "models": models(change=fetching())},
        {**STATUS, "model": "smolvlm-256m"},
    ):
        core_with = with_caption(scene).dispatch("status-received", status=status)
        assert not core_with.run(hint, core_with.state)
