"""The panel that explains the moment in view: own labels, their bars, and what goes wrong."""

from __future__ import annotations

import json
import shlex

from playwright.sync_api import Page, Route, expect

from accessibility import assert_accessible_at_all_zooms
from page_actions import KEEP_FORMS, start
from state_core import LOADING, STATUS
from test_page import Sent

REMOTE = {**STATUS, "remote": {"origins": ["http://gpu:8000"], "upstreams": []}}
ANSWER = {
    "labels": [{"label": "cat", "probability": 0.7}, {"label": "dog", "probability": 0.1}],
    "none": 0.2,
    "calibrated": True,
    "model": "nano",
}
EXPLAIN = "words/explain core/labels core/address"


def frozen(core, labels: str = "cat\ndog", status=STATUS):
    """Return a core with a still in view and labels in the field."""
    core.begin().live(status=status).dispatch("explain-asked", 10)
    core.dispatch("still-taken", 20, id=1, picture="jpeg", width=640, height=480)
    return core.dispatch("setting-changed", 30, name="labels", value=labels)


def told(core) -> list[str]:
    return core.run(
        "const { note, about, bars } = M.labelsAnswer(arg);"
        "return [note, about, ...bars.map((one) => `${one.label} ${one.probability}`)];",
        core.state,
        EXPLAIN,
    )


def test_labels_are_read_as_the_server_reads_them(core):
    cases = [
        ("cat, dog,cat", ["cat", "dog"], None),
        ("a cat, asleep\n\n dog \r\na  cat, asleep", ["a cat, asleep", "dog"], None),
        (" sofa |  couch || \n🟥|", ["sofa|couch", "🟥"], None),
        (" ,|\n", [], "none"),
        ("\n".join(map(str, range(201))), None, "many"),
        ("ok\n" + "🟥" * 80, None, None),
        ("ok\n" + "x" * 81, None, "long"),
    ]
    found = core.run(
        "return arg.map((text) => [M.labelsOf(text), M.labelProblem(M.labelsOf(text))]);",
        [text for text, _, _ in cases],
        EXPLAIN,
    )
    for (text, labels, problem), (read, kind) in zip(cases, found, strict=True):
        assert labels in (None, read), text
        assert (kind and kind["kind"]) == problem, text


def test_labels_belong_to_their_still_and_can_be_stopped(core):
    frozen(core).dispatch("labels-asked", 40)
    assert core.plan["labelsId"] == 1
    assert told(core)[0] == "Asking about 2 labels …"
    # The person looks elsewhere meanwhile; what comes is shown with its still.
    core.dispatch("freeze-pressed", 50).dispatch(
        "labels-done", 60, id=1, answer=ANSWER, seconds=0.4
    )
    assert core.plan["labelsId"] is None
    assert told(core) == ["", ""]
    core.dispatch("view-opened", 70, stillId=1, panel="explain")
    shown = ["Likeliest: cat, 70 %.", "nano, 0.4 s.", "cat 0.7", "dog 0.1", "none of these 0.2"]
    assert told(core) == shown
    # Changed labels do not pass for those that were answered.
    core.dispatch("setting-changed", 80, name="labelMode", value="many")
    assert "as they were, one of them" in told(core)[1]
    core.dispatch("labels-asked", 90).dispatch("labels-stopped", 100)
    core.dispatch("labels-done", 110, id=2, answer=ANSWER, seconds=0.4)
    assert told(core)[0].startswith("Stopped")
    answer = {**ANSWER, "none": None, "calibrated": False}
    core.dispatch("labels-asked", 120).dispatch("labels-done", 130, id=3, answer=answer, seconds=1)
    assert told(core)[1].startswith("Uncalibrated") and len(told(core)) == 4
    # A second still's labels replace those in flight; a still that goes takes its own along.
    core.dispatch("labels-asked", 140)
    core.dispatch("picture-opened", 150, picture="png", width=4, height=3, name="a.png", isFirst=1)
    core.dispatch("labels-asked", 160)
    assert core.plan["labelsId"] == 5
    assert core.state["stills"][0]["labels"]["error"]["kind"] == "stopped"
    core.dispatch("turn-stopped", 165, turnId=1).dispatch("turn-stopped", 165, turnId=2)
    core.dispatch("freeze-pressed", 168)
    for index in range(30):
        fields = {"picture": "png", "width": 4, "height": 3, "name": f"{index}.png"}
        core.dispatch("picture-opened", 170, isFirst=False, **fields)
    core.dispatch("labels-done", 180, id=5, answer=ANSWER, seconds=0.4)
    assert all("found" not in (one["labels"] or {}) for one in core.state["stills"])


