"""The voice: who speaks, what is said next, and how much of a caption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accessibility import assert_accessible_in_all_colours
from page_actions import press_start, start, told
from state_core import STATS

VOICES = (Path(__file__).parent / "make_believe_voices.js").read_text()
SAFETY = "Captions may be wrong. Do not find your way by them."

# -- what is said next --

# A random walk: messages come, captions change, the person types, silences, and utterances end.
# Returns what happened at each step and the state after it.
WALK = """
  let seed = arg;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const pick = (list) => list[Math.floor(random() * list.length)];
  let [speech, at, caption, texts] = [M.initialSpeech, 0, null, 0];
  const steps = [];
  for (let n = 0; n < 400; n += 1) {
    at += Math.floor(random() * 500);
    const op = pick([
      ...["told", "told", "caption", "caption", "none", "end", "end", "held", "silence"],
    ]);
    const before = speech;
    if (op === "told") {
      const kind = pick(["alert", "answer", "answer", "news"]);
      speech = M.told(speech, { kind, text: `Text ${n % 2}`, lang: null });
    }
    if (op === "caption") caption = { text: `Caption ${(texts += 1)}`, lang: null };
    if (op === "none") caption = null;
    if (op === "held") speech = M.held(speech, !speech.isHeld);
    if (op === "end" && speech.speaking)
      speech = M.ended(speech, speech.speaking.id, at + 1000);
    if (op === "silence" && random() < 0.2) speech = M.silenced(speech);
    const offered = caption;
    speech = M.stepped(speech, caption, at);
    if (speech.speaking?.kind === "caption" && speech.speaking.id !== before.speaking?.id)
      caption = null;
    steps.push({ op, at, before, offered, after: speech });
  }
  return steps;
"""
WEIGHT = {"caption": 0, "news": 1, "answer": 2, "alert": 3}


@pytest.mark.parametrize("seed", range(1, 9))
def test_speech_keeps_its_order_and_loses_no_answer(modules, seed):
    steps = modules("core/speech", WALK, seed)
    said: set[int] = set()
    asked: dict[int, str] = {}
    dropped: set[int] = set()
    for step in steps:
        before, after = step["before"], step["after"]
        speaking, waiting = after["speaking"], after["waiting"]
        for message in [*waiting, *([speaking] if speaking else [])]:
            if message["kind"] in ("alert", "answer"):
                asked[message["id"]] = message["kind"]
        if step["op"] == "end" and before["speaking"]:
            said.add(before["speaking"]["id"])
        kept = {one["id"] for one in waiting} | ({speaking["id"]} if speaking else set())
        assert not (dropped | said) & kept
        if step["op"] in ("silence", "held"):
            dropped |= {id_ for id_ in asked if id_ not in kept | said}
        heaviest = max((WEIGHT[one["kind"]] for one in waiting), default=-1)
        # What outweighs is never kept waiting by what may be interrupted.
        if speaking:
            assert heaviest < WEIGHT["answer"] or heaviest <= WEIGHT[speaking["kind"]]
        else:
            assert all(one["kind"] == "news" and after["isHeld"] for one in waiting)
        is_new = speaking and speaking["id"] != (before["speaking"] or {"id": None})["id"]
        if is_new and speaking["kind"] == "caption":
            # Only the newest caption, neither while held nor before the pause is over.
            assert speaking["text"] == step["offered"]["text"]
            assert not after["isHeld"] and step["at"] >= before["freeAt"]
            assert before["speaking"] is None or step["op"] in ("end", "silence", "held")
        if is_new and speaking["kind"] == "news":
            assert not after["isHeld"]
    last = steps[-1]["after"]
    left = {one["id"] for one in [*last["waiting"], last["speaking"] or {"id": None}]}
    assert set(asked) <= said | dropped | left
    assert len(said & set(asked)) > 20


LONG = (
    "A red circle and a blue star stand in the middle of a green field, and behind them there is "
    "a long wall of stones. Over it hangs a yellow moon."
)
FEW = "A red circle and a blue star stand in the middle of"
SENTENCE = LONG.partition(". ")[0] + "."
# Each caption, [at, id, text, isAnswer?], and what was told of it.
TELL = """
  let telling = M.initialTelling;
  return arg.captions.map(([at, id, text, isAnswer = false, isOnce = false]) => {
    const caption = { id, text, isAnswer, isOnce, finished: id > 0, lang: "en" };
    telling = M.seen(telling, caption, at);
    const next = M.toTell(telling, caption, arg.how, at);
    if (next) telling = M.toldOf(telling, caption, next.text);
    return next && `${next.kind}: ${next.text}`;
  });
