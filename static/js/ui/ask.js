// The panel of questions about the still in view: the thread, and what is asked about.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setLanguage,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { longerThan } from "../core/length.js";
import { presetsOf } from "../core/prompt.js";
import { isMirrored } from "../core/source.js";
import { stillOf } from "../core/view.js";
import { aboutText, regionText, stillName, turnTexts } from "../words/ask.js";
import { showBlocks } from "./blocks.js";

// A thread that is scrolled no further from its end follows new words.
const NEAR_END_PX = 40;

/** `choosePart` begins the choice of a part of the picture. */
export function mountAsk(root, dispatch, choosePart) {
  const find = (selector) => root.querySelector(selector);
  const [body, thread] = [find(".panel-body"), find(".ask-thread")];
  const [thumb, about, partText] = [find(".ask-thumb"), find(".ask-about"), find(".ask-part")];
  const [part, fine, compare] = [find("#part"), find("#fine"), find("#compare")];
  const { listen, destroy } = createListeners();
  const chips = createItems(find(".ask-chips"), () => {
    const chip = createElement("button", "button button-quiet ask-chip");
    chip.type = "button";
    return chip;
  });
  const rows = createItems(thread, turnRow);
  let shown = { still: null, presets: [], length: "medium" };
  let url = null;
  let isAtEnd = true;

  listen(find(".ask-chips"), "click", ({ target }) => {
    const index = chips(shown.presets.length).indexOf(target.closest("button"));
    if (index >= 0) ask(shown.presets[index].prompt);
  });
  listen(part, "click", () => {
    if (shown.still?.part) dispatch({ type: "part-chosen", region: null });
    else choosePart();
  });
  listen(fine, "click", () => {
    dispatch({ type: "detail-chosen", detail: shown.still.detail === "high" ? "low" : "high" });
  });
  listen(compare, "change", () => {
    const other = Number(compare.value);
    if (other) dispatch({ type: "compared", about: other });
    compare.value = "";
  });
  listen(body, "scroll", () => {
    isAtEnd = body.scrollHeight - body.scrollTop - body.clientHeight < NEAR_END_PX;
  });
  listen(thread, "click", ({ target }) => {
    const button = target.closest("button");
    const row = button?.closest(".turn");
    if (!row) return;
    const turnId = Number(row.dataset.turn);
    const { action } = button.dataset;
    if (action === "stop") dispatch({ type: "turn-stopped", turnId });
    if (action === "again") dispatch({ type: "turn-asked-again", turnId });
    if (action === "longer") {
      const value = longerThan(shown.length) ?? shown.length;
      dispatch({ type: "setting-changed", name: "length", value });
      dispatch({ type: "turn-asked-again", turnId });
    }
    if (action === "copy") copy(button, row);
  });

  async function copy(button, row) {
    try {
      await navigator.clipboard.writeText(row.querySelector(".turn-answer").textContent);
      setText(button, "Copied");
    } catch {
      setText(button, "Not copied");
    }
  }

  function ask(prompt) {
    dispatch({ type: "question-asked", question: { prompt } });
  }

  function showThumb(still) {
    if (url) URL.revokeObjectURL(url);
    url = still ? URL.createObjectURL(still.picture) : null;
    setProperty(thumb, "hidden", still === null);
    if (url) thumb.src = url;
    else thumb.removeAttribute("src");
  }

  function showTurn(row, state, still, turn) {
    const texts = turnTexts(state, still, turn);
    const [question, where, answer, note, buttons] = row.children;
    row.dataset.turn = turn.id;
    setText(question, texts.question);
    setText(where, texts.about);
    if (setAnswer(answer, texts)) setLanguage(answer, turn.lang ?? "");
    setText(note, texts.note);
    const [stop, again, longer, copied] = buttons.children;
    setProperty(stop, "hidden", !texts.isOpen);
    setProperty(again, "hidden", texts.isOpen);
    setProperty(
      longer,
      "hidden",
      turn.cut?.by !== "limit" || longerThan(state.settings.length) === null,
    );
    setProperty(copied, "hidden", texts.isOpen || !texts.answer);
  }

  return {
    update(state) {
      const still = stillOf(state);
      const presets = presetsOf(state);
      if (still?.picture !== shown.still?.picture) showThumb(still);
      const turns = still?.thread ?? [];
      const isNew = turns.length > (shown.still?.thread.length ?? 0);
      isAtEnd ||= isNew;
      shown = { still, presets, length: state.settings.length };
      setText(about, aboutText(still));
      rows(turns.length).forEach((row, index) => showTurn(row, state, still, turns[index]));
      // At each update, since an answer grows, and a panel that is not open yet cannot scroll.
      if (isAtEnd && state.panel === "ask") body.scrollTop = body.scrollHeight;
      chips(presets.length).forEach((chip, index) => setText(chip, presets[index].label));
      for (const tool of [part, fine, compare]) setProperty(tool, "disabled", still === null);
      setAttribute(part, "aria-pressed", String(Boolean(still?.part)));
      setAttribute(fine, "aria-pressed", String(still?.detail === "high"));
      const region = still?.part ? regionText(still.part, isMirrored(state)) : "";
      setText(partText, region ? `The next question is about a part: ${region}.` : "");
      const others = state.stills.filter(({ id }) => id !== still?.id);
      setProperty(compare, "hidden", others.length === 0);
      setOptions(compare, [
        { value: "", label: "Compare with …" },
        ...others.map((other) => ({ value: String(other.id), label: stillName(other) })),
      ]);
    },
    destroy() {
      if (url) URL.revokeObjectURL(url);
      destroy();
    },
  };
}

const answers = new WeakMap();

/** Shows an answer, and what differs from the `other` one; returns whether that is new. */
function setAnswer(element, { answer: text, other, doubts }) {
  const key = JSON.stringify([text, other, doubts]);
  if (answers.get(element) === key) return false;
  answers.set(element, key);
  showBlocks(element, text, other, doubts);
  return true;
}

function turnRow() {
  const row = createElement("li", "turn");
  row.append(
    createElement("p", "turn-question"),
    createElement("p", "turn-about"),
    createElement("div", "turn-answer"),
    createElement("p", "turn-note"),
    createElement("div", "turn-buttons"),
  );
  row.firstElementChild.dir = "auto";
  const actions = { stop: "Stop", again: "Ask again", longer: "Longer", copy: "Copy" };
  for (const [action, label] of Object.entries(actions)) {
    const button = createElement("button", "button button-quiet turn-button", label);
    button.type = "button";
    button.dataset.action = action;
    row.lastElementChild.append(button);
  }
  return row;
}
