// The session's panel: this tab's moments with their questions and the gaps between them, newest first;
// copied, saved, cleared and brought back.

import {
  createElement,
  createListeners,
  setLanguage,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { canUndo, entriesOf, isMoment, openGapOf } from "../core/session.js";
import { saveFile } from "../io/files.js";
import { gapText, goneText, keepingText, momentTexts, timesText } from "../words/session.js";
import { FILES, fileName, videoOf } from "../words/session-files.js";

const STATUS_MS = 4_000;
/** Entries shown at first, and how many more at a press. */
const PAGE = 200;
/** Farther from the newest entry than this, a person reads older ones. */
const SCROLLED_PX = 8;

export function mountHistory(root, dispatch) {
  const find = (name) => root.querySelector(`.history-${name}`);
  const [body, list] = [find("body"), find("list")];
  const [news, open, more, gone] = [find("new"), find("open"), find("more"), find("gone")];
  const [format, copy, save] = [find("format"), find("copy"), find("save")];
  const [clear, undo, status] = [find("clear"), find("undo"), find("status")];
  const keeping = find("keeping");
  const { listen, destroy } = createListeners();
  /** The shown entries, { item, time, text } by the entry's id. */
  const items = new Map();
  let entries = [];
  let session = null;
  let limit = PAGE;
  let unread = 0;
  let statusTimer;

  /** Subtitles for a video are there once one was captioned. */
  function showFormats() {
    const names = Object.keys(FILES).filter((name) => name !== "video.srt" || videoOf(entries));
    setOptions(
      format,
      names.map((value) => ({ value, label: FILES[value].label })),
    );
  }

  function showStatus(text) {
    setText(status, text);
    clearTimeout(statusTimer);
    statusTimer = setTimeout(() => setText(status, ""), STATUS_MS);
  }

  listen(copy, "click", async () => {
    try {
      await navigator.clipboard.writeText(FILES[format.value].write(entries));
      showStatus("Copied");
    } catch {
      showStatus("The browser blocked copying. Save it, or select the text and copy it.");
    }
  });
  listen(save, "click", () => {
    const { type, write } = FILES[format.value];
    saveFile(fileName(format.value, Date.now()), type, write(entries));
    showStatus("Saved");
  });
  listen(clear, "click", () => {
    const hadFocus = clear === document.activeElement;
    dispatch({ type: "history-cleared" });
    showStatus("Cleared");
    if (hadFocus) undo.focus();
  });
  listen(undo, "click", () => {
    dispatch({ type: "history-restored" });
    showStatus("Back again");
    clear.focus();
  });
  listen(more, "click", () => {
    limit += PAGE;
    render();
  });
  listen(news, "click", () => {
    body.scrollTop = 0;
    body.focus();
  });
  listen(body, "scroll", () => {
    if (body.scrollTop <= SCROLLED_PX) showUnread(0);
  });

  function showUnread(count) {
    unread = count;
    setProperty(news, "hidden", unread === 0);
    setText(news, `${unread} new`);
  }

  function render() {
    const shown = entries.slice(-limit);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, { item }] of items) {
      if (ids.has(id)) continue;
      item.remove();
      items.delete(id);
    }
    let older = null;
    let source = "";
    let added = 0;
    for (const entry of shown) {
      if (!items.has(entry.id)) {
        const isOther = isMoment(entry) && entry.source !== source;
        items.set(entry.id, entryItem(entry, isOther));
        list.insertBefore(items.get(entry.id).item, older);
        added += isMoment(entry) ? 1 : 0;
      }
      const { item, time, text } = items.get(entry.id);
      setText(time, isMoment(entry) ? timesText(entry) : gapText(entry));
      if (isMoment(entry)) source = entry.source;
      if (text) setLanguage(text, entry.lang);
      older = item;
    }
    setProperty(more, "hidden", entries.length <= limit);
    return added;
  }

  function show(next) {
    const { gone: goneBefore = 0 } = session ?? {};
    session = next;
    entries = entriesOf(session);
    const added = render();
    showUnread(body.scrollTop > SCROLLED_PX ? unread + added : 0);
    const gap = openGapOf(session);
    setProperty(open, "hidden", gap === null);
    setText(open, gap ? gapText(gap) : "");
    if (session.gone !== goneBefore) setText(gone, goneText(session.gone));
    showFormats();
    const none = entries.length === 0;
    for (const control of [copy, save, clear]) setProperty(control, "disabled", none);
  }

  return {
    update(state, at) {
      if (state.session !== session) show(state.session);
      setText(keeping, keepingText(state));
      const isLosing = undo === document.activeElement && !canUndo(session, at);
      setProperty(undo, "hidden", !canUndo(session, at));
      if (isLosing) body.focus();
    },
    destroy() {
      clearTimeout(statusTimer);
      destroy();
    },
  };
}

/** `isOther`: it is of another source than the moment before it. */
function entryItem(entry, isOther) {
  const time = createElement("span", "history-time");
  if (!isMoment(entry)) {
    const gap = createElement("li", "history-gap");
    gap.append(time);
    return { item: gap, time, text: null };
  }
  const item = createElement("li", "history-entry");
  // Without words, and new at each look.
  time.translate = false;
  item.append(time);
  if (isOther && entry.source) item.append(createElement("span", "history-source", entry.source));
  const { question, note } = momentTexts(entry);
  if (note) item.append(createElement("span", "history-note", note));
  if (question) {
    item.append(createElement("span", "history-question", question));
    item.lastElementChild.dir = "auto";
  }
  const text = createElement("span", "history-text", entry.text.trim());
  text.dir = "auto";
  item.append(text);
  return { item, time, text };
}
