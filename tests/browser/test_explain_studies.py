"""Studies of a still (patches, places, aspects, a second answer), and pinned labels."""

from __future__ import annotations

import json
import math
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from accessibility import assert_accessible, assert_accessible_at_all_zooms
from fake_camera import write_camera_file
from known_scenes import plain_scenes
from model_states import LARGE, models
from page_actions import KEEP_FORMS, start
from state_core import NANO, STATUS
from test_page import Sent

VIDEO = "smolvlm2-256m-video"
REMOTE = {**STATUS, "remote": {"origins": ["http://gpu:8000"], "upstreams": []}}
CORE = "words/studies words/explain core/studies core/patches core/places core/gauges"
PATCHES = {
    "grid": [2, 2],
    "map": [255, 200, 0, 0],
    "size": [192, 192],
    "tiles": 1,
    "tokens": 64,
}
SURE = {"probability": 0.9, "unsure": False, "threshold": 0.6, "words": []}


def frozen(core, status: dict[str, Any] = STATUS, text: str = "A red star."):
    """Return a core with a still in view whose first question is answered."""
    core.begin().live(status=status).dispatch("explain-asked", 10)
    core.dispatch("still-taken", 20, id=1, picture="jpeg", width=640, height=480)
    core.dispatch("ask-started", 21)
    return core.dispatch(
        "ask-done", 22, id=1, text=text, end="stop", stats={}, sure=SURE, seconds=0.5
    )


def ask(core, kind: str, at: float = 40, **fields: Any):
    return core.dispatch("study-asked", at, kind=kind, ask=fields)


def run(core, body: str, *rest: Any) -> Any:
    return core.run(f"const [state, ...rest] = arg; {body}", [core.state, *rest], CORE)


def told(core, name: str) -> str:
    """Return the texts of a study; `name` is the function of words/studies.js."""
    note: str = run(core, f"return M.{name}(state).note;")
    return note


def test_patches_have_places_neighbours_and_an_outline(core):
    # Of three rows of four, from the second patch of the second row; mirrored, right is left.
    cases = [
        ("ArrowRight", False, 6),
        ("ArrowLeft", True, 6),
        ("ArrowUp", False, 1),
        ("PageDown", False, 9),
        ("Home", False, 4),
        ("End", False, 7),
        ("End", True, 4),
        ("Enter", False, None),
    ]
    keys = "return rest[0].map(([key, mirror]) => M.patchAfterKey([3, 4], 5, key, mirror));"
    assert run(core, keys, cases) == [patch for _, _, patch in cases]
    assert run(
        core,
        "const isSame = (at) => M.patchAt([3, 4], M.middleOf([3, 4], at)) === at;"
        "return [...Array(12).keys()].every(isSame);",
    )
    # The outline of a block is its edge; that of two blocks that touch at a corner both edges.
    for indices, length in (([0, 1, 4, 5], 2 * (2 / 4 + 2 / 3)), ([0, 5], 4 * (1 / 4 + 1 / 3))):
        pieces = run(core, "return M.outlineOf([3, 4], rest[0]);", indices)
        assert math.isclose(sum(abs(x1 - x0) + abs(y1 - y0) for x0, y0, x1, y1 in pieces), length)
    # A box in a part of the picture, as one in the picture; a place there.
    shares = "return [M.boxInPicture(...rest[0]), M.placeIn(rest[0][0], { x: 0, y: 0 })];"
    box, place = run(core, shares, [[0.5, 0.5, 1, 1], [0, 0.5, 1, 1]])
    assert box == [0.5, 0.75, 1, 1] and place == {"column": 0, "row": 0}


