"""The state core of boxes: things are followed, found by name, told, and asked about."""

from __future__ import annotations

from typing import Any

import pytest

from state_core import STATS, STATUS

FINDER = {
    "detector": "nanodet",
    "classes": ["person", "cup", "wine glass", "cell phone", "laptop", "tv", "knife", "backpack"],
}
WITH_FINDER = {**STATUS, "finder": FINDER}
CUP = {"name": "cup", "score": 0.8, "box": [0.6, 0.02, 0.9, 0.57]}


def live(core, **settings: Any):
    """Start captions with boxes on; `settings` are further ones."""
    core.begin(settings={"boxes": True, **settings})
    return core.live(status=WITH_FINDER)


def seen(core, at: float, *boxes: dict[str, Any]):
    words = core.run("return M.wordsToFind(arg);", core.state["find"])
    return core.dispatch("boxes-received", at, boxes=list(boxes), words=words, costMs=40)


def told(core) -> str:
    text: str = core.run("return M.findText(arg);", core.state)
    return text


def thing(box: list[float], name: str = "cup") -> dict[str, Any]:
    return {"name": name, "score": 0.6, "box": box}


# -- when to look --


def test_picture_is_searched_only_while_it_is_live_and_wanted(core):
    next_glance = "return M.nextGlance(arg);"
    assert core.run(next_glance, live(core).state) is not None
    for stop in (
        lambda: core.dispatch("setting-changed", name="boxes", value=False),
        lambda: core.dispatch("stopped"),
        lambda: core.dispatch("visibility-changed", visible=False),
        lambda: core.dispatch("camera-muted", muted=True),
        lambda: core.dispatch("camera-failed", problem="ended"),
        lambda: core.dispatch("capture-started").dispatch(
            "request-failed", kind="falsified", message="No."
        ),
        lambda: core.dispatch("status-failed", message="down"),
        lambda: core.dispatch("status-received", status=STATUS),
    ):
        seen(live(core), 100, CUP)
        assert len(core.state["boxes"]["tracks"]) == 1
        stop()
        assert core.run(next_glance, core.state) is None
        assert core.state["boxes"]["tracks"] == []


def test_boxes_are_off_by_default(core):
    core.live(status=WITH_FINDER)
    assert core.run("return [M.nextGlance(arg), M.toneHz(arg)];", core.state) == [None, None]


def test_boxes_follow_at_least_five_times_a_second(core):
    live(core).dispatch("boxes-followed", 1000, shifts={}, isNews=True)
    assert core.run("return M.nextGlance(arg);", core.state) <= 1200


def test_looks_are_fewer_while_a_caption_is_made_and_where_they_are_costly(core):
    def gap(cost_ms: float) -> float:
        core.dispatch("look-started", 1000)
        core.dispatch("boxes-received", 1000, boxes=[], words="", costMs=cost_ms)
        return core.run("return M.nextLook(arg);", core.state) - 1000

    live(core)
    assert gap(40) <= 200
    core.dispatch("capture-started", 900).dispatch("frame-sent", 900)
    assert gap(40) == 600
    assert gap(100) == 1000
    assert gap(5000) == 2000


def test_failing_looks_wait_longer_and_longer_and_are_told_after_the_third(core):
    live(core)
    waits = []
    for at in (0, 10_000, 20_000):
        assert core.run("return M.boxesHint(arg);", core.state) == ""
        core.dispatch("look-started", at).dispatch("boxes-failed", at, message="It is broken.")
        waits.append(core.run("return M.nextLook(arg);", core.state) - at)
    assert waits == sorted(set(waits))
    assert "It is broken." in core.run("return M.boxesHint(arg);", core.state)


def test_boxes_are_shown_only_while_looks_or_an_unchanged_scene_confirm_them(core):
    def shown(at: float) -> int:
        return len(core.run("return M.shownThings(...arg);", [core.state, at]))

    seen(live(core), 1000, CUP)
    core.dispatch("boxes-followed", 9000, shifts={}, isNews=False)
    assert shown(9000) == 1
    core.dispatch("boxes-followed", 20_000, shifts={}, isNews=True)
    assert shown(20_000) == 0


# -- following --


