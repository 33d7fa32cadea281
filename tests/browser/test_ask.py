"""A frozen picture and the questions about it: keys, a part, a comparison, and failures."""

from __future__ import annotations

import io
import json
import re

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from page_actions import KEEP_FORMS, press_start, start, told
from test_page import Sent

ANSWERS = ".turn-answer"
STREAM = "text/event-stream"


def answer(text: str, reason: str = "stop", **stats: object) -> str:
    done = {"text": text, "finish_reason": reason, "stats": stats}
    return f"event: done\ndata: {json.dumps(done)}\n\n"


def ask(page: Page, question: str) -> None:
    page.locator("#question-text").fill(question)
    page.keyboard.press("Enter")


def form_of(sent: Sent, page: Page) -> dict[str, object]:
    return sent.form(page.evaluate("window.sentForms.length") - 1)


def test_picture_is_frozen_and_asked_about_by_keyboard(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    # Freeze, the field, the question, Enter.
    page.keyboard.press("Space")
    expect(page.locator("#chip")).to_contain_text("Frozen")
    expect(page.locator("#still")).to_be_visible()
    page.keyboard.press("a")
    page.keyboard.type("What colour is it?")
    page.keyboard.press("Enter")
    expect(page.locator(ANSWERS)).to_have_count(2)
    expect(page.locator(ANSWERS).last).not_to_be_empty()
    assert re.search(r"#m/1/ask$", page.url)
    texts = page.locator(ANSWERS).all_text_contents()
    expect(page.locator("#caption")).to_have_text(texts[1])
    expect(page.locator("#asked")).to_have_text("What colour is it?")
    # The question went with the first one and its answer, and with the same bytes.
    first, second = (sent.form(page.evaluate("sentForms.length") - back) for back in (2, 1))
    assert second["image"] == first["image"]
    assert "camera" not in second
    assert json.loads(second["turns"]) == [{"question": first["prompt"], "answer": texts[0]}]
    # A digit asks a question of the list.
    page.keyboard.press("Escape")
    page.locator("#freeze").focus()
    page.keyboard.press("4")
    expect(page.locator(ANSWERS)).to_have_count(3)
    expect(page.locator(ANSWERS).last).not_to_be_empty()
    # The answers are in the session too.
    page.locator("#tab-history").click()
    expect(page.locator(".history-question", has_text="What colour is it?")).to_have_count(1)
    # Back closes the panel, leaves the picture, and stays on the page while captions run.
    page.go_back()
    expect(page.locator("#panel")).to_be_hidden()
    page.go_back()
    expect(page.locator("#chip")).to_contain_text("Live")
    page.go_back()
    expect(page.locator("#chip")).to_contain_text("Live")
    assert page.url.endswith("#live")
    expect(page.locator(".history-gap", has_text="Picture frozen")).to_have_count(1)
    # A panel stays open over a stop.
    page.locator("#open-history").click()
    press_start(page)
    expect(page.locator("#chip")).to_contain_text("Stopped")
    page.wait_for_function("() => location.hash === '#off/history'")
    expect(page.locator("#history")).to_be_visible()


def test_part_fine_detail_and_comparison_are_sent(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    ask(page, "What colour is it?")
    expect(page.locator(ANSWERS)).not_to_be_empty()
    # A quarter at the bottom right by keys: red is on the left, blue on the right.
    page.locator("#part").click()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator(".ask-part")).to_contain_text("bottom right, about a quarter")
    page.locator("#fine").click()
    expect(page.locator("#fine")).to_have_attribute("aria-pressed", "true")
    ask(page, "And here?")
    expect(page.locator(ANSWERS)).to_have_count(2)
    expect(page.locator(ANSWERS).last).not_to_be_empty()
    form = form_of(sent, page)
    assert form["detail"] == "high"
    assert "turns" not in form
    part = Image.open(io.BytesIO(form["image"])).convert("RGB")
    assert part.width / part.height == pytest.approx(4 / 3, abs=0.05)
    left, right = (part.getpixel((int(part.width * x), part.height // 2)) for x in (0.05, 0.95))
    # With its margin the part begins at 0.425 of the picture.
    assert left[0] > left[2] and right[2] > right[0]
    # A drag draws a part; a press takes none.
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.up()
    expect(page.locator(".ask-part")).to_contain_text("top left")
    page.locator("#part").click()
    expect(page.locator(".ask-part")).to_have_text("")
    # Another picture is compared with the first one.
    page.locator("#freeze").click()
    ask(page, "What colour is it?")
    expect(page.locator(ANSWERS)).to_have_count(1)
    expect(page.locator(ANSWERS)).not_to_be_empty()
    page.locator("#compare").select_option(index=1)
    expect(page.locator(ANSWERS)).to_have_count(2)
    expect(page.locator(ANSWERS).last).not_to_be_empty()
    expect(page.locator(".turn-about").last).to_contain_text("Picture of ")
    texts = page.locator(ANSWERS).all_text_contents()
    expect(told(page, "answer").first).to_contain_text(texts[1])
    # Over this picture stands what was said of it.
    expect(page.locator("#caption")).to_have_text(texts[0])
    said = "The same words" if texts[0] == texts[1] else "Words that differ"
    expect(page.locator(".turn-about").last).to_contain_text(said)
    # Questions that were asked are in the list of the field, and recalled by its arrow keys.
    assert page.locator("#prompt option", has_text="“").all_text_contents() == [
        "“What colour is it?”",
        "“And here?”",
    ]
    for key, text in (("Up", "What colour is it?"), ("Up", "And here?"), ("Up", "And here?")):
        page.locator("#question-text").press(f"Arrow{key}")
        expect(page.locator("#question-text")).to_have_value(text)
    page.locator("#question-text").press("ArrowDown")
    page.locator("#question-text").press("ArrowDown")
    expect(page.locator("#question-text")).to_have_value("")
    page.keyboard.press("Escape")
    page.locator("#freeze").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(ANSWERS)).to_have_count(2)
    expect(page.locator(".turn-question").last).to_have_text("And here?")


def test_frozen_picture_is_saved_with_its_words(open_page, url, still_camera, tmp_path):
    page = open_page(url, still_camera, permissions=["camera", "clipboard-write", "clipboard-read"])
    start(page)
    ask(page, "What colour is it?")
    expect(page.locator(ANSWERS)).not_to_be_empty()
    said = page.locator(ANSWERS).text_content()
    page.keyboard.press("Escape")
    page.locator("#panel-close").click()
    page.keyboard.press("Control+s")
    expect(page.locator("[data-save=copy-words]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".save-status")).to_have_text("Copied")
    words = page.evaluate("navigator.clipboard.readText()")
    assert words.startswith("Picture of 2") and f"What colour is it?\n{said}\n(" in words
    page.locator("[data-save=copy-picture]").click()
    page.wait_for_function("""async () => {
      const [item] = await navigator.clipboard.read();
      return item.types.includes("image/png");
    }""")
    saved = {}
    for kind in ("picture", "json"):
        with page.expect_download() as download:
            page.locator(f"[data-save=save-{kind}]").click()
        name = download.value.suggested_filename
        assert re.fullmatch(r"sightline-[-\d]+-picture\.(png|json)", name)
        saved[kind] = tmp_path / name
        download.value.save_as(saved[kind])
    picture = Image.open(saved["picture"]).convert("RGB")
    # The words stand under the picture, of which nothing is lost.
    assert picture.width == 640 and picture.height > 480
    left, right = picture.getpixel((100, 240)), picture.getpixel((540, 240))
    assert left[0] > left[2] and right[2] > right[0]
    under = picture.crop((0, 480, 640, picture.height)).convert("L")
    assert under.getextrema()[0] < 60 and under.getextrema()[1] > 250
    data = json.loads(saved["json"].read_text())
    assert (data["width"], data["height"]) == (640, 480)
    assert [(turn["question"], turn["answer"]) for turn in data["turns"]] == [
        ("What colour is it?", said)
    ]
    # The edge of the panel is moved by keys and by a drag, and kept.
    width = "document.querySelector('#panel').getBoundingClientRect().width"
    edge = page.get_by_role("separator", name="Width of the panel")
    edge.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(width) == 420
    box = edge.bounding_box()
    page.mouse.move(box["x"] + 6, 300)
    page.mouse.down()
    page.mouse.move(100, 300)
    page.mouse.up()
    assert page.evaluate(width) == 560
    page.reload()
    page.keyboard.press("t")
    expect(page.locator("#panel")).to_be_visible()
    assert page.evaluate(width) == 560


def test_words_that_differ_are_found(modules):
    cases = [
        ("A red circle.", "a red, Circle", []),
        ("A red circle and a star", "A blue circle and a star", ["red"]),
        ("One two", "", ["One", "two"]),
        ("- - x", "x -", ["-", "-"]),
    ]
    found = modules(
        "core/words-apart",
        """return arg.map(([one, other]) => {
          const isApart = M.apart(one, other);
          return M.wordsOf(one).map((word) => word.trim()).filter((_, index) => isApart[index]);
        });""",
        [case[:2] for case in cases],
    )
    assert found == [case[2] for case in cases]


def test_each_failure_of_a_question_has_words_and_a_way_on(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    note = page.locator(".turn-note").last
    replies: list[tuple[int, str, str]] = []

    def reply(route: Route) -> None:
        status, content, body = replies.pop(0) if len(replies) > 1 else replies[0]
        route.fulfill(status=status, content_type=content, body=body)

    def refusal(status: int, code: str, message: str) -> tuple[int, str, str]:
        body = json.dumps({"error": {"code": code, "message": message}})
        return status, "application/json", body

    replies[:] = [refusal(400, "bad_request", "The prompt is too long.")]
    page.route("**/api/captions", reply)
    ask(page, "What is this?")
    expect(note).to_have_text("The prompt is too long.")
    replies[:] = [refusal(503, "busy", "Full.")]
    page.get_by_role("button", name="Ask again").click()
    expect(note).to_have_text("The server is busy. Your question waits.")
    replies[:] = [(200, STREAM, answer("A list:\n- one\n- two", "length", tokens=64))]
    expect(note).to_contain_text("cut at 64 tokens")
    assert page.locator(f"{ANSWERS} li").all_text_contents() == ["one", "two"]
    replies[:] = [(200, STREAM, answer('{"shape": "star"}'))]
    page.get_by_role("button", name="Longer").last.click()
    expect(page.locator(f"{ANSWERS} pre")).to_have_text('{\n  "shape": "star"\n}')
    replies[:] = [(200, STREAM, 'event: token\ndata: {"text": "Half"}\n\n')]
    ask(page, "And this?")
    expect(note).to_contain_text("waits until it is back")
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(note).to_contain_text("Stopped before an answer came.")
    replies[:] = [(200, STREAM, answer("שלום עולם."))]
    page.get_by_role("button", name="Ask again").last.click()
    expect(page.locator(f"{ANSWERS} p").last).to_have_text("שלום עולם.")
    assert page.locator(f"{ANSWERS} p").last.evaluate("(p) => p.matches(':dir(rtl)')")
    # Too many letters are counted, and not sent.
    field = page.locator("#question-text")
    field.fill("x" * 2500)
    expect(page.locator("#question-count")).to_have_text("2500 of 2000: 500 too many")
    expect(page.locator("#ask")).to_be_disabled()
    page.keyboard.press("Enter")
    expect(field).to_have_value("x" * 2500)


def test_question_before_the_start_waits_for_the_picture(open_page, url, still_camera):
    page = open_page(url, still_camera)
    ask(page, "What colour is it?")
    expect(page.locator(ANSWERS)).not_to_be_empty()
    expect(page.locator("#chip")).to_contain_text("Frozen")
    # In a small window the newest answer is in view, though the panel was closed before.
    page.set_viewport_size({"width": 390, "height": 700})
    for number, question in enumerate(("How many are there?", "Where is it?"), 2):
        page.locator("#panel-close").click()
        expect(page.locator("#panel")).to_be_hidden()
        ask(page, question)
        expect(page.locator(ANSWERS)).to_have_count(number)
        expect(page.locator(ANSWERS).last).not_to_be_empty()
        expect(page.locator(ANSWERS).last).to_be_in_viewport(ratio=1)
