"""The caption over the picture: words that are already there are left alone."""

from __future__ import annotations

# A mounted overlay, `tell(text, finished)` to it, and what it then changed in the page.
OVERLAY = """
  document.body.innerHTML =
    '<div><div id="root"><p class="overlay-text"><span id="caption"></span></p></div></div>';
  const root = document.querySelector("#root");
  const caption = document.querySelector("#caption");
  const overlay = M.mountOverlay(root);
  const settings = M.lawfulSettings(null);
  let changes = [];
  const watch = new MutationObserver((records) => changes.push(...records));
  const everything = { childList: true, attributes: true, characterData: true, subtree: true };
  watch.observe(document.body, everything);
  const tell = (text, finished) => {
    overlay.update({ caption: { text, finished }, settings, server: { phase: "ready" } });
    changes.push(...watch.takeRecords());
    const isStale = (word) => word.dataset.stale === "";
    return [...caption.children].map((word) => word.textContent + (isStale(word) ? "~" : ""));
  };
  const stream = (text) => {
    for (let end = 1; end <= text.length; end += 1) tell(text.slice(0, end), false);
    return tell(text, true);
  };
"""


def overlay(modules, body, arg=None):
    return modules("ui/overlay core/settings", OVERLAY + body, arg)


def test_the_same_caption_again_touches_nothing(modules):
    body = """
      stream(arg);
      changes = [];
      stream(arg);
      return changes.length;
    """
    assert overlay(modules, body, "A red circle and a blue square.") == 0


def test_words_stay_put_when_only_the_end_changes(modules):
    body = """
      stream("A red circle above a blue square.");
      const before = [...caption.children];
      stream("A red circle above a green star.");
      const after = [...caption.children];
      return after.map((word, index) => word === before[index]);
    """
    assert overlay(modules, body) == [True] * 7


def test_only_the_changed_words_are_touched(modules):
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


def test_the_old_caption_is_replaced_word_by_word_and_never_blanked(modules):
    body = """
      stream("A red circle above a blue square.");
      return [
        tell("", false), tell("A", false), tell("A gre", false), tell("A green star", false),
        tell("A green star", true),
      ];
    """
    assert overlay(modules, body) == [
        ["A", " red", " circle", " above", " a", " blue", " square."],
        ["A", " red", " circle", " above", " a", " blue", " square."],
        ["A", " gre", " circle~", " above~", " a~", " blue~", " square.~"],
        ["A", " green", " star", " above~", " a~", " blue~", " square.~"],
        ["A", " green", " star"],
    ]


def test_a_finished_caption_reads_exactly_as_the_server_gave_it(modules):
    body = """
      let seed = 7;
      const random = (below) => (seed = (seed * 16807) % 2147483647) % below;
      const words = ["a", "an", "the", "red", "reddish", "star", "看着", "🐻"];
      const wrong = [];
      for (let round = 0; round < 300; round += 1) {
        const text = Array.from({ length: random(9) }, () => words[random(words.length)]).join(" ");
        stream(text);
        if (caption.textContent !== text || caption.querySelector("[data-stale]")) wrong.push(text);
      }
      return wrong;
    """
    assert overlay(modules, body) == []


def test_a_caption_is_text_whatever_it_says(modules):
    body = "stream(arg); return [caption.textContent, document.querySelectorAll('img').length];"
    hostile = "<img src=x onerror=alert(1)> &amp; <b>bold</b>"
    assert overlay(modules, body, hostile) == [hostile, 0]


def test_screen_readers_hear_finished_captions_with_time_between_them(modules):
    body = """
      const heard = [];
      let last = M.silence;
      const hear = (text, finished, at, news = "") => {
        const next = M.nextAnnouncement(last, { text, finished }, news, at);
        if (next.text !== last.text) heard.push(next.text);
        last = next;
      };
      hear("A red", false, 0);
      hear("A red circle.", true, 500);
      hear("A red circle.", true, 60000);
      hear("A blue star.", true, 61000);
      hear("A green", false, 61500);
      hear("A green ring.", true, 62000);
      hear("A green ring.", true, 62000 + M.ANNOUNCE_GAP_MS);
      hear("", true, 99000);
      return heard;
    """
    assert modules("ui/announcer", body) == ["A red circle.", "A blue star.", "A green ring."]


def test_news_is_heard_at_once_and_captions_then_wait_their_turn(modules):
    body = """
      const heard = [];
      let last = M.silence;
      const hear = (text, news, at) => {
        const next = M.nextAnnouncement(last, { text, finished: true }, news, at);
        if (next.text !== last.text) heard.push(next.text);
        last = next;
      };
      hear("A red circle.", "", 0);
      hear("A blue star.", "Fetching.", 500);
      hear("A blue star.", "Fetching.", 600);
      hear("A blue star.", "", 700);
      hear("A blue star.", "", 500 + M.ANNOUNCE_GAP_MS);
      hear("A blue star.", "Fetched.", 60000);
      hear("A blue star.", "", 120000);
      return heard;
    """
    heard = ["A red circle.", "Fetching.", "A blue star.", "Fetched."]
    assert modules("ui/announcer", body) == heard