def test_things_are_followed_by_name_and_overlap(core):
    follow = """
      let tracks = [];
      let lastId = 0;
      return arg.map((boxes) => {
        tracks = M.followed(tracks, boxes, lastId);
        lastId = Math.max(lastId, ...tracks.map(({ id }) => id));
        return tracks.map(({ id, name, misses }) => [id, name, misses]);
      });
    """
    left, right = thing([0.1, 0.1, 0.3, 0.3]), thing([0.6, 0.1, 0.9, 0.5])
    moved = thing([0.2, 0.15, 0.4, 0.35])
    jumped = thing([0.32, 0.36, 0.42, 0.46])
    other = thing([0.1, 0.1, 0.3, 0.3], "knife")
    answers = [[left, right], [right, moved], [jumped], [other]]
    assert core.run(follow, answers) == [
        [[1, "cup", 0], [2, "cup", 0]],
        [[1, "cup", 0], [2, "cup", 0]],
        [[1, "cup", 0], [2, "cup", 1]],
        [[1, "cup", 1], [3, "knife", 0]],
    ]


def test_box_of_a_still_thing_is_smoothed_and_a_moving_one_is_not(core):
    seen(live(core), 0, thing([0.2, 0.2, 0.6, 0.6]))
    seen(core, 200, thing([0.21, 0.2, 0.61, 0.6]))
    box = core.state["boxes"]["tracks"][0]["box"]
    assert 0.2 < box[0] < 0.21
    seen(core, 400, thing([0.4, 0.2, 0.8, 0.6]))
    assert core.state["boxes"]["tracks"][0]["box"] == pytest.approx([0.4, 0.2, 0.8, 0.6])


def test_box_and_place_follow_their_thing_between_two_looks(core):
    seen(live(core), 0, thing([0.0, 0.4, 0.2, 0.6]))
    (before,) = core.state["boxes"]["tracks"]
    core.dispatch("boxes-followed", 100, shifts={before["id"]: [0.7, 0]}, isNews=True)
    (after,) = core.state["boxes"]["tracks"]
    assert after["box"] == pytest.approx([0.7, 0.4, 0.9, 0.6])
    assert (before["place"]["column"], after["place"]["column"]) == (-1, 1)


MOVED = """
  const picture = (dx, dy, levels) => {
    const [width, height] = [160, 90];
    const luma = new Float32Array(width * height);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const [u, v] = [x - 60 - dx, y - 30 - dy];
        const isThing = u >= 0 && u < 30 && v >= 0 && v < 24;
        const level = isThing ? 90 + 80 * Math.sin(u / 3) * Math.cos(v / 4) : 120 + (x % 7);
        luma[y * width + x] = level + levels;
      }
    }
    return M.pictureOf(luma, width, height);
  };
  const box = [60 / 160, 30 / 90, 90 / 160, 54 / 90];
  return arg.map(([dx, dy, levels]) => {
    const [x, y] = M.shiftOf(picture(0, 0, 0), picture(dx, dy, levels), box);
    return [Math.round(x * 160), Math.round(y * 90)];
  });
"""


def test_motion_of_a_thing_is_measured_between_two_pictures(modules):
    moves = [[0, 0, 0], [5, -3, 0], [-17, 9, 0], [22, 0, 0], [0, 0, 6], [3, 2, 4]]
    found = modules("core/motion", MOVED, moves)
    assert found == [move[:2] for move in moves]


def test_picture_with_a_missing_thing_is_looked_at_again_though_it_has_not_changed(core):
    must_look = "return M.mustLook(...arg);"
    seen(live(core), 1000, CUP)
    assert not core.run(must_look, [core.state, 1200])
    assert core.run(must_look, [core.state, 3000])
    seen(core, 1200)
    assert core.run(must_look, [core.state, 1400])


# -- finding by name --

SENTENCES = (
    (CUP["box"], "Cup: top right, about a sixth of the picture."),
    ([0.3, 0.3, 0.7, 0.7], "Cup: middle, about a sixth of the picture."),
    ([0.0, 0.7, 0.1, 0.8], "Cup: bottom left, a tiny part of the picture."),
    ([0.0, 0.0, 1.0, 1.0], "Cup: middle, nearly the whole picture."),
    ([0.3, 0.6, 0.7, 1.0], "Cup: bottom, about a sixth of the picture."),
    ([0.0, 0.25, 0.5, 0.75], "Cup: left, about a quarter of the picture."),
)


def test_sentence_says_where_and_how_large_the_thing_is(core):
    for box, sentence in SENTENCES:
        live(core).dispatch("find-asked", 0, words="Find my cup!")
        assert told(core) == "Looking for “cup”."
        seen(core, 100, thing(box))
        assert told(core) == sentence
    core.dispatch("setting-changed", name="mirror", value=True)
    assert told(core) == "Cup: right, about a quarter of the picture."


def test_words_are_told_without_what_stands_before_the_thing(core):
    for words, told_as in (
        ("Please find my phone.", "phone"),
        ("where\u2019s the red bag?", "red bag"),
        ("the", "the"),
        ("an umbrella", "umbrella"),
        ("theatre", "theatre"),
    ):
        live(core).dispatch("find-asked", 0, words=words)
        assert told(core) == f"Looking for “{told_as}”."