"""
TELLINGS: dict[str, tuple[dict[str, str], list[Any], list[Any]]] = {
    "what changes": (
        {"when": "changes", "much": "all"},
        [[0, 1, "A."], [1, 2, "A."], [2, 3, "B."], [3, -4, "C"], [4, 4, "A."], [5, 5, " "]],
        ["caption: A.", None, "caption: B.", None, "caption: A.", None],
    ),
    "everything": (
        {"when": "all", "much": "all"},
        [[0, 1, "A."], [1, 1, "A."], [2, 2, "A."]],
        ["caption: A.", None, "caption: A."],
    ),
    "a question that is asked once": (
        {"when": "changes", "much": "all"},
        [[0, 1, "A."], [1, 2, "Q? B.", True, True], [2, 2, "Q? B.", True, True], [3, 3, "A."]],
        ["caption: A.", "answer: Q? B.", None, None],
    ),
    "on request": (
        {"when": "request", "much": "few"},
        [[0, 1, "A."], [1, 2, LONG, True], [2, 2, LONG, True], [3, 3, LONG, True]],
        [None, f"answer: {LONG}", None, f"answer: {LONG}"],
    ),
    "few words": ({"when": "changes", "much": "few"}, [[0, 1, LONG]], [f"caption: {FEW}"]),
    "a sentence": (
        {"when": "changes", "much": "sentence"},
        [[0, 1, LONG], [1, 2, "Now. Then."]],
        [f"caption: {SENTENCE}", "caption: Now."],
    ),
    "as the scene rests": (
        {"when": "changes", "much": "follow"},
        [[0, 1, LONG], [2999, 2, LONG], [3000, 3, LONG], [9999, 3, LONG], [10_000, 4, LONG]],
        [f"caption: {FEW}", None, f"caption: {SENTENCE}", None, None],
    ),
}


@pytest.mark.parametrize("name", TELLINGS)
def test_captions_are_told_as_chosen(modules, name):
    how, captions, expected = TELLINGS[name]
    assert modules("core/telling", TELL, {"how": how, "captions": captions}) == expected


def test_resting_scene_is_told_in_detail_once(core):
    core.live()
    for name, value in (("voiceMuch", "follow"), ("voiceWhen", "changes")):
        core.dispatch("setting-changed", name=name, value=value)
    core.captioned(at=0, took=0).dispatch("capture-started", 1000).dispatch("frame-unchanged", 1001)
    due = """
      const standing = M.seen(M.initialTelling, M.toldCaption(arg), 0);
      const asked = M.detailsAsked(standing);
      return [[standing, 9_999], [standing, 10_000], [asked, 30_000]].map(([telling, at]) =>
        M.isDetailDue(telling, arg, at));
    """
    modules = "core/telling words/voice"
    assert core.run(due, core.state, modules) == [False, True, False]
    core.dispatch("details-due", 10_000).dispatch("capture-started", 10_000)
    assert core.state["request"]["inDetail"]
    core.dispatch("frame-sent", 10_000)
    core.dispatch("caption-done", 10_100, text="A red circle on green.", stats=STATS)
    # The standing caption that comes back is the same scene still.
    kept = """
      const before = { ...M.initialTelling, standing: "A.", since: 0, detailed: "A." };
      const after = M.seen(before, M.toldCaption(arg), 10_100);
      return [after.standing, after.since, M.toldOf(after, M.toldCaption(arg), "x").text];
    """
    assert core.run(kept, core.state, modules) == ["A.", 0, ""]


def test_gist_of_a_question_is_short(modules):
    gists = "return arg.map(M.gistOf);"
    asked = {
        "Is there a red triangle?": "Red triangle?",
        "are there any stars": "Stars?",
        "What colour is it?": "What colour is it?",
        "Which of the two cups on the table is larger?": "Which of the two cups on …",
    }
    assert modules("words/voice", gists, list(asked)) == list(asked.values())


def test_one_speaker_at_most(modules):
    speakers = """
      const phases = ["waiting", "ready", "none", "failed"];
      return [true, false].flatMap((voice) => [true, false].map((announces) =>
        phases.map((phase) => {
          const settings = { voice, announces };
          return M.speakerOf({ settings, voice: { phase }, otherTabs: {} });
        })));
    """
    own = ["sightline", "sightline", "reader", "reader"]
    found = modules("core/voice", speakers)
    assert found == [own, own, ["reader"] * 4, ["nobody"] * 4]


TAP = [("down", 0), ("up", 80)]
GESTURES: dict[str, tuple[list[Any], list[str]]] = {
    "tap": ([*TAP, ("waited", 400)], ["tap"]),
    "two taps": ([*TAP, ("down", 200), ("up", 260), ("waited", 600)], ["double-tap"]),
    "slow taps": (
        [*TAP, ("waited", 400), ("down", 500), ("up", 560), ("waited", 900)],
        ["tap", "tap"],
    ),
    "hold": ([("down", 0), ("up", 700), ("waited", 1100)], ["hold"]),
    "two fingers": (
        [("down", 0), ("down", 20, 2), ("up", 90), ("up", 95, 2), ("waited", 500)],
        ["two-fingers"],
    ),
    "swipe": ([("down", 0), ("move", 30, 1, 60), ("up", 80), ("waited", 500)], []),
    "taken away": ([("down", 0), ("cancel", 80), ("waited", 500)], []),
}
TOUCH = """
  let touch = M.initialTouch;
  return arg.flatMap(([type, at, id = 1, x = 0]) => {
    const next = M.touched(touch, { type, at, id, x, y: 0 });
    touch = next.touch;
    return next.gesture ?? [];
  });
