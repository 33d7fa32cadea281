"""Words of an answer: how sure the model is of each, and what it looked at."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page, Route, expect

from accessibility import assert_accessible_at_all_zooms
from files_to_show import give, png_of
from known_scenes import plain_scenes
from page_actions import KEEP_FORMS
from state_core import NANO, STATS, STATUS
from test_page import Sent

SURE = "core/sure words/sure"
WORDS = "core/explained core/heat words/explained"
REMOTE = {**STATUS, "remote": {"origins": ["http://gpu:8000"], "upstreams": []}}
GRID = [4, 4]
CORNER = [255 if cell == 12 else 0 for cell in range(16)]


def token(text: str, start: int, probability: float = 0.99, *others: str) -> dict[str, Any]:
    alternatives = [{"text": each, "probability": 0.01} for each in others]
    end = start + len(text)
    return {
        **{"text": text, "start": start, "end": end, "probability": probability},
        "alternatives": alternatives,
    }


TOKENS = [
    token("A", 0, 0.99, "The"),
    token(" 🟥", 1),
    token(" st", 3, 0.8, " heart", "", "\ufffd"),
    token("ar", 6, 0.5),
    token(".", 8),
]
DONE = {
    **{"text": "A 🟥 star.", "finish_reason": "stop", "stats": STATS, "sure": None},
    "tokens": TOKENS,
    "looks": {
        **{"grid": GRID, "method": "attention"},
        "words": [
            {"text": "A", "start": 0, "end": 1, "probability": 0.99, "map": [0] * 16},
            {"text": "🟥", "start": 2, "end": 3, "probability": 0.99, "map": [1] * 16},
            {"text": "star.", "start": 4, "end": 9, "probability": 0.4, "map": CORNER},
        ],
    },
}


def answered(core, status=STATUS):
    """Return a core with Words open about a still that has an answer."""
    core.begin().live(status=status).dispatch("explain-asked", 10)
    core.dispatch("still-taken", 20, id=1, picture="jpeg", width=640, height=480)
    core.dispatch("ask-started", 30)
    text = DONE["text"]
    return core.dispatch("ask-done", 40, id=1, text=text, end="stop", stats=STATS, seconds=0.5)


def shown(core) -> Any:
    """Return the segment's note, button and words, and the texts of the chosen word."""
    return core.run(
        "const { note, button } = M.explanation(arg); const words = M.wordsInView(arg);"
        "const units = M.answerOf(words) ? M.unitTexts(words).map(({ label }) => label) : [];"
        "return { note, button, units, about: M.chosenText(arg), others: M.otherTexts(arg),"
        "  hidden: M.hiddenText(words), heat: M.heatInView(arg) };",
        core.state,
        WORDS,
    )


def word(text: str, start: int, probability: float, **fields: Any) -> dict[str, Any]:
    return {
        **{"text": text, "start": start, "end": start + len(text), "probability": probability},
        **{"alternatives": [], **fields},
    }


def claim(phrase: str, start: int | None, supported: bool) -> dict[str, Any]:
    end = None if start is None else start + len(phrase)
    return {"phrase": phrase, "start": start, "end": end, "supported": supported}


def test_doubts_are_placed_and_named(core):
    sure = {
        "unsure": True,
        "words": [word("A", 0, 0.99), word("🟥red", 2, 0.4), word("cup.", 7, 0.3)],
    }
    text = "A 🟥red cup."
    cases = [
        ({"sure": sure}, ["2-7 unsure", "8-12 unsure"], ["unsure of “cup” (30 %), “red” (40 %)"]),
        # A denied claim is not unsure as well.
        (
            {"sure": sure, "stats": {"claims": [claim("red cup", 3, False), claim("A", 0, True)]}},
            ["4-11 denied"],
            [
                "unsure of “cup” (30 %), “red” (40 %)",
                "the model denies when asked: “red cup”",
            ],
        ),
        (
            {"sure": None, "stats": {"claims": [claim("a dog", None, False)]}},
            [],
            ["left out, as the model denied it: “a dog”"],
        ),
        ({"sure": {"unsure": True, "words": []}, "stats": STATS}, [], ["unsure"]),
        (
            {"sure": {"unsure": True, "words": [word("A", 0, 0.9), word("cup.", 7, 0.6)]}},
            [],
            ["unsure, most of “cup” (60 %)"],
        ),
        ({"sure": None, "stats": None}, [], []),
    ]
    for caption, places, texts in cases:
        found, told = core.run(
            "return [M.doubtsOf(arg[0], arg[1]), M.doubtTexts(arg[1])];", [text, caption], SURE
        )
        assert [f"{one['from']}-{one['to']} {one['kind']}" for one in found] == places, caption
        assert told == texts, caption