def test_answer_to_other_words_is_left_out(core):
    live(core).dispatch("find-asked", 0, words="cup")
    core.dispatch("boxes-received", 100, boxes=[thing([0, 0, 1, 1], "tv")], words="", costMs=40)
    assert core.state["boxes"]["tracks"] == []
    assert told(core) == "Looking for “cup”."


def test_of_several_things_the_surest_is_told_and_followed(core):
    live(core).dispatch("find-asked", 0, words="cups")
    other, sure = thing([0.1, 0.1, 0.2, 0.2]), thing([0.6, 0.6, 0.9, 0.9]) | {"score": 0.7}
    seen(core, 100, other, sure)
    assert told(core) == "Cup: bottom right, about a tenth of the picture. More are in sight."
    seen(core, 5000, other | {"score": 0.9}, sure)
    assert told(core).startswith("Cup: bottom right")


def test_unknown_thing_is_told_and_all_things_are_shown_again(core):
    live(core).dispatch("find-asked", 0, words="my keys")
    core.dispatch("boxes-received", 100, boxes=[], words="my keys", unknown=True, costMs=40)
    known = "It knows 8 things, such as cup, person, wine glass."
    assert told(core) == f"The object finder does not know “keys”. {known}"
    assert core.run("return M.wordsToFind(arg);", core.state["find"]) == ""
    seen(core, 300, CUP)
    assert len(core.state["boxes"]["tracks"]) == 1
    assert told(core) == f"The object finder does not know “keys”. {known}"
    core.dispatch("find-asked", 6000, words="  ")
    assert told(core) == ""


def test_sentence_changes_only_when_its_thing_has_moved(core):
    live(core).dispatch("find-asked", 0, words="cup")
    sentences = []
    for at, box in (
        (100, [0.6, 0.0, 0.9, 0.5]),
        (300, [0.61, 0.0, 0.9, 0.5]),
        (5000, [0.59, 0.01, 0.9, 0.5]),
        # Just over the line between two places: the first place holds.
        (8000, [0.49, 0.0, 0.79, 0.5]),
        (11_000, [0.05, 0.0, 0.35, 0.5]),
        # Too soon after the last sentence, then told.
        (11_200, [0.35, 0.25, 0.65, 0.75]),
        (14_000, [0.35, 0.25, 0.65, 0.75]),
    ):
        seen(core, at, thing(box))
        if told(core) not in sentences:
            sentences.append(told(core))
    assert [one.split(",")[0] for one in sentences] == [
        "Cup: top right",
        "Cup: top left",
        "Cup: middle",
    ]


def test_thing_that_flickers_is_not_told_as_gone_and_one_that_is_gone_is(core):
    live(core).dispatch("find-asked", 0, words="cup")
    # There is no message before the first answer, however slow the server is.
    core.dispatch("boxes-followed", 50, shifts={}, isNews=True)
    core.dispatch("boxes-followed", 5000, shifts={}, isNews=True)
    assert told(core) == "Looking for “cup”."
    seen(core, 5100, CUP)
    found = told(core)
    seen(core, 5300)
    seen(core, 5500)
    seen(core, 5700, CUP)
    assert told(core) == found
    seen(core, 5900)
    seen(core, 7500)
    assert told(core) == "Not in sight: “cup”."
    seen(core, 7700, CUP)
    assert told(core) == found


def test_tone_rises_towards_the_middle_and_is_silent_otherwise(core):
    tone = "return M.toneHz(arg);"
    live(core).dispatch("find-asked", 0, words="cup")
    seen(core, 100, CUP)
    assert core.run(tone, core.state) is None
    core.dispatch("setting-changed", name="findTone", value=True)
    pitches = []
    for at, x in enumerate((0.0, 0.2, 0.4)):
        seen(core, 1000 * (at + 1), thing([x, 0.4, x + 0.2, 0.6]))
        pitches.append(core.run(tone, core.state))
    assert pitches == sorted(set(pitches))
    assert pitches[-1] == pytest.approx(880)
    seen(core, 4000)
    assert core.run(tone, core.state) is None
    seen(core, 5000, CUP)
    core.dispatch("visibility-changed", visible=False)
    assert core.run(tone, core.state) is None


# -- asking about a thing --

THING = {"name": "cup", "place": {"column": 1, "row": -1}}
BOX = [0.6, 0.1, 0.9, 0.6]