def test_studies_belong_to_their_still_and_can_be_stopped(core):
    ask(frozen(core), "patches", x=0.2, y=0.2)
    assert core.plan["studyId"] == 1
    assert told(core, "patchesTexts") == "Comparing the patches …"
    # The person looks elsewhere meanwhile; what comes is shown with its still.
    core.dispatch("freeze-pressed", 50).dispatch("study-done", 60, id=1, answer=PATCHES, seconds=1)
    assert core.plan["studyId"] is None and told(core, "patchesTexts") == ""
    core.dispatch("view-opened", 70, stillId=1, panel="explain")
    sentence = "Patch in row 1 of 2, column 1 of 2 (top left): 1 other patch is alike, 25 % of all"
    assert told(core, "patchesTexts").startswith(sentence)
    # The next patch leaves the likenesses until its own are there; another study stops it.
    ask(core, "patches", 80, x=0.7, y=0.2)
    assert core.state["stills"][0]["studies"]["patches"]["found"] == PATCHES
    ask(core, "where", 90, phrase="cup")
    core.dispatch("study-done", 95, id=2, answer=PATCHES, seconds=1)
    assert told(core, "patchesTexts").startswith("Stopped")
    core.dispatch("study-done", 100, id=3, answer={"boxes": []}, seconds=0.1)
    assert told(core, "whereTexts") == "Not there: the model does not find “cup” (0.1 s)."
    box = {"box": [0, 0, 0.2, 0.2], "score": 0.97, "by": "detector"}
    answer = {"boxes": [box, {**box, "by": "features"}]}
    ask(core, "where", 110, phrase="cup")
    core.dispatch("study-done", 120, id=4, answer=answer, seconds=0.1)
    assert "2 places. The surest: top left" in told(core, "whereTexts")
    assert "by the object finder" in told(core, "whereTexts")
    core.dispatch("study-cleared", 130, kind="where")
    assert told(core, "whereTexts") == ""
    # Cleared or cancelled in flight; a refusal of the server is shown word for word.
    ask(core, "where", 140, phrase="cup").dispatch("study-cleared", 141, kind="where")
    assert core.plan["studyId"] is None
    ask(core, "aspects", 150).dispatch("study-stopped", 151)
    assert told(core, "aspectsTexts").startswith("Stopped")
    ask(core, "aspects", 160)
    core.dispatch("study-failed", 161, id=7, kind="not_supported", message="Not on this device.")
    assert told(core, "aspectsTexts") == "Not on this device."
    # A still that goes takes its study along.
    ask(core, "aspects", 170).dispatch("freeze-pressed", 171)
    for index in range(30):
        fields = {"picture": "png", "width": 4, "height": 3, "name": f"{index}.png"}
        core.dispatch("picture-opened", 180, isFirst=False, **fields)
    core.dispatch("study-done", 190, id=8, answer={"aspects": []}, seconds=1)
    assert core.plan["studyId"] is None
    assert all("aspects" not in one["studies"] for one in core.state["stills"])


def test_what_hinders_a_study_has_words(core):
    hint = "return M.STUDY_KINDS.map((kind) => M.hindranceText(state, kind));"
    assert run(frozen(core), hint) == [""] * 4
    *hints, other = run(frozen(core, status=REMOTE), hint)
    assert all("another server" in one for one in hints) and other == ""
    assert core.plan["studyId"] is None
    core.dispatch("status-failed", 30, message="Gone.")
    assert run(core, hint)[3] == "The server does not answer. Try again when it is back."
    core.begin().live()
    assert run(core, hint)[0] == "Freeze the picture first."
    phrases = run(core, "return rest[0].map(M.phraseProblem);", [" ", "x" * 81, "🟥" * 80])
    assert ["Name" in phrases[0], "81 characters" in phrases[1], phrases[2]] == [True, True, ""]


