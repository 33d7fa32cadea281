// This session's captions, newest first, to read again, copy or clear. Nothing of them is stored.

import { createListeners, make, setProperty, setText } from "./dom.js";
import { clockTime, historyText } from "../words/page.js";

const SAID_MS = 4_000;

export function mountHistory(root, dispatch) {
  const list = root.querySelector(".history-list");
  const empty = root.querySelector(".history-empty");
  const copy = root.querySelector(".history-copy");
  const clear = root.querySelector(".history-clear");
  const said = root.querySelector(".history-said");
  const { listen, destroy } = createListeners();
  let history = null;
  let saidTimer;

  function say(text) {
    setText(said, text);
    clearTimeout(saidTimer);
    saidTimer = setTimeout(() => setText(said, ""), SAID_MS);
  }

  listen(copy, "click", async () => {
    try {
      await navigator.clipboard.writeText(historyText(history));
      say("Copied");
    } catch {
      say("The browser did not allow it: select the text and copy it");
    }
  });
  listen(clear, "click", () => {
    dispatch({ type: "history-cleared" });
    say("Cleared");
  });

  function render() {
    const items = new Map([...list.children].map((item) => [item.dataset.id, item]));
    const wanted = history.map((entry) => {
      const item = items.get(String(entry.id)) ?? entryItem(entry);
      setText(item.firstElementChild, when(entry));
      return item;
    });
    wanted.reverse();
    wanted.forEach((item, index) => {
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });
    while (list.children.length > wanted.length) list.lastElementChild.remove();
  }

  return {
    update(state) {
      if (state.history === history) return;
      history = state.history;
      render();
      const none = history.length === 0;
      setProperty(empty, "hidden", !none);
      setProperty(copy, "disabled", none);
      setProperty(clear, "disabled", none);
    },
    destroy() {
      clearTimeout(saidTimer);
      destroy();
    },
  };
}

function entryItem(entry) {
  const item = make("li", "history-entry");
  item.dataset.id = String(entry.id);
  item.append(make("span", "history-when"), make("span", "history-text", entry.text.trim()));
  return item;
}

function when({ clock, lastClock }) {
  const [from, to] = [clockTime(clock), clockTime(lastClock)];
  return from === to ? from : `${from} to ${to}`;
}