def test_a_model_that_cannot_check_claims_captions_without_them(core):
    core.begin().live().dispatch("setting-changed", 0, name="claims", value="strict")
    core.dispatch("capture-started", 1).dispatch("frame-sent", 2)
    assert core.state["request"]["claims"] == "strict"
    core.dispatch("request-failed", 3, kind="not_supported", message="No scores.")
    assert core.plan["captureAt"] == 3 and core.state["problem"] is None
    hint = "return M.claimsHint(arg);"
    assert core.run(hint, core.state, SURE).startswith("This model cannot be asked")
    core.captioned(at=4)
    assert core.state["caption"]["sent"]["claims"] == "off"
    # A question as well; another model is asked again.
    core.begin().live().dispatch("setting-changed", 0, name="claims", value="mark")
    core.dispatch("question-asked", 5, question={"prompt": "What is there?"})
    core.dispatch("still-taken", 6, id=1, picture="jpeg", width=640, height=480)
    core.dispatch("ask-started", 7)
    core.dispatch("ask-failed", 8, id=1, kind="not_supported", message="No scores.")
    assert core.plan["askAt"] == 8
    core.dispatch("ask-started", 9)
    assert core.state["stills"][0]["thread"][0]["claims"] == "off"
    asked = "return ['', 'x'].map((name) => M.claimsOf({ ...arg, claimless: name || null }));"
    assert core.run(asked, core.state, SURE) == ["mark", "mark"]
    core.dispatch("status-received", 10, status=REMOTE)
    assert core.run(asked, core.state, SURE) == ["off", "off"]
    assert core.state["claimless"] == NANO


def test_heat_has_a_contour_and_places(core):
    ring = [0 if cell in (5, 6, 9, 10) else 1 for cell in range(16)]
    two = [1 if cell in (0, 15) else 0 for cell in range(16)]
    cases = [
        (CORNER, ["-1 1"], 2),
        (two, ["-1 -1", "1 1"], 4),
        ([0] * 16, [], 0),
        ([1] * 16, [], 0),
        (ring, [], 8),
    ]
    for cells, places, pieces in cases:
        found, contour = core.run(
            "const places = M.hotPlaces(arg[0], arg[1]).map((one) => M.placeIn(null, one));"
            "return [places, M.contourOf(arg[0], arg[1])];",
            [GRID, cells],
            WORDS,
        )
        assert [f"{one['column']} {one['row']}" for one in found] == places, cells
        assert len(contour) >= pieces and (pieces > 0) == (len(contour) > 0), cells
        assert all(0 <= value <= 1 for piece in contour for value in piece)
    # In a part of the picture the corner is another place.
    part = "return M.placeIn([0.5, 0, 1, 0.5], M.hotPlaces(arg[0], arg[1])[0]);"
    assert core.run(part, [GRID, CORNER], WORDS) == {"column": 0, "row": 0}