def test_another_model_is_lent_for_one_answer(core):
    def status(model: str, **fields: Any) -> dict[str, Any]:
        return {**STATUS, "model": model, "models": models(model, **fields)}

    def change(model: str) -> dict[str, Any]:
        return {"model": model, "title": model, "step": "loading", "cancelling": False}

    def request(core) -> tuple[str, str] | None:
        asked = core.plan["modelRequest"]
        return asked and (asked["action"], asked["model"])

    def begin(core):
        ask(
            frozen(core), "other", way="model", prompt="Why?", detail="low", about=None, model=VIDEO
        )
        assert request(core) == ("switch", VIDEO) and core.plan["studyId"] is None
        coming = models(NANO, change=change(VIDEO))
        return core.dispatch("model-request-done", 50, models=coming)

    # One that is not on this machine, or too large for it, is not asked for.
    for model in (LARGE, "smolvlm-256m"):
        ask(
            frozen(core), "other", way="model", prompt="Why?", detail="low", about=None, model=model
        )
        assert request(core) is None and core.plan["studyId"] is None
    begin(core).dispatch("status-received", 60, status=status(VIDEO))
    assert core.plan["studyId"] == 1 and request(core) is None
    answer = {"text": "So.", "finish_reason": "stop", "stats": {}, "sure": SURE}
    core.dispatch("study-done", 70, id=1, answer=answer, seconds=2)
    assert request(core) == ("switch", NANO)
    core.dispatch("model-request-done", 80, models=models(VIDEO, change=change(NANO)))
    core.dispatch("status-received", 90, status=status(NANO))
    assert request(core) is None and core.state["goesBack"] is None
    sides = run(core, "return M.sidesTexts(state, true).sides;")
    assert [one["text"] for one in sides] == ["So.", "A red star."]
    assert sides[0]["meta"] == "SmolVLM2 256M Video · 90 % for all words · 2.0 s"
    # Stopped on the way: the change is cancelled.
    begin(core).dispatch("study-stopped", 60)
    assert request(core) == ("cancel", VIDEO)
    core.dispatch("model-request-done", 70, models=models(NANO))
    assert request(core) is None and core.state["goesBack"] is None
    # It cannot be loaded, or the person chooses another one: that holds, and the answer has failed.
    begin(core).dispatch("status-received", 60, status=status(NANO, problem={"message": "Broken."}))
    assert told_sides(core) == "Broken." and request(core) is None
    begin(core).dispatch("status-received", 60, status=status(NANO, change=change(LARGE)))
    assert told_sides(core).startswith("Another model was chosen")
    assert request(core) is None and core.state["goesBack"] is None


def told_sides(core) -> str:
    note: str = run(core, "return M.sidesTexts(state, false).note;")
    return note


def test_pinned_labels_give_way_to_captions(core):
    core.begin().live().dispatch("setting-changed", 0, name="labels", value="cat\ndog|hound\nx\ny")
    core.dispatch("labels-pinned", 5)
    # Nothing while a caption is made, unless they have waited long; then one request at a time.
    assert core.plan["gaugeAt"] == 5
    core.dispatch("capture-started", 10).dispatch("frame-sent", 11)
    assert core.plan["gaugeAt"] == 10_005
    core.dispatch("caption-done", 100, text="A cat.", stats={}).dispatch("gauges-asked", 110)
    assert (core.plan["gaugeAt"], core.plan["gaugeId"]) == (None, 1)
    labels = [{"label": "cat", "probability": 0.1}, {"label": "dog|hound", "probability": 0.6}]
    answer = {"labels": labels, "none": 0.3, "calibrated": True}
    core.dispatch("gauges-done", 410, id=1, answer=answer)
    texts = run(core, "return M.gaugesTexts(state);")
    shown = [(one["label"], one["probability"]) for one in texts["bars"]]
    assert shown == [("dog", 0.6), ("none of these", 0.3), ("cat", 0.1)] and texts["note"] == ""
    # A scene that has not changed is not asked about again. A new one is, after ten times the work.
    assert core.plan["gaugeAt"] is None
    core.captioned(at=500)
    assert core.plan["gaugeAt"] == 3_410
    old = "return rest[0].map((at) => M.areGaugesOld(state, at));"
    assert run(core, old, [3_000, 3_200]) == [False, True]
    # A still, a hidden page and an end drop what is in flight; live, it goes on.
    core.dispatch("gauges-asked", 3_500).dispatch("visibility-changed", 3_600, visible=False)
    assert core.plan["gaugeId"] is None and core.plan["gaugeAt"] is None
    core.dispatch("visibility-changed", 3_700, visible=True)
    core.dispatch("gauges-asked", 3_800)
    core.dispatch("gauges-failed", 3_900, id=3, kind="busy", message="Busy.")
    assert core.plan["gaugeAt"] > 5_900
    core.dispatch("gauges-asked", 7_000).dispatch(
        "gauges-failed", 7_001, id=4, kind="not_supported"
    )
    assert core.plan["gaugeAt"] is None
    assert "tells no probabilities" in run(core, "return M.gaugesTexts(state).note;")
    core.dispatch("labels-unpinned", 8_000)
    assert core.state["settings"]["pinned"] == ""