def test_what_hinders_labels_has_words(core):
    cases = [
        ({"labels": "cat"}, "1 label", True),
        ({"labels": ""}, "Write at least one label.", False),
        ({"labels": "x" * 81}, "has 81 characters", False),
        ({"labels": "\n".join(map(str, range(201)))}, "201 labels: at most 200", False),
        ({"status": LOADING}, "The model is loading.", False),
        ({"status": REMOTE}, "The model runs on another server", False),
    ]
    for fields, words, may in cases:
        frozen(core, **fields)
        hint, allowed = core.run(
            "return [M.labelsHint(arg).text, M.mayLabel(arg)];", core.state, EXPLAIN
        )
        assert words in hint and allowed is may, fields
        core.dispatch("labels-asked", 40)
        assert (core.plan["labelsId"] is not None) is may
    core.begin().dispatch("explain-asked", 0)
    assert core.state["started"]
    steps = core.run("return [M.stepsOf(arg), M.viewOf('#m/3/explain')];", core.state, EXPLAIN)
    assert steps == [["", "#live", "#m/1", "#m/1/explain"], {"stillId": 3, "panel": "explain"}]


def test_numbers_are_those_of_the_caption_in_view(core):
    core.begin(host="x").live()
    stats = {
        **{"ttft_s": 0.05, "tokens_per_s": 20, "tokens": 8, "drafted": 6, "accepted": 5},
        **{"image_tokens": 64, "prompt_tokens": 90, "patches": 12, "queued_s": 0, "total_s": 0.4},
        "kept": {"error": 0.0123, "checks": 4, "agreed": 3},
        "chosen": {
            "detail": "low",
            "max_tokens": 1,
            "interval_s": 0.5,
            "latency_s": 0,
            "why": "Now.",
        },
    }
    core.dispatch("capture-started", 1).dispatch("frame-sent", 2)
    core.dispatch("caption-done", 100, text="A red circle.", stats=stats)
    rows = "return Object.fromEntries(M.numbersOf(arg).map(({ name, value }) => [name, value]));"
    shown = core.run(rows, core.state, "words/numbers")
    assert shown == {
        "First word": "50 ms",
        "Speed": "7.5 words a second (20 tokens)",
        "All of it": "0.40 s",
        "Read": "90 tokens, 64 of them the picture",
        "Written": "8 tokens",
        "Drafted": "6 tokens of the last answer, 5 of them right",
        "Patches": "12 encoded, the others kept",
        "Kept": "error 0.012, 3 of 4 compared captions the same",
        "Chosen": "detail low, at most 1 token, a frame each 0.50 s. Now.",
        "Model": "nano, cpu",
    }
    # A still's answer has its own, and its history goes into the command, quoted for a shell.
    question = {"prompt": "What's it?"}
    core.dispatch("question-asked", 200, question=question)
    core.dispatch("still-taken", 210, id=1, picture="jpeg", width=640, height=480)
    core.dispatch("ask-started", 220)
    core.dispatch("ask-done", 230, id=1, text="A cup.", end="stop", stats={}, seconds=1)
    assert set(core.run(rows, core.state, "words/numbers")) == {"Model"}
    core.dispatch("question-asked", 240, question={"prompt": "Why?"}).dispatch("ask-started", 250)
    core.dispatch("ask-done", 260, id=2, text="So.", end="stop", stats=stats, seconds=1)
    command = core.run(
        "return M.curlText(arg, 'http://x/api/captions');", core.state, "words/numbers"
    )
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:4] == ["curl", "-N", "-F", "image=@picture.jpg"]
    assert words[-1] == "http://x/api/captions"
    fields = dict(word.split("=", 1) for word in words[5:-1:2])
    assert (fields["prompt"], fields["kind"], fields["detail"]) == ("Why?", "question", "low")
    assert json.loads(fields["turns"]) == [{"question": "What's it?", "answer": "A cup."}]