def test_words_are_chosen_and_gone_on_from(core):
    answered(core)
    assert core.plan["explainDue"]
    core.dispatch("words-asked", 50, kind="looks")
    assert core.plan["explainId"] == 1 and not core.plan["explainDue"]
    assert shown(core)["button"] == "Cancel"
    core.dispatch("words-done", 60, id=1, answer=DONE, seconds=0.2)
    found = shown(core)
    assert found["units"] == ["A, sure, 99 %", "🟥, sure, 99 %", "star., unsure, 40 %"]
    assert (found["about"], found["heat"]) == ("Choose a word.", None)
    core.dispatch("word-chosen", 70, index=0)
    assert "“A” looked nowhere in particular. 99 %, sure." in shown(core)["about"]
    core.dispatch("word-chosen", 70, index=2)
    found = shown(core)
    assert found["about"] == "“star” looked mostly at the bottom left. 40 %, unsure."
    assert found["heat"]["map"] == CORNER
    offered = [(one["text"], one["isOpen"]) for one in found["others"]]
    assert offered == [("heart", True), ("(the end)", False), ("\ufffd", False)]
    core.dispatch("words-hiding-asked", 80)
    asked = core.state["stills"][0]["words"]["asked"]
    assert (asked["kind"], asked["start"], asked["end"]) == ("hiding", 4, 9)
    hidden = {"before": 0.98, "after": 0.03, "cells": [12], "grid": GRID}
    core.dispatch("words-done", 90, id=2, answer=hidden, seconds=0.1)
    assert shown(core)["hidden"] == "Without that part: 98 % → 3 %."
    core.dispatch("pieces-toggled", 100)
    assert [one.split(",")[0] for one in shown(core)["units"]] == ["A", "🟥", "st", "ar", "."]
    core.dispatch("pieces-toggled", 100).dispatch("word-chosen", 100, index=2)
    # The sentence goes on from another word, and back.
    core.dispatch("words-branched", 110, token=2, other=0)
    fields = core.run("return M.explainFields(arg.stills[0]);", core.state, WORDS)
    assert (fields["begin"], fields["alternatives"]) == ("A 🟥 heart", 5)
    going = {**DONE, "text": " now.", "tokens": [token(" now", 0), token(".", 4)], "looks": None}
    core.dispatch("words-done", 120, id=3, answer=going, seconds=0.1)
    found = shown(core)
    assert found["units"][2:] == ["heart, unsure, 1 %, your choice", "now., sure, 98 %"]
    assert found["about"] == "“heart”: 1 %, your choice."
    assert [one["text"] for one in found["others"]] == ["st", "(the end)", "\ufffd"]
    core.dispatch("words-back", 130)
    assert len(shown(core)["units"]) == 3
    # A new answer has words of its own; they are asked for by themselves.
    core.dispatch("question-asked", 140, question={"prompt": "Why?"}).dispatch("ask-started", 150)
    core.dispatch("ask-done", 160, id=2, text="So.", end="stop", stats=STATS, seconds=1)
    core.dispatch("panel-toggled", 170, panel="explain")
    assert core.plan["explainDue"] and shown(core)["units"] == []


def test_what_hinders_an_explanation_has_words(core):
    answered(core, REMOTE)
    found = shown(core)
    assert "16 more requests, about 8 s" in found["note"] and found["button"] == "Estimate"
    assert not core.plan["explainDue"]
    core.dispatch("words-asked", 50, kind="estimate")
    fields = core.run("return M.explainFields(arg.stills[0]);", core.state, WORDS)
    assert fields["explain"] == "estimate" and "alternatives" not in fields
    answered(core).dispatch("words-asked", 50, kind="looks").dispatch("words-stopped", 60)
    found = shown(core)
    assert (found["note"], found["button"]) == ("Stopped.", "Explain")
    assert not core.plan["explainDue"]
    # A model that cannot tell is estimated.
    core.dispatch("words-asked", 70, kind="looks")
    core.dispatch("words-failed", 80, id=2, kind="not_supported", message="Spread.")
    assert shown(core)["button"] == "Estimate"
    for by, words in (("finder", "The object finder"), ("reader", "The text reader")):
        core.begin().live().dispatch("explain-asked", 10)
        assert shown(core)["note"].startswith("Freeze the picture")
        core.dispatch("still-taken", 20, id=1, picture="jpeg", width=640, height=480)
        assert shown(core)["note"].startswith("The words come")
        core.dispatch("ask-started", 30)
        stats = {**STATS, "by": by}
        core.dispatch("ask-done", 40, id=1, text="A cup.", end="stop", stats=stats, seconds=1)
        assert shown(core)["note"].startswith(words) and not core.plan["explainDue"]