"""


@pytest.mark.parametrize("name", GESTURES)
def test_touches_are_told_apart(modules, name):
    events, expected = GESTURES[name]
    assert modules("core/gestures", TOUCH, events) == expected


# -- on the page --


def spoken(page: Page) -> list[str]:
    return page.evaluate("window.spoken.map(({ text }) => text)")


def wait_until_spoken(page: Page, count: int) -> None:
    """Wait until `count` answers were told."""
    page.wait_for_function(
        "(count) => document.querySelectorAll('.voice-log [data-kind=answer]').length >= count",
        arg=count,
    )


def test_eyes_closed_from_load_to_answers(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=VOICES)
    page.evaluate("""() => {
      window.written = 0;
      for (const region of [said, answer, news])
        new MutationObserver(() => { window.written += 1; }).observe(region, { childList: true });
    }""")
    # Two keys.
    page.keyboard.press("v")
    page.keyboard.press("n")
    wait_until_spoken(page, 1)
    texts = spoken(page)
    assert texts[0].startswith("Voice on. S starts captions, N says")
    caption = told(page, "answer").first.text_content()
    page.wait_for_function("() => window.spoken.at(-1).end === 'said'")
    assert spoken(page).index(SAFETY) < spoken(page).index(caption)
    assert page.evaluate("window.spoken.at(-1).voice") == "Brian"
    # What is there now is said although it is the same.
    page.keyboard.press("n")
    wait_until_spoken(page, 2)
    page.keyboard.press("r")
    wait_until_spoken(page, 3)
    assert len({told(page, "answer").nth(index).text_content() for index in (0, 1)}) == 1
    page.keyboard.press("d")
    wait_until_spoken(page, 4)
    expect(page.locator(".history-question").first).to_have_text("Detailed description")
    # Silence does not close the panel, the next press does.
    page.evaluate("window.speech.ends = false")
    page.keyboard.press("r")
    wait_until_spoken(page, 5)
    page.locator("#open-voice").click()
    page.keyboard.press("Escape")
    assert page.evaluate("window.spoken.at(-1).end") == "cancelled"
    expect(page.locator("#voice")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#voice")).to_be_hidden()
    page.evaluate("window.speech.ends = true")
    # The sentence about safety is said once a day, and never two speak.
    press_start(page)
    press_start(page)
    wait_until_spoken(page, 6)
    page.reload()
    page.keyboard.press("n")
    wait_until_spoken(page, 1)
    assert SAFETY not in spoken(page)
    assert page.evaluate("window.written ?? 0") == 0


def test_voice_is_chosen_and_kept_and_typing_silences_it(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=VOICES, own_clock=True)
    page.locator("#open-voice").click()
    assert_accessible_in_all_colours(page)
    page.get_by_label("Sightline, by a voice").check()
    names = page.locator("[name=voiceName] option").all_text_contents()
    assert names == ["by language", "Anna (de-DE)", "Brian (en-GB)"]
    page.locator("[name=voiceName]").select_option("Anna")
    page.locator("[name=voiceRate]").fill("2")
    expect(page.locator("[name=voiceRate]")).to_have_attribute("aria-valuetext", "2.0 times")
    page.reload()
    page.keyboard.press("n")
    wait_until_spoken(page, 1)
    last = page.evaluate("window.spoken.at(-1)")
    assert (last["voice"], last["rate"]) == ("Anna", 2)
    page.evaluate("window.speech.ends = false")
    page.keyboard.press("r")
    wait_until_spoken(page, 2)
    page.locator("#question-text").press_sequentially("Is")
    page.clock.run_for(600)
    assert page.evaluate("window.spoken.findLast(({ end }) => end === 'cancelled') !== undefined")
    page.keyboard.press("Escape")
    page.locator("#open-voice").click()
    page.get_by_label("Nobody").check()
    count = told(page).count()
    page.keyboard.press("n")
    page.clock.fast_forward(2_000)
    assert told(page).count() == count


def test_voice_that_fails_gives_way_to_the_screen_reader(open_page, url, still_camera):
    script = f"{VOICES} window.speech.hasVoices = false;"
    page = open_page(url, still_camera, init_script=script, own_clock=True)
    page.locator("#open-voice").click()
    page.keyboard.press("v")
    hint = page.locator(".voice-hint")
    page.clock.fast_forward(3_100)
    expect(hint).to_contain_text("no voice of this computer")
    # The list comes late.
    page.evaluate("""() => {
      window.speech.hasVoices = true;
      speechSynthesis.dispatchEvent(new Event("voiceschanged"));
    }""")
    expect(hint).to_be_empty()
    page.keyboard.press("n")
    wait_until_spoken(page, 1)
    # An utterance that never ends is tried again, then the voice is given up and the reader told.
    page.evaluate("window.speech.ends = false")
    page.keyboard.press("r")
    for _ in range(2):
        page.clock.fast_forward(30_000)
    expect(hint).to_contain_text("does not answer")
    newest = page.locator(".voice-log [data-kind=answer]").first
    expect(newest).to_have_attribute("data-by", "reader")
    page.evaluate("window.speech.ends = true")
    page.locator(".voice-retry").click()
    page.keyboard.press("r")
    expect(newest).to_have_attribute("data-by", "sightline")
    page.evaluate("window.speech.fails = true")
    for _ in range(2):
        page.keyboard.press("r")
        page.clock.run_for(100)
    expect(hint).to_contain_text("does not answer")


def test_one_of_two_tabs_speaks(open_page, url, still_camera):
    one = open_page(url, still_camera, init_script=VOICES)
    one.keyboard.press("v")
    one.locator("#say").click()
    wait_until_spoken(one, 1)
    other = one.context.new_page()
    other.goto(url)
    other.locator("#say").click()
    wait_until_spoken(other, 1)
    expect(one.locator("#open-voice")).to_have_text("Voice: in another tab")
    expect(other.locator("#open-voice")).not_to_have_text("Voice: in another tab")
    # A key that is no command makes this one speak; the settings of both say that there are two.
    one.keyboard.press("Shift")
    expect(other.locator("#open-voice")).to_have_text("Voice: in another tab")
    note = one.locator(".preferences-note")
    expect(note).to_contain_text("open in another tab")
    other.close()
    expect(note).to_have_count(0)


def test_picture_is_one_large_target_while_sightline_speaks(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=VOICES, has_touch=True)
    start(page)
    middle = [page.viewport_size["width"] / 2, page.viewport_size["height"] / 2 - 100]
    count = told(page, "answer").count()
    page.touchscreen.tap(*middle)
    page.keyboard.press("v")
    expect(page.locator("[data-touch]")).to_have_count(1)
    page.touchscreen.tap(*middle)
    wait_until_spoken(page, count + 1)
    page.touchscreen.tap(*middle)
    page.touchscreen.tap(*middle)
    expect(page.locator(".history-question").first).to_have_text("Detailed description")


def test_commands_about_a_frozen_picture(core):
    core.live().captioned(at=0).dispatch("freeze-pressed", 1000)
    still = {"id": 1, "picture": None, "width": 4, "height": 3}
    core.dispatch("still-taken", 1100, **still).dispatch("detail-asked", 1200)
    asked = [turn["prompt"] for turn in core.state["stills"][0]["thread"]]
    assert asked == ["Describe.", "Describe."]
    assert core.state["inDetail"] is False
    # What is there now is the live picture.
    core.dispatch("now-asked", 1300)
    assert core.state["view"]["stillId"] is None
    assert core.dispatch("capture-started", 1400).state["request"]["prompt"] == "Describe."
