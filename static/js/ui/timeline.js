// What the server keeps, in the Timeline tab: search, filters, the strip of a day, questions, and the list.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { mountTimelineFoot } from "./timeline-foot.js";
import { mountTimelineList } from "./timeline-list.js";
import { hasKept, showsKept } from "../core/timeline.js";
import { isQuestion } from "../core/timeline-query.js";
import { nextBusy, slotOf, stripOf } from "../core/timeline-strip.js";
import {
  RANGES,
  answerNote,
  countText,
  emptyText,
  faultText,
  narrowedText,
  shortDay,
  shortTime,
  slotText,
} from "../words/timeline.js";

/** While a person types, nothing is looked for. */
const TYPING_MS = 150;
/** A count is told once it has stayed. */
const COUNT_MS = 1_000;

export function mountTimeline(root, dispatch) {
  const find = (selector) => root.querySelector(selector);
  const [kept, fault, view] = [".timeline", ".timeline-fault", ".timeline-view"].map(find);
  const [form, words, chips] = [".timeline-find", "#timeline-words", ".timeline-chips"].map(find);
  const [days, dayName, strip] = [".timeline-days", ".timeline-day-name", ".timeline-strip"].map(
    find,
  );
  const [answer, narrowed, count] = [
    ".timeline-answer",
    ".timeline-narrowed",
    ".timeline-count",
  ].map(find);
  const [empty, toggles] = [".timeline-empty", ".timeline-toggles"].map(find);
  const [range, source] = ["range", "source"].map((name) => chips.querySelector(`[name=${name}]`));
  const sentences = createItems(find(".timeline-sentences"), sentenceRow);
  const bars = createItems(strip, stripBar);
  const list = mountTimelineList(kept, dispatch);
  const foot = mountTimelineFoot(root, dispatch);
  const { listen, destroy } = createListeners();
  let state = null;
  let slots = [];
  let slot = 0;
  let typing;
  let counting;
  let counted = "";
  let shownStrip = null;
  let answerId = null;

  const filtered = (changes) => dispatch({ type: "timeline-filtered", changes });
  const search = () => filtered({ words: words.value });
  setOptions(
    range,
    Object.entries(RANGES).map(([value, label]) => ({ value, label })),
  );

  listen(view, "click", () => {
    dispatch({ type: "timeline-view-chosen", view: showsKept(state) ? "tab" : "kept" });
  });
  listen(words, "input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING_MS);
  });
  listen(words, "keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      clearTimeout(typing);
      if (isQuestion(words.value)) ask();
      else search();
    }
    if (event.key === "ArrowDown" && list.focus()) event.preventDefault();
  });
  listen(form, "submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    ask();
  });
  function ask() {
    const question = words.value.trim();
    if (!question) {
      words.focus();
      return;
    }
    // The list below the answer has the moments for its words.
    search();
    dispatch({ type: "timeline-asked", question });
  }
  listen(toggles, "click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    const { filter } = state.timeline;
    const { kind } = button.dataset;
    if (kind) filtered({ kind: filter.kind === kind ? "" : kind });
    else filtered({ kept: !filter.kept });
  });
  listen(range, "change", () => filtered({ range: range.value }));
  listen(source, "change", () => filtered({ source: source.value }));
  listen(days, "change", ({ target }) => filtered({ [target.name]: target.value }));

  listen(find(".timeline-day"), "click", ({ target }) => {
    const { step } = target.closest("button")?.dataset ?? {};
    const { day } = state.timeline.strip;
    clearTimeout(typing);
    if (step && day) dispatch({ type: "timeline-day-stepped", step: Number(step) });
  });
  const jump = (to) => {
    if (!(to in slots)) return;
    // A jump forgets the words, also those that are still being typed.
    clearTimeout(typing);
    slot = to;
    dispatch({ type: "timeline-jumped", until: slots[to].to });
  };
  listen(strip, "click", (event) => {
    const { left, width } = strip.getBoundingClientRect();
    jump(Math.min(slots.length - 1, Math.floor(((event.clientX - left) / width) * slots.length)));
    strip.focus();
  });
  listen(strip, "keydown", (event) => {
    const to = {
      ...{ ArrowLeft: slot - 1, ArrowRight: slot + 1, ArrowDown: slot - 1, ArrowUp: slot + 1 },
      ...{ Home: 0, End: slots.length - 1 },
      ...{ PageDown: nextBusy(slots, slot, -1), PageUp: nextBusy(slots, slot, 1) },
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    jump(Math.max(0, Math.min(slots.length - 1, to)));
  });

  listen(answer.querySelector("button"), "click", () => {
    dispatch({ type: "timeline-answer-closed" });
    words.focus();
  });
  listen(answer, "click", ({ target }) => {
    const id = Number(target.closest("[data-moment]")?.dataset.moment);
    const moment = state.timeline.answer?.moments.find((one) => one.id === id);
    if (!moment) return;
    dispatch({ type: "timeline-found", moment });
    dispatch({ type: "moment-chosen", moment });
  });
  listen(narrowed.querySelector("button"), "click", () => {
    clearTimeout(typing);
    dispatch({ type: "timeline-jumped", until: null });
    words.focus();
  });

  function showStrip({ timeline: { strip: shown, filter } }, now) {
    if (!shown.day) return;
    const key = `${Math.floor(now / 60)} ${filter.until}`;
    if (shownStrip?.strip === shown && shownStrip.key === key) return;
    shownStrip = { strip: shown, key };
    slots = stripOf(shown, now);
    slot = slotOf(slots, filter.until === null ? now : filter.until - 1);
    setText(dayName, shortDay(shown.day.from * 1000, now * 1000));
    const isJump = filter.until !== null && filter.until > slots[0].from;
    const isHere = isJump && filter.until <= slots.at(-1).to;
    setAttribute(strip, "aria-valuemax", String(slots.length - 1));
    setAttribute(strip, "aria-valuenow", String(slot));
    setAttribute(strip, "aria-valuetext", slotText(slots[slot]));
    bars(slots.length).forEach((bar, index) => {
      const one = slots[index];
      bar.firstElementChild.style.height = `${Math.round(one.height * 100)}%`;
      setAttribute(bar, "data-gap", one.isGap ? "" : null);
      setAttribute(bar, "data-chosen", index === slot && isHere ? "" : null);
      setAttribute(bar, "title", slotText(one));
    });
  }

  function showAnswer({ timeline }) {
    const { answer: shown } = timeline;
    setProperty(answer, "hidden", shown === null);
    const isNew = shown !== null && shown.id !== answerId;
    answerId = shown?.id ?? null;
    if (!shown) return;
    const [question, , note] = answer.children;
    setText(question, shown.question);
    setText(note, answerNote(state, shown));
    const parts =
      shown.step === "done" ? shown.sentences : [{ text: shown.text.trim(), moments: [] }];
    sentences(parts.length).forEach((row, index) => {
      const { text, moments } = parts[index];
      setText(row.firstElementChild, text);
      const found = moments.map((id) => shown.moments.find((one) => one.id === id)).filter(Boolean);
      row.links(found.length).forEach((link, at) => {
        link.dataset.moment = found[at].id;
        const time = shortTime(found[at].from * 1000);
        setText(link, time);
        setAttribute(link, "aria-label", `Show the moment of ${time}`);
      });
    });
    if (isNew) answer.scrollIntoView({ block: "center" });
  }

  /** A count that stays is told; while a person types it changes too often. */
  function showCount() {
    const text = countText(state);
    if (text === counted) return;
    counted = text;
    clearTimeout(counting);
    counting = setTimeout(() => setText(count, text), COUNT_MS);
  }

  function showChips({ timeline: { filter, sources, strip: shown } }) {
    setProperty(range, "value", filter.range);
    setProperty(days, "hidden", filter.range !== "days");
    const names = [...new Set([...sources, filter.source].filter(Boolean))].sort();
    setOptions(source, [
      { value: "", label: "Every source" },
      ...names.map((value) => ({ value, label: value })),
    ]);
    setProperty(source, "value", filter.source);
    setProperty(source, "hidden", names.length < 2 && filter.source === "");
    for (const button of toggles.querySelectorAll("[data-kind]")) {
      setAttribute(button, "aria-pressed", String(filter.kind === button.dataset.kind));
    }
    const hasAlerts = shown.halfHours.some(({ alerts }) => alerts > 0);
    setProperty(
      toggles.querySelector("[data-kind=alert]"),
      "hidden",
      !hasAlerts && filter.kind !== "alert",
    );
    setAttribute(toggles.querySelector("[data-kept]"), "aria-pressed", String(filter.kept));
    const isOwn = words === document.activeElement;
    if (!isOwn && words.value.trim() !== filter.words.trim()) words.value = filter.words;
  }

  return {
    update(next, at) {
      state = next;
      if (state.panel !== "history") return;
      const shows = showsKept(state);
      const isBoth = hasKept(state) && state.server.status?.can_change_models === true;
      setText(fault, faultText(state));
      setProperty(view, "hidden", !isBoth);
      setText(view, shows ? "This tab" : "All that is kept");
      setProperty(kept, "hidden", !shows);
      for (const one of [".history-body", ".history-foot"]) setProperty(find(one), "hidden", shows);
      foot.update(state, at);
      if (!shows) return;
      showChips(state);
      showStrip(state, Date.now() / 1000);
      showAnswer(state);
      const { filter } = state.timeline;
      const narrows = narrowedText(state.timeline);
      setProperty(narrowed, "hidden", !narrows);
      setText(narrowed.firstElementChild, narrows);
      setText(empty, emptyText(state));
      showCount();
      setProperty(empty, "hidden", empty.textContent === "");
      list.update(state, filter);
    },
    destroy() {
      clearTimeout(typing);
      clearTimeout(counting);
      list.destroy();
      foot.destroy();
      destroy();
    },
  };
}

function stripBar() {
  const bar = createElement("span", "timeline-slot");
  bar.append(createElement("span", "timeline-bar"));
  return bar;
}

/** A sentence of an answer, and buttons to the moments that it is from. */
function sentenceRow() {
  const row = createElement("p", "timeline-sentence");
  row.append(createElement("span", ""), createElement("span", "timeline-links"));
  row.firstElementChild.dir = "auto";
  row.links = createItems(row.lastElementChild, () => {
    const link = createElement("button", "button button-quiet timeline-link");
    link.type = "button";
    return link;
  });
  return row;
}
