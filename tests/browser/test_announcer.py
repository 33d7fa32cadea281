"""Captions, answers and messages each reach the live regions once, equal texts too."""

from __future__ import annotations

from playwright.sync_api import expect

from page_actions import NEXT_FRAME, press_start, start, told
from state_core import FAILED, STATUS

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


# Writes messages to the regions; returns which text each of them had after each of its changes.
WRITE = """
  document.body.innerHTML = '<p id="said"></p><p id="answer"></p><p id="news"></p>';
  const regions = { caption: said, answer, alert: answer, news };
  const changes = [];
  for (const one of [said, answer, news]) {
    new MutationObserver(() => changes.push([one.id, one.textContent]))
      .observe(one, { childList: true });
  }
  const writer = M.createRegions(regions);
  const task = () => new Promise((resolve) => setTimeout(resolve, 100));
"""


def test_each_message_comes_in_a_later_task_than_its_region_was_emptied(modules):
    body = """
      writer.write("answer", "Yes.");
      await task();
      writer.write("answer", "Yes.");
      writer.write("alert", "Gone.");
      await task();
      await task();
      writer.write("news", "Gone.");
      await task();
      await task();
      return changes;
    """
    changes = modules("ui/regions", WRITE + body)
    assert [text for name, text in changes if name == "answer"] == [
        *("Yes.", "", "Yes.\u00a0", "", "Gone.")
    ]
    assert [text for name, text in changes if name == "news"] == ["Gone.\u00a0"]


def test_equal_answers_are_told_twice_and_at_once(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    page.evaluate("""() => {
      window.heard = [];
      const note = () => answer.textContent && window.heard.push(answer.textContent.trim());
      new MutationObserver(note).observe(answer, { childList: true });
    }""")
    start(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    count = told(page, "answer").count()
    for asked in ("Is there a star?", "Is there a red triangle?", "Is there a red triangle?"):
        page.locator("#question-text").fill(asked)
        page.keyboard.press("Enter")
        count += 1
        while told(page, "answer").count() < count:
            page.clock.run_for(50)
            page.evaluate(NEXT_FRAME)
        # The answer is complete: it is in the region 100 ms later.
        page.clock.run_for(100)
        answer = told(page, "answer").first.text_content()
        assert page.evaluate("window.heard.at(-1)") == answer
    heard = page.evaluate("window.heard.slice(-3)")
    assert heard[1] == heard[2]
    gists = [text.split("?")[0] for text in heard]
    assert gists == ["Star", "Red triangle", "Red triangle"]
    page.clock.run_for(5_200)
    assert answer not in (page.locator("#answer").text_content() or "")


def test_start_and_stop_are_told_apart_from_captions(open_page, url, still_camera):
    page = open_page(url, still_camera)
    regions = page.locator("#said, #answer, #news")
    assert [region.text_content() for region in regions.all()] == ["", "", ""]
    start(page)
    expect(told(page, "news")).to_have_text(["The camera is on."])
    expect(told(page, "answer")).not_to_have_count(0)
    press_start(page)
    expect(told(page, "news").first).to_have_text(STOPPED)
