"""The page beside browser extensions that change its texts and follow its changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from page_actions import press_start, start, told

EXTENSIONS = (Path(__file__).parent / "extensions.js").read_text()

# Each extension with the delay in ms of its reaction to a change.
CASES = [
    ("translate", 100),
    ("translate", 1000),
    ("translateInPlace", 100),
    ("mark", 0),
    ("darken", 0),
]
STILL_MS = 10_000
# The session shows when a caption was last seen.
MAX_CHANGES = 20

COUNT_CHANGES = """() => {
  window.counted = { said: 0, caption: 0, extension: window.extensions.changes };
  for (const name of ["said", "caption"]) {
    new MutationObserver(() => { window.counted[name] += 1; }).observe(
      document.getElementById(name),
      { childList: true, characterData: true, subtree: true },
    );
  }
}"""
COUNTED = """() => {
  const { said, caption, extension } = window.counted;
  return [said, caption, window.extensions.changes - extension];
}"""


def translated(text: str) -> str:
    """Return what the translators of extensions.js make of `text`."""
    return re.sub(r"[^\W\d_]+", lambda word: f"{word[0]}en", text)


def begin_extension(page: Page, kind: str, delay_ms: int = 100) -> None:
    page.evaluate("([kind, delayMs]) => extensions.start(kind, delayMs)", [kind, delay_ms])


def test_page_and_extension_do_not_undo_each_other(open_page, url, still_camera):
    pages = []
    for kind, delay_ms in CASES:
        page = open_page(url, still_camera, init_script=EXTENSIONS)
        begin_extension(page, kind, delay_ms)
        start(page)
        expect(told(page)).not_to_have_count(0)
        pages.append(page)
    # A camera's first frame may differ from the next ones, and then there is a second caption.
    pages[-1].wait_for_timeout(3_000)
    for page in pages:
        page.evaluate(COUNT_CHANGES)
    pages[-1].wait_for_timeout(STILL_MS)
    for case, page in zip(CASES, pages, strict=True):
        said, caption, extension = page.evaluate(COUNTED)
        # A message is written, and removed after a while.
        assert said <= 4, case
        assert caption <= 2, case
        assert extension <= MAX_CHANGES, case


def test_translated_caption_is_one_text_and_is_announced_in_its_translation(
    open_page, url, still_camera
):
    page = open_page(url, still_camera, init_script=EXTENSIONS)
    begin_extension(page, "translate")
    page.evaluate("""() => {
      window.announced = [];
      const note = () => window.announced.push(answer.textContent);
      new MutationObserver(note).observe(answer, { childList: true, subtree: true });
    }""")
    text = "A red circle."
    done = {"text": text, "finish_reason": "stop", "stats": {}}
    events = f"event: done\ndata: {json.dumps(done)}\n\n"
    answer = {"body": events, "content_type": "text/event-stream"}
    page.route("**/api/captions", lambda route: route.fulfill(**answer))
    press_start(page)
    expect(page.locator("#caption")).to_have_text(translated(text))
    assert page.evaluate("caption.querySelectorAll('font > font').length") == 1
    page.wait_for_function("(text) => window.announced.includes(text)", arg=translated(text))
    assert text not in page.evaluate("window.announced")
    # The translator sets the document's language.
    assert page.locator("#caption").get_attribute("lang") is None


def test_captions_are_streamed_again_without_a_translator(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    badge = page.locator(".badge-text")
    expect(badge).to_contain_text("nano")
    text = badge.text_content()
    badge.evaluate("(badge) => { badge.textContent = 'nano auf CPU'; }")
    start(page)
    expect(page.locator("#caption > span")).to_have_count(1)
    badge.evaluate("(badge, text) => { badge.textContent = text; }", text)
    page.clock.fast_forward(12_000)
    expect(page.locator("#caption > span")).not_to_have_count(1)


def test_captions_and_announcer_and_history_have_their_language(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.evaluate("""() => {
      const note = () => { window.language = answer.firstElementChild?.lang ?? window.language; };
      new MutationObserver(note).observe(answer, { childList: true });
    }""")
    start(page)
    for place in ("#caption", ".history-text >> nth=0"):
        expect(page.locator(place)).to_have_attribute("lang", "en")
    page.wait_for_function("() => window.language === 'en'")


# by, model, setting, language
LANGUAGES = [
    ("model", "nano", "", "en"),
    ("model", "nano", "de", "en"),
    ("model", "smolvlm-256m", "", ""),
    ("model", "smolvlm-256m", "pt-BR", "pt-BR"),
    ("model", None, "de", "de"),
    ("finder", "smolvlm-256m", "de", "en"),
    ("reader", "smolvlm-256m", "de", ""),
    ("reader", "nano", "", ""),
]


def test_language_is_that_of_who_made_the_text(core):
    cases = [
        {"by": by, "model": model, "answerLanguage": setting} for by, model, setting, _ in LANGUAGES
    ]
    found = core.run("return arg.map(M.languageOf);", cases)
    assert found == [language for *_, language in LANGUAGES]


def test_only_language_tags_are_stored_as_a_language(core):
    body = "return arg.map((answerLanguage) => M.validSettings({ answerLanguage }).answerLanguage);"
    values = ["", "de", "pt-BR", "zh-Hant-TW", "German!", "x", 7, None, "de-"]
    assert core.run(body, values) == ["", "de", "pt-BR", "zh-Hant-TW", "", "", "", "", ""]