def test_press_on_a_box_freezes_the_picture_and_asks_about_that_part_of_it(core):
    live(core).captioned(0).dispatch("capture-started", 1000).dispatch("frame-sent", 1000)
    seen(core, 1050, CUP)
    core.dispatch("question-asked", 1100, question={"part": BOX, "thing": THING})
    assert core.plan["requestId"] is None and core.plan["captureAt"] is None
    # No boxes of the live picture over a frozen one.
    assert core.state["boxes"]["tracks"] == []
    still = {"id": core.plan["stillId"], "picture": None, "width": 4, "height": 3}
    core.dispatch("still-taken", 1200, **still).dispatch("ask-started", 1200)
    assert core.state["stills"][0]["part"] == BOX
    (turn,) = core.state["stills"][0]["thread"]
    assert (turn["part"], turn["thing"], turn["prompt"]) == (BOX, THING, "Describe.")
    core.dispatch("ask-done", 1300, id=1, text="A white cup.", end="stop", stats=STATS, seconds=1)
    said = """return [
      M.marksText(arg.caption), M.spokenCaption(arg.caption).text,
      M.entryNote(arg.session.entries.at(-1)), arg.session.entries.at(-1).asked,
    ];"""
    assert core.run(said, core.state) == [
        "About the cup, top right.",
        "About the cup, top right: A white cup.",
        "About the cup, top right",
        "",
    ]


# -- who made a caption, and what the finder says to it --

CHECKS = [
    {"word": "frisbee", "name": "frisbee", "verdict": "not_found"},
    {"word": "Dog", "name": "dog", "verdict": "found"},
    {"word": "joy", "name": "joy", "verdict": "not_checkable"},
]


def test_caption_and_history_say_who_made_it(core):
    notes = """return [
      M.marksText(arg.caption), M.entryNote(arg.session.entries.at(-1)),
    ];"""
    for by, line, entry in (
        ("model", "", ""),
        (
            "finder",
            "By the object finder; SmolVLM takes over when it is here.",
            "Object finder",
        ),
        ("reader", "Read by the text reader.", "Text reader"),
    ):
        live(core).dispatch("capture-started").dispatch("frame-sent")
        core.dispatch("caption-done", 100, text="A cat.", stats={**STATS, "by": by})
        assert core.run(notes, core.state) == [line, entry]


def test_caption_that_was_cut_is_told_in_each_place(core):
    text = "A cat. A cat."
    live(core).dispatch("capture-started").dispatch("frame-sent")
    core.dispatch("caption-done", 100, text=text, end="loop", stats=STATS)
    said = """return [
      M.marksText(arg.caption), M.spokenCaption(arg.caption).text,
      M.textFile(arg.session.entries).split("  ")[1],
    ];"""
    assert core.run(said, core.state) == [
        "The model repeated itself, so the answer was cut.",
        f"{text} (cut where it repeated itself)",
        f"Cut where it repeated itself: {text}",
    ]
    # Once it is interrupted, the next one leaves no trace, and this is shown again.
    core.dispatch("capture-started", 5000).dispatch("frame-sent", 5000)
    core.dispatch("text-received", 5100, text="A")
    assert core.state["caption"]["cut"] is None
    core.dispatch("stopped", 5200)
    assert core.state["caption"]["cut"]["by"] == "loop"


def test_checked_words_are_told_and_marked_where_they_stand(core):
    live(core).dispatch("capture-started").dispatch("frame-sent")
    text = "A dogged Dog has a frisbee of joy."
    core.dispatch("caption-done", 100, text=text, stats={**STATS, "checks": CHECKS})
    line = core.run("return M.marksText(arg.caption);", core.state)
    assert line == "The object finder does not see “frisbee”; it sees “Dog”."
    spans = core.run("return M.markedSpans(...arg);", [text, CHECKS])
    marked = [(text[one["from"] : one["to"]], one["verdict"]) for one in spans]
    assert marked == [("Dog", "found"), ("frisbee", "not_found")]
    assert core.state["caption"]["text"] == text


# -- reading --


def test_reader_is_named_only_with_the_question_for_text(core):
    read = {"id": "read", "label": "Read text", "prompt": "What does the text say?"}
    core.live(status={**STATUS, "presets": [*STATUS["presets"], read]})
    core.dispatch("capture-started")
    assert core.state["request"]["reading"] is None
    core.dispatch("setting-changed", name="preset", value="read").dispatch("capture-started")
    assert core.state["request"]["reading"] == "reader"
    core.dispatch("setting-changed", name="reading", value="both")
    assert core.plan["requestId"] is None
    core.dispatch("capture-started")
    assert core.state["request"]["reading"] == "both"
