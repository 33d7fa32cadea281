// One row of the list of kept moments: a day, a gap, or a moment with its menu.

import { createElement, setAttribute, setProperty, setText } from "./dom.js";
import { pictureAddress } from "../io/timeline.js";
import { isRanked } from "../core/timeline-query.js";
import { stillOf } from "../core/view.js";
import { ONLY_WORDS, dayText, keptGapText, keptTexts, momentTime } from "../words/timeline.js";

const ACTIONS = {
  ...{ ask: "Ask", explain: "Explain", keep: "Keep ★", copy: "Copy", save: "Save picture" },
  ...{ alike: "Find alike", delete: "Delete" },
};
/** What needs the moment's picture. */
const OF_PICTURES = ["ask", "explain", "save", "alike"];

/** Returns the element of a row, without its texts. */
export function createRow(row) {
  const item = createElement("li", `timeline-row timeline-${row.type}`);
  item.dataset.key = row.key;
  if (row.type !== "moment") return item;
  const entry = createElement("button", "timeline-entry");
  entry.type = "button";
  const thumb = createElement("img", "timeline-thumb");
  thumb.alt = "";
  thumb.decoding = "async";
  const spans = ["time", "note", "question", "text"].map((name) =>
    createElement("span", `timeline-${name}`),
  );
  // New at each look.
  spans[0].translate = false;
  for (const span of spans.slice(2)) span.dir = "auto";
  entry.append(thumb, ...spans);
  const more = createElement("button", "button button-bare button-icon timeline-more", "⋯");
  more.type = "button";
  const menu = createElement("div", "timeline-menu");
  item.append(entry, more, menu, createElement("p", "timeline-only"));
  item.lastElementChild.setAttribute("role", "status");
  return item;
}

/** Shows a row: `shown` is { state, clock, isCurrent, isOpen, note }, the note of its menu. */
export function fillRow(element, row, shown) {
  if (row.type === "day") setText(element, dayText(row.clock, shown.clock));
  else if (row.type === "gap") setText(element, keptGapText(row.gap, row.isOver));
  else fillMoment(element, row, shown);
}

function fillMoment(element, { moment, position }, { state, isCurrent, isOpen, note: told }) {
  const { filter, chosen, list: page } = state.timeline;
  const [entry, more, menu, only] = element.children;
  const [thumb, time, note, question, text] = entry.children;
  const texts = keptTexts(state, moment, filter);
  const isChosen = chosen === moment.id;
  setText(time, momentTime(moment, isRanked(filter)));
  setText(note, texts.note);
  setText(question, texts.question);
  setText(text, moment.text.trim());
  if (thumb.dataset.moment !== String(moment.id)) {
    thumb.dataset.moment = moment.id;
    setProperty(thumb, "hidden", !moment.picture);
    if (moment.picture) thumb.src = pictureAddress(moment.id);
  }
  setAttribute(element, "aria-posinset", String(position));
  setAttribute(element, "aria-setsize", String(page.before === null ? page.moments.length : -1));
  setAttribute(element, "data-chosen", isChosen ? "" : null);
  const inView = stillOf(state)?.momentId === moment.id;
  setAttribute(element, "data-in-view", inView ? "" : null);
  setAttribute(entry, "aria-current", inView || isChosen ? "true" : null);
  setProperty(entry, "tabIndex", isCurrent ? 0 : -1);
  setProperty(more, "tabIndex", isCurrent ? 0 : -1);
  setAttribute(more, "aria-expanded", String(isOpen));
  setAttribute(more, "aria-label", `More about ${momentTime(moment, true)}`);
  setProperty(menu, "hidden", !isOpen);
  if (isOpen) fillMenu(menu, moment);
  setText(only, told || (isChosen && !moment.picture ? ONLY_WORDS : ""));
  setProperty(only, "hidden", only.textContent === "");
}

function fillMenu(menu, moment) {
  if (menu.children.length === 0) {
    for (const [action, label] of Object.entries(ACTIONS)) {
      const button = createElement("button", "button button-quiet", label);
      button.type = "button";
      button.dataset.action = action;
      menu.append(button);
    }
    menu.setAttribute("role", "group");
    menu.setAttribute("aria-label", "What to do with this moment");
  }
  for (const button of menu.children) {
    const { action } = button.dataset;
    setProperty(button, "hidden", OF_PICTURES.includes(action) && !moment.picture);
    if (action === "keep") setText(button, moment.kept ? "Keep no longer" : "Keep ★");
  }
}