def test_labels_are_compared_by_keyboard(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS, reduced_motion="reduce")
    sent = Sent(page)
    start(page)
    page.keyboard.press("e")
    expect(page.locator("#tab-explain")).to_be_focused()
    page.locator("#tab-labels").click()
    page.locator("#tab-explain").focus()
    compare = page.get_by_role("button", name="Compare", exact=True)
    expect(compare).to_be_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#explain-freeze")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#chip")).to_contain_text("Frozen")
    assert page.url.endswith("#m/1/explain")
    expect(page.locator("#caption")).not_to_be_empty()
    page.keyboard.press("Tab")
    page.keyboard.type("red star\nblue ring | blue hoop")
    expect(page.locator(".labels-hint")).to_have_text("2 labels")
    page.keyboard.press("Control+Enter")
    bars = page.locator("#labels .bar")
    expect(bars).to_have_count(3)
    assert bars.last.locator(".bar-label").text_content() == "none of these"
    expect(page.locator(".labels-note")).to_contain_text("Likeliest: ")
    # The same bytes as the question's, so that the server has encoded them.
    count = page.evaluate("sentForms.length")
    question, labels = sent.form(count - 2), sent.form(count - 1)
    assert labels["image"] == question["image"]
    assert (labels["labels"], labels["mode"]) == ("red star\nblue ring | blue hoop", "one")
    page.get_by_label("Any of them").check()
    expect(page.locator(".labels-about")).to_contain_text("as they were")
    compare.click()
    expect(page.locator(".labels-about")).not_to_contain_text("as they were")
    assert_accessible_at_all_zooms(page)
    check_numbers(page)
    check_refusals(page)
    # Kept over a reload. Back closes the panel, then leaves the picture.
    page.go_back()
    expect(page.locator("#panel")).to_be_hidden()
    page.go_back()
    expect(page.locator("#chip")).to_contain_text("Live")
    page.reload()
    page.keyboard.press("e")
    expect(page.locator("[name=labels]")).to_have_value("one\ntwo")
    expect(page.get_by_label("Any of them")).to_be_checked()


def check_numbers(page: Page) -> None:
    """Arrow keys lead to the numbers of the caption in view, and to its command."""
    page.locator("#tab-labels").focus()
    page.keyboard.press("End")
    expect(page.locator("#tab-numbers")).to_be_focused()
    expect(page.locator(".numbers-row", has_text="First word")).to_be_visible()
    expect(page.locator(".numbers-curl")).to_contain_text("/api/captions'")
    assert_accessible_at_all_zooms(page)
    page.locator("#tab-labels").click()
    expect(page.locator("#labels")).to_be_visible()


def check_refusals(page: Page) -> None:
    """A refusal is shown in the server's words; a wait can be cancelled; what was typed stays."""
    note = page.locator(".labels-note")
    compare = page.locator(".labels-form [type=submit]")
    page.locator("[name=labels]").fill("one\ntwo")
    error = {"code": "not_supported", "message": "This model scores no given answers."}
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    def refuse(route: Route) -> None:
        body = json.dumps({"error": error})
        route.fulfill(status=501, content_type="application/json", body=body)

    page.route("**/api/labels", refuse)
    compare.click()
    expect(note).to_have_text(error["message"])
    page.unroute("**/api/labels")
    page.route("**/api/labels", hold)
    compare.click()
    expect(compare).to_have_text("Cancel")
    compare.click()
    expect(note).to_have_text("Stopped before an answer came.")
    expect(compare).to_be_focused()
    expect(page.locator("[name=labels]")).to_have_value("one\ntwo")
    page.unroute("**/api/labels")