def test_words_are_explained_by_keyboard(open_page, url):
    page = open_page(url, init_script=KEEP_FORMS)
    sent = Sent(page)
    image, _ = next(plain_scenes())
    give(page, "paste", ("scene.png", "image/png", png_of(image)))
    expect(page.locator("#caption")).not_to_be_empty()
    page.keyboard.press("e")
    units = page.locator(".unit")
    expect(units.first).to_be_visible()
    # The same bytes as the question's, so that the server has encoded them.
    count = page.evaluate("sentForms.length")
    question, explained = sent.form(count - 2), sent.form(count - 1)
    assert explained["image"] == question["image"]
    assert (explained["explain"], explained["prompt"]) == ("1", question["prompt"])
    page.locator("#tab-explained").focus()
    page.keyboard.press("Tab")
    expect(units.first).to_be_focused()
    page.keyboard.press("End")
    expect(units.last).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".explained-about")).to_contain_text("looked mostly")
    expect(page.locator("#heat")).to_be_visible()
    assert "M" in page.locator(".heat-contour").get_attribute("d")
    page.keyboard.press("ArrowRight")
    expect(units.first).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    expect(page.locator(".explained-hide")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".explained-hidden")).to_have_text(
        re.compile(r"Without that part: .+ % → .+ %\.")
    )
    assert_accessible_at_all_zooms(page)
    check_branch(page, sent)
    check_files(page)
    check_claims(page, sent)
    check_estimate(page)


def check_branch(page: Page, sent: Sent) -> None:
    """Another word is chosen by keyboard; the sentence goes on from it, and back."""
    units = page.locator(".unit")
    before = units.count()
    text = "".join(units.all_text_contents())
    other = page.locator(".other:not([aria-disabled])").first
    other.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".explained-back")).to_be_visible()
    assert sent.form(page.evaluate("sentForms.length") - 1)["begin"]
    expect(page.locator(".unit[data-own]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.activeElement.className").startswith("unit")
    page.locator(".explained-back").focus()
    page.keyboard.press("Enter")
    expect(units).to_have_count(before)
    assert "".join(units.all_text_contents()) == text
    # The steps are played once a second.
    page.locator(".explained-play").click()
    expect(page.locator(".unit[aria-pressed=true]")).to_have_count(1)
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator(".explained-play")).to_be_hidden()
    page.emulate_media(reduced_motion="no-preference")
    page.locator(".explained-play").click()


def check_files(page: Page) -> None:
    """The words are saved with their maps, and the picture with the heat."""
    page.locator(".unit").last.click()
    files = {}
    for ending in ("json", "csv", "png"):
        with page.expect_download() as begun:
            page.locator(f"[data-save={ending}]").click()
        assert begun.value.suggested_filename.endswith(f"-words.{ending}")
        files[ending] = begun.value.path().read_bytes()
    words = json.loads(files["json"])["words"]
    assert max(words[-1]["map"]) == 255
    assert len(files["csv"].decode().splitlines()) == len(words) + 1
    assert files["png"].startswith(b"\x89PNG")


def check_claims(page: Page, sent: Sent) -> None:
    """The setting is sent with questions."""
    page.keyboard.press(",")
    page.locator("[name=claims]").select_option("mark")
    page.keyboard.press("a")
    page.keyboard.type("What is there?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-note").last).to_contain_text(" s")
    asked = sent.form(page.evaluate("sentForms.length") - 1)
    assert (asked["claims"], asked["sure"]) == ("mark", "1")


def check_estimate(page: Page) -> None:
    """A model that does not tell is estimated if the person wants that; a wait is cancelled."""
    error = {"code": "not_supported", "message": "No attention here."}
    note, ask = page.locator(".explained-note"), page.locator(".explained-ask")

    def refuse(route: Route) -> None:
        body = json.dumps({"error": error})
        route.fulfill(status=501, content_type="application/json", body=body)

    def hold(_: Route) -> None:
        """Answer never."""

    page.route("**/api/captions", refuse)
    page.locator("#tab-explain").click()
    expect(note).to_contain_text("16 more requests")
    page.unroute("**/api/captions")
    page.route("**/api/captions", hold)
    ask.click()
    expect(ask).to_have_text("Cancel")
    ask.click()
    expect(note).to_have_text("Stopped.")
    page.unroute("**/api/captions")
    ask.click()
    expect(page.locator(".unit").first).to_be_visible()
