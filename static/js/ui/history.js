// The history panel: this session's captions, newest first, to copy or clear. They are never stored.

import { createListeners, createElement, setProperty, setText } from "./dom.js";
import { clockTime, historyText } from "../words/page.js";

const STATUS_MS = 4_000;

export function mountHistory(root, dispatch) {
  const list = root.querySelector(".history-list");
  const empty = root.querySelector(".history-empty");
  const copy = root.querySelector(".history-copy");
  const clear = root.querySelector(".history-clear");
  const status = root.querySelector(".history-status");
  const { listen, destroy } = createListeners();
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
    const items = new Map([...list.children].map((item) => [item.dataset.id, item]));
    const rendered = history.map((entry) => {
      const item = items.get(String(entry.id)) ?? entryItem(entry);
      setText(item.firstElementChild, timeSpan(entry));
      return item;
    });
    rendered.reverse();
    rendered.forEach((item, index) => {
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });
    while (list.children.length > rendered.length) list.lastElementChild.remove();
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
  item.dataset.id = String(entry.id);
  item.append(
    createElement("span", "history-time"),
    createElement("span", "history-text", entry.text.trim()),
  );
  return item;
}

function timeSpan({ clock, lastClock }) {
  const [from, to] = [clockTime(clock), clockTime(lastClock)];
  return from === to ? from : `${from} to ${to}`;
}
