"""The caption over the video changes only the words that differ."""

from __future__ import annotations

# A mounted overlay, `show(text, finished)` for it, and the changes it then made in the document.
OVERLAY = """
  document.body.innerHTML =
    '<div><div id="root"><p class="overlay-text"><span id="caption"></span></p></div></div>';
  const root = document.querySelector("#root");
  const caption = document.querySelector("#caption");
  const overlay = M.mountOverlay(root);
  const settings = M.validSettings(null);
  let changes = [];
  const watch = new MutationObserver((records) => changes.push(...records));
  const everything = { childList: true, attributes: true, characterData: true, subtree: true };
  watch.observe(document.body, everything);
  const show = (text, finished) => {
    overlay.update({ caption: { text, finished }, settings, server: { phase: "ready" } });
    changes.push(...watch.takeRecords());
    const isStale = (word) => word.dataset.stale === "";
    return [...caption.children].map((word) => word.textContent + (isStale(word) ? "~" : ""));
  };
  const stream = (text) => {
    for (let end = 1; end <= text.length; end += 1) show(text.slice(0, end), false);
    return show(text, true);
  };
"""


def overlay(modules, body, arg=None):
    return modules("ui/overlay core/settings", OVERLAY + body, arg)


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
    assert overlay(modules, body) == [True] * 7


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


def test_old_caption_is_replaced_word_by_word(modules):
    body = """
      stream("A red circle above a blue square.");
      return [
        show("", false), show("A", false), show("A gre", false), show("A green star", false),
        show("A green star", true),
      ];
    """
    assert overlay(modules, body) == [
        ["A", " red", " circle", " above", " a", " blue", " square."],
        ["A", " red", " circle", " above", " a", " blue", " square."],
        ["A", " gre", " circle~", " above~", " a~", " blue~", " square.~"],
        ["A", " green", " star", " above~", " a~", " blue~", " square.~"],
        ["A", " green", " star"],
    ]


def test_finished_caption_equals_the_servers_text(modules):
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


def test_caption_is_never_parsed_as_html(modules):
    body = "stream(arg); return [caption.textContent, document.querySelectorAll('img').length];"
    hostile = "<img src=x onerror=alert(1)> &amp; <b>bold</b>"
    assert overlay(modules, body, hostile) == [hostile, 0]
