"""The caption over the video: words of one caption alone, and only those that differ change."""

from __future__ import annotations

from typing import Any

# A mounted overlay, `show(text, finished)` for it, and the changes it then made in the document.
OVERLAY = """
  document.body.innerHTML = `<div><p id="asked"></p><div id="root"><p class="overlay-text">
    <span id="caption"></span></p></div><button id="more"></button></div>`;
  const byId = (id) => document.getElementById(id);
  const [root, caption] = [byId("root"), byId("caption")];
  const overlay = M.mountOverlay(root, byId("asked"), byId("more"));
  let state = { ...M.initialState({ secure: true, visible: true, at: 0 }), request: {} };
  let changes = [];
  const watch = new MutationObserver((records) => changes.push(...records));
  const everything = { childList: true, attributes: true, characterData: true, subtree: true };
  watch.observe(document.body, everything);
  const show = (text, finished) => {
    state = M.withWhole(state, { ...state, caption: { ...state.caption, text, finished } });
    overlay.update(state, 0);
    changes.push(...watch.takeRecords());
    return [...caption.children].map((word) => word.textContent);
  };
  const stream = (text) => {
    for (let end = 1; end <= text.length; end += 1) show(text.slice(0, end), false);
    return show(text, true);
  };
"""


def overlay(modules, body, arg=None):
    return modules("ui/overlay core/state core/shown", OVERLAY + body, arg)


def test_same_caption_changes_nothing(modules):
    body = """
      stream(arg);
      changes = [];
      stream(arg);
      return changes.length;
    """
    assert overlay(modules, body, "A red circle and a blue square.") == 0


def test_elements_of_words_are_reused(modules):
    body = """
      stream("A red circle above a blue square.");
      const before = [...caption.children];
      stream("A red circle above a green star.");
      const after = [...caption.children];
      return after.map((word, index) => word === before[index]);
    """
    # Of the words from the first that differs, the elements may be new ones.
    assert overlay(modules, body)[:5] == [True] * 5


def test_only_changed_words_are_touched(modules):
    body = """
      stream("A red circle above a blue square.");
      changes = [];
      stream("A red circle above a green square.");
      const wordOf = ({ target, target: { parentElement } }) =>
        parentElement === caption ? target : parentElement;
      const touched = changes.map((change) => [...caption.children].indexOf(wordOf(change)));
      return touched.filter((at) => at >= 0);
    """
    assert set(overlay(modules, body)) <= {5, 6}


def test_old_caption_stays_until_the_new_one_differs(modules):
    body = """
      stream("A red circle above a blue square.");
      return [
        show("", false), show("A", false), show("A re", false), show("A gre", false),
        show("A green star", false), show("A green star", true),
      ];
    """
    old = ["A", " red", " circle", " above", " a", " blue", " square."]
    assert overlay(modules, body) == [
        *([old] * 3),
        ["A", " gre"],
        ["A", " green", " star"],
        ["A", " green", " star"],
    ]


def test_line_breaks_are_kept(modules):
    text = "Things:\n- a red star\n- a  blue square"
    body = "stream(arg); return caption.textContent;"
    assert overlay(modules, body, text) == text


def test_finished_caption_equals_the_servers_text(modules):
    body = """
      let seed = 7;
      const random = (below) => (seed = (seed * 16807) % 2147483647) % below;
      const words = ["a", "an", "the", "red", "reddish", "star", "看着", "🐻"];
      const wrong = [];
      for (let round = 0; round < 300; round += 1) {
        const text = Array.from({ length: random(9) }, () => words[random(words.length)]).join(" ");
        stream(text);
        if (caption.textContent !== text) wrong.push(text);
      }
      return wrong;
    """
    assert overlay(modules, body) == []


def test_caption_is_never_parsed_as_html(modules):
    body = "stream(arg); return [caption.textContent, document.querySelectorAll('img').length];"
    hostile = "<img src=x onerror=alert(1)> &amp; <b>bold</b>"
    assert overlay(modules, body, hostile) == [hostile, 0]


# Frames whose answers break off at random, in every way, among the events of a person.
BREAK_OFFS = """
  let seed = arg;
  const random = (below) => (seed = (seed * 16807) % 2147483647) % below;
  const pick = (list) => list[random(list.length)];
  const words = ["A", "red", "redder", "star", "and", "a", "blue", "square.", "\\n", "Yes."];
  const sentence = () => Array.from({ length: 1 + random(7) }, () => pick(words)).join(" ");
  const presets = [{ id: "a", label: "A", prompt: "A?" }];
  const status = { state: "ready", model: "nano", presets };
  let state = M.initialState({ secure: true, visible: true, at: 0 });
  let at = 0;
  const dispatch = (event) => {
    at += random(500);
    const now = { at, clock: at, random: 0.5, id: state.request?.id };
    state = M.reduce(state, { ...now, attempt: state.camera.attempt, ...event });
    const shown = M.shownCaption(state).text.trim();
    if (![...sent].some((text) => text.startsWith(shown))) wrong.push(shown);
  };
  const sent = new Set([""]);
  const wrong = [];
  dispatch({ type: "status-received", status });
  dispatch({ type: "started" });
  dispatch({ type: "camera-opened", deviceId: "front" });
  const ends = [
    (text) => dispatch({ type: "caption-done", text, stats: {} }),
    (text) => dispatch({ type: "caption-done", text, end: "length", stats: { tokens: 9 } }),
    () => dispatch({ type: "request-failed", kind: pick(M.KINDS), message: "No." }),
    () => dispatch({ type: "frame-refuted" }),
    () => dispatch({ type: "asked" }),
    () => dispatch({ type: "retried" }),
    () => dispatch({ type: "setting-changed", name: "ownPrompt", value: sentence() }),
    () => dispatch({ type: "setting-changed", name: "asksOwn", value: random(2) === 0 }),
    () => { dispatch({ type: "stopped" }); dispatch({ type: "started" }); },
    () => { dispatch({ type: "camera-failed", problem: "ended" }); dispatch({ type: "retried" }); },
    () => dispatch({ type: "visibility-changed", visible: random(2) === 0 }),
  ];
  for (let frame = 0; frame < 400; frame += 1) {
    const text = sentence();
    if (state.camera.phase !== "live") dispatch({ type: "camera-opened", deviceId: "front" });
    if (state.server.phase !== "ready") dispatch({ type: "status-received", status });
    dispatch({ type: "capture-started" });
    dispatch({ type: "frame-sent" });
    if (state.request === null) continue;
    sent.add(text.trim());
    const until = random(text.length + 1);
    for (let end = 1; end <= until; end += 1 + random(4)) {
      dispatch({ type: "text-received", text: text.slice(0, end) });
    }
    pick(ends)(text);
  }
  return { wrong, frames: sent.size };
"""


def test_words_on_the_screen_are_always_the_beginning_of_something_the_server_sent(modules):
    kinds = "M.KINDS = ['unreachable', 'busy', 'upstream', 'refused', 'superseded', 'timeout'];"
    for seed in range(1, 9):
        found: dict[str, Any] = modules("core/state core/shown", f"{kinds}{BREAK_OFFS}", seed)
        assert found["wrong"] == []
        assert found["frames"] > 100
