// The history panel: this session's captions, newest first, to copy or clear. They are never stored.

import { createListeners, createElement, setLanguage, setProperty, setText } from "./dom.js";
import { entryNote } from "../words/boxes.js";
import { clockTime, historyText } from "../words/page.js";

const STATUS_MS = 4_000;

export function mountHistory(root, dispatch) {
  const list = root.querySelector(".history-list");
  const empty = root.querySelector(".history-empty");
  const copy = root.querySelector(".history-copy");
  const clear = root.querySelector(".history-clear");
  const status = root.querySelector(".history-status");
  const { listen, destroy } = createListeners();
  /** The shown entries, { item, time, text } by the entry's id. */
  const items = new Map();
  let history = null;
  let statusTimer;

  function showStatus(text) {
    setText(status, text);
    clearTimeout(statusTimer);
    statusTimer = setTimeout(() => setText(status, ""), STATUS_MS);
  }

  listen(copy, "click", async () => {
    try {
      await navigator.clipboard.writeText(historyText(history));
      showStatus("Copied");
    } catch {
      showStatus("The browser blocked copying. Select the text and copy it.");
    }
  });
  listen(clear, "click", () => {
    dispatch({ type: "history-cleared" });
    showStatus("Cleared");
  });

  function render() {
    const ids = new Set(history.map(({ id }) => id));
    for (const [id, { item }] of items) {
      if (ids.has(id)) continue;
      item.remove();
      items.delete(id);
    }
    for (const entry of history) {
      if (!items.has(entry.id)) add(entry);
      const { time, text } = items.get(entry.id);
      setText(time, timeSpan(entry));
      setLanguage(text, entry.lang);
    }
  }

  function add(entry) {
    const item = entryItem(entry);
    items.set(entry.id, {
      item,
      time: item.firstElementChild,
      text: item.lastElementChild,
    });
    list.prepend(item);
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
      clearTimeout(statusTimer);
      destroy();
    },
  };
}

function entryItem(entry) {
  const item = createElement("li", "history-entry");
  item.append(createElement("span", "history-time"));
  const note = entryNote(entry);
  if (note) item.append(createElement("span", "history-note", note));
  item.append(createElement("span", "history-text", entry.text.trim()));
  return item;
}

function timeSpan({ clock, lastClock }) {
  const [from, to] = [clockTime(clock), clockTime(lastClock)];
  return from === to ? from : `${from} to ${to}`;
}