def test_the_dual_encoder_stands_beside_the_model(core):
    frozen(core).dispatch("setting-changed", 30, name="labels", value="cat\ndog")
    core.dispatch("setting-changed", 31, name="labelPair", value=True).dispatch("labels-asked", 32)
    assert core.state["stills"][0]["labels"]["withPair"]
    labels = [{"label": "cat", "probability": 0.7}, {"label": "dog", "probability": 0.1}]
    pair = {"model": "nano-pair", "labels": labels[::-1], "seconds": 0.04, "problem": ""}
    answer = {"labels": labels, "none": 0.2, "calibrated": True, "model": "nano", "seconds": 0.2}
    core.dispatch("labels-done", 40, id=1, answer={**answer, "pair": pair}, seconds=0.3)
    found = run(core, "return M.labelsAnswer(state);")
    assert found["note"] == "Likeliest: cat, 70 %. The dual encoder differs: dog, 10 %."
    assert [one["pair"] for one in found["bars"]] == [0.7, 0.1, None]
    assert found["pair"]["about"].startswith("nano took 0.2 s, nano-pair 0.040 s. What each")
    # One that is switched off takes nothing from the model's answer.
    off = {"model": "", "labels": [], "seconds": 0, "problem": "It is off."}
    core.dispatch("labels-asked", 50)
    core.dispatch("labels-done", 60, id=2, answer={**answer, "pair": off}, seconds=0.3)
    found = run(core, "return M.labelsAnswer(state);")
    assert found["pair"]["names"] is None and found["pair"]["about"].endswith("It is off.")
    assert found["note"] == "Likeliest: cat, 70 %."


def test_a_still_is_studied_by_keyboard(open_page, url, tmp_path):
    image, name = next(plain_scenes())
    camera = write_camera_file(tmp_path / "scene.mjpeg", [(image, 2)])
    page = open_page(url, camera, init_script=KEEP_FORMS, reduced_motion="reduce")
    sent = Sent(page)
    start(page)
    page.keyboard.press("e")
    page.locator("#explain-freeze").press("Enter")
    expect(page.locator("#chip")).to_contain_text("Frozen")
    expect(page.locator("#caption")).to_contain_text(name.split()[-1])
    expect(page.locator(".explained-words")).to_be_visible()
    check_patches(page, sent)
    check_where(page, name)
    check_aspects_and_pair(page, name)
    check_sides(page)
    check_gauges(page)


def segment(page: Page, name: str) -> None:
    """Choose a segment by the arrow keys."""
    tabs = page.locator(".segments [role=tab]")
    tabs.first.evaluate("(tab) => tab.parentElement.querySelector('[aria-selected=true]').focus()")
    page.keyboard.press("Home")
    for _ in range(tabs.count()):
        if page.locator(f"#{name}").is_visible():
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(name)


def check_patches(page: Page, sent: Sent) -> None:
    segment(page, "patches")
    page.locator(".patches-ask").press("Enter")
    note = page.locator(".patches-note")
    expect(note).to_contain_text("Patch in row 9 of 16, column 9 of 16")
    expect(page.locator(".patches-seen")).to_contain_text("64 of the prompt are the picture")
    # The question's own bytes: nothing is encoded again.
    count = page.evaluate("sentForms.length")
    assert sent.form(count - 1)["image"] == sent.form(0 if count < 2 else count - 2)["image"]
    page.locator(".patches-choose").press("Enter")
    grid = page.locator("#patch-grid")
    expect(grid).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Home"):
        page.keyboard.press(key)
    expect(note).to_contain_text("Patch in row 8 of 16, column 1 of 16 (left)")
    expect(grid).to_have_attribute("aria-label", "Patch in row 8 of 16, column 1 of 16")
    page.keyboard.press("Escape")
    expect(page.locator(".patches-choose")).to_be_focused()
    box = grid.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.97, box["y"] + box["height"] * 0.03)
    expect(note).to_contain_text("Patch in row 1 of 16, column 16 of 16 (top right)")
    # No part was begun by the press.
    expect(page.locator("#part-layer")).to_be_hidden()
    assert_accessible_at_all_zooms(page)


