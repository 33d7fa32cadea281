"""Captions, answers and messages each reach the live regions once, equal texts too."""

from __future__ import annotations

from playwright.sync_api import expect

from page_actions import press_start, start
from state_core import FAILED, STATUS

# `say` announces a caption or a change; `announced` are the texts so far.
ANNOUNCE = """
  const announced = [];
  let last = M.NO_ANNOUNCEMENT;
  const say = (text, at, { finished = true, change = "", ...more } = {}) => {
    const next = M.nextAnnouncement(last, { text, finished, ...more }, change, at);
    if (next.count !== last.count) announced.push(next.text);
    last = next;
  };
  const GAP = M.ANNOUNCE_GAP_MS;
"""
# Dispatches the events of `arg`, 100 ms apart, and returns the messages.
MESSAGES = """
  let state = M.initialState({ settings: null, secure: true, visible: true, at: 0 });
  let last = M.NO_MESSAGE;
  const said = [];
  let at = 0;
  for (const [type, { after = 100, ...fields }] of arg) {
    at += after;
    const event = { type, at, random: 0.5, clock: at, attempt: state.camera.attempt, ...fields };
    if (type !== "tick") state = M.reduce(state, event);
    const next = M.nextMessage(last, state, at);
    if (next.count !== last.count) said.push(next.text);
    last = next;
  }
  return said;
"""
# The two live regions.
REGIONS = """
  document.body.innerHTML = '<p id="captions"></p><p id="messages"></p>';
"""


def announced(modules, body):
    return modules("ui/announcer", f"{ANNOUNCE}{body} return announced;")


def test_finished_captions_are_announced_with_pauses(modules):
    body = """
      say("A red", 0, { finished: false });
      say("A red circle.", 500);
      say("A red circle.", 60000);
      say("A blue star.", 61000);
      say("A green", 61500, { finished: false });
      say("A green ring.", 62000);
      say("A green ring.", 61000 + GAP);
      say("", 99000);
    """
    assert announced(modules, body) == ["A red circle.", "A blue star.", "A green ring."]


def test_model_change_is_announced_at_once_and_delays_captions(modules):
    body = """
      say("A red circle.", 0);
      say("A blue star.", 500, { change: "Fetching." });
      say("A blue star.", 600, { change: "Fetching." });
      say("A blue star.", 700);
      say("A blue star.", 500 + GAP);
      say("A blue star.", 60000, { change: "Fetched." });
      say("A blue star.", 120000);
    """
    assert announced(modules, body) == ["A red circle.", "Fetching.", "A blue star.", "Fetched."]


def test_each_answer_is_announced_once_and_at_once_also_if_it_equals_the_caption(modules):
    body = """
      say("Red.", 0, { id: 1 });
      say("Red.", 100, { id: 2, isAnswer: true });
      say("Red.", 200, { id: 2, isAnswer: true });
      say("Red.", 300, { id: 3 });
      say("Red.", 400, { id: 4, isAnswer: true });
      say("Blue.", 500, { id: 5 });
    """
    assert announced(modules, body) == ["Red.", "Red.", "Red."]


READY = ["status-received", {"status": STATUS}]
BROKEN = ["status-received", {"status": FAILED}]
DOWN = ["status-failed", {"message": "down"}]
START = ["started", {}]
STOP = ["stopped", {}]
LIVE = ["camera-opened", {"deviceId": "front"}]
OTHER = ["setting-changed", {"name": "deviceId", "value": "rear"}]
LOST = ["camera-failed", {"problem": "ended"}]
DENIED = ["camera-failed", {"problem": "denied"}]
AGAIN = ["retried", {}]
LATER = ["tick", {"after": 60_000}]
RUNNING = [READY, START, LIVE]
STOPPED = "Captions are stopped and the camera is off."
ON, BACK, GONE = "The camera is on.", "The camera is back.", "The camera was disconnected."
NO_SERVER, CONTINUE = "Sightline\u2019s server does not answer.", "Captions continue."
MESSAGES_OF = {
    "no start": ([READY, LATER], []),
    "start and stop": ([*RUNNING, LATER, STOP, LATER], [ON, STOPPED]),
    "start again": ([*RUNNING, STOP, START, LIVE], [ON, STOPPED, ON]),
    "camera lost and back": ([*RUNNING, LOST, LATER, AGAIN, LIVE, LATER], [ON, GONE, BACK]),
    "camera lost twice": ([*RUNNING, LOST, AGAIN, LIVE, LOST], [ON, GONE, BACK, GONE]),
    "camera lost, then stopped": ([*RUNNING, LOST, STOP, LATER], [ON, GONE, STOPPED]),
    "camera denied, then allowed": (
        [READY, START, DENIED, AGAIN, LIVE],
        ["Camera access was denied.", ON],
    ),
    "prompt": (
        [READY, START, ["tick", {"after": 900}], LIVE],
        ["Waiting for the camera.", ON],
    ),
    "another camera": ([*RUNNING, OTHER, LIVE], [ON, ON]),
    "server gone and back": ([*RUNNING, DOWN, LATER, READY, LATER], [ON, NO_SERVER, CONTINUE]),
    "server gone, then stopped": ([*RUNNING, DOWN, STOP, LATER], [ON, NO_SERVER, STOPPED]),
    "server gone twice in a second": (
        [*RUNNING, DOWN, READY, DOWN, READY],
        [ON, NO_SERVER, CONTINUE],
    ),
    "failed model": ([BROKEN, LATER], ["The model could not be loaded."]),
}


def test_each_event_has_one_message(core):
    for name, (events, expected) in MESSAGES_OF.items():
        said = core.run(MESSAGES, events)
        starts = [text[: len(want)] for text, want in zip(said, expected, strict=False)]
        assert (len(said), starts) == (len(expected), expected), (name, said)


def test_equal_text_is_written_as_another_one(modules):
    body = """
      const announcer = M.mountAnnouncer(captions, messages);
      let state = { ...M.initialState({ settings: null, secure: true, visible: true, at: 0 }) };
      state = { ...state, started: true };
      const texts = [];
      for (const [id, text] of [[1, "Red."], [2, "Red."], [3, "Red."], [4, "Blue."]]) {
        const caption = { ...state.caption, text, finished: true, id, isAnswer: true };
        announcer.update({ ...state, caption }, id);
        texts.push(captions.textContent);
      }
      return texts;
    """
    texts = modules("ui/announcer core/state", REGIONS + body)
    assert texts == ["Red.", "Red.\u00a0", "Red.", "Blue."]


def test_question_that_is_asked_again_is_announced_again(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.evaluate("""() => {
      window.announced = [];
      const note = () => window.announced.push(announcer.textContent.trim());
      new MutationObserver(note).observe(announcer, { childList: true });
    }""")
    start(page)
    expect(page.locator("#announcer")).not_to_be_empty()
    page.locator("#prompt").select_option("own")
    for asked in (2, 3):
        page.locator("#own-prompt").fill("What is this?")
        page.keyboard.press("Enter")
        page.wait_for_function("(count) => window.announced.length >= count", arg=asked)
    answers = page.evaluate("window.announced")
    assert answers[1] == answers[2]


def test_messages_and_captions_have_regions_of_their_own(open_page, url, still_camera):
    page = open_page(url, still_camera)
    regions = page.locator("#announcer, #messages")
    assert [region.text_content() for region in regions.all()] == ["", ""]
    start(page)
    expect(page.locator("#messages")).to_have_text("The camera is on.")
    expect(page.locator("#announcer")).not_to_be_empty()
    press_start(page)
    expect(page.locator("#messages")).to_contain_text("stopped")