def check_where(page: Page, name: str) -> None:
    segment(page, "where")
    field = page.locator(".where-phrase")
    field.press("Enter")
    expect(page.locator(".where-hint")).to_have_text("Name a thing, such as “red cup”.")
    field.press_sequentially(f"the {name}")
    field.press("Enter")
    note = page.locator(".where-note")
    expect(note).to_contain_text("middle")
    boxes = page.locator(".where-box")
    expect(boxes).to_have_count(1)
    for absent, told in (
        ("brown ring", "Not there: the model does not find “brown ring”"),
        ("green dog", "The model does not know “green dog”, so it cannot tell."),
    ):
        field.fill(absent)
        field.press("Enter")
        expect(note).to_contain_text(told)
        expect(boxes).to_have_count(0)
    assert_accessible(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/where", hold)
    field.press("Enter")
    find = page.locator(".where-ask")
    expect(find).to_have_text("Cancel")
    find.press("Enter")
    expect(note).to_have_text("Stopped before an answer came.")
    page.unroute("**/api/where")
    page.locator(".where-clear").press("Enter")
    expect(field).to_be_focused()
    expect(note).to_be_empty()


def check_aspects_and_pair(page: Page, name: str) -> None:
    segment(page, "labels")
    page.locator("[name=labels]").fill(f"{name}\nblue ring | blue hoop\ngreen cross\nred star")
    page.locator("[name=labelPair]").press("Space")
    page.locator(".labels-form [type=submit]").press("Enter")
    note = page.locator(".labels-note")
    expect(note).to_contain_text(f"Likeliest: {name}, > 99 %. The dual encoder agrees")
    bars = labels_of(page)
    expect(bars.first).to_contain_text("nano-pair")
    expect(page.locator(".labels-pair-about")).to_contain_text("What each cannot do")
    # One that is off: the model answers alone.
    error = {"code": "part_off", "message": "It is off."}

    def refuse(route: Route) -> None:
        body = json.dumps({"error": error})
        route.fulfill(status=503, content_type="application/json", body=body)

    page.route("**/api/labels", refuse, times=1)
    page.locator(".labels-form [type=submit]").press("Enter")
    expect(page.locator(".labels-pair-about")).to_contain_text("does not answer. It is off.")
    expect(bars).to_have_count(5)
    page.locator(".aspects-ask").press("Enter")
    expect(page.locator(".aspects-note")).to_contain_text("Count: one")
    assert page.locator(".aspect").count() == 4
    assert_accessible(page)
    page.locator(".labels-pin").press("Enter")
    expect(page.locator(".labels-unpin")).to_be_visible()


def labels_of(page: Page) -> Locator:
    return page.locator("#labels > .labels-bars > .bar")


def check_sides(page: Page) -> None:
    segment(page, "sides")
    note = page.locator(".sides-note")
    page.locator("#sides [name=question]").fill("What colour is it?")
    page.keyboard.press("Enter")
    expect(note).to_have_text("Words that differ are bold and underlined.")
    sides = page.locator(".side")
    expect(sides).to_have_count(2)
    expect(sides.nth(0)).to_have_attribute("data-side", "A")
    assert sides.locator(".differs").count() > 0
    expect(sides.nth(1).locator(".side-meta")).to_contain_text("for all words")
    page.locator(".sides-swap").press("Enter")
    expect(sides.nth(0)).to_have_attribute("data-side", "B")
    page.locator("#sides [name=way]").select_option("detail")
    page.locator("#sides [name=choice]").select_option("small")
    page.locator(".sides-ask").press("Enter")
    expect(sides.nth(0).locator(".side-about")).to_contain_text("three quarters")
    expect(sides.nth(0).locator(".side-meta")).to_contain_text("for all words")
    assert_accessible(page)


def check_gauges(page: Page) -> None:
    """The pinned labels are seen live, told to nobody by themselves, and outlast a reload."""
    gauges = page.locator("#gauges")
    expect(gauges).to_be_hidden()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#chip")).to_contain_text("Live")
    bars = gauges.locator(".bar")
    expect(bars).to_have_count(3)
    assert gauges.evaluate("(one) => one.closest('[aria-live], [role=status]') === null")
    assert_accessible_at_all_zooms(page)
    page.reload()
    start(page)
    expect(bars).to_have_count(3)
    gauges.get_by_role("button", name="Unpin").press("Enter")
    expect(gauges).to_be_hidden()
    page.reload()
    start(page)
    expect(gauges).to_be_hidden()
