// The words of the answer in view as a toolbar: one is chosen, its heat lies over the picture (heat.js), and the
// answer can go on from another word in its place.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setLanguage,
  setProperty,
  setText,
} from "./dom.js";
import { answerOf, explainedTurn, heatInView, wordsInView } from "../core/explained.js";
import { stillOf } from "../core/view.js";
import { saveFile } from "../io/files.js";
import { stillPng } from "../io/still-picture.js";
import {
  chosenText,
  explanation,
  hiddenText,
  methodText,
  otherTexts,
  unitTexts,
  wordsCsv,
  wordsFileName,
  wordsJson,
} from "../words/explained.js";
import { stillCaption } from "../words/still-files.js";
import { percentText } from "../words/sure.js";

const STEP_MS = 1_000;

export function mountExplained(root, dispatch) {
  const find = (name) => root.querySelector(`.explained-${name}`);
  const [note, ask, about, method] = ["note", "ask", "about", "method"].map(find);
  const [hide, play, pieces, back] = ["hide", "play", "pieces", "back"].map(find);
  const [toolbar, hidden, othersBox, saved] = ["words", "hidden", "others", "saved"].map(find);
  const body = root.querySelector(".explained");
  const [heat, heatGrid] = ["heat", "heatGrid"].map((name) => root.querySelector(`[name=${name}]`));
  const units = createItems(toolbar, unitButton);
  const others = createItems(othersBox.querySelector("ol"), otherRow);
  const { listen, destroy } = createListeners();
  let state = null;
  let shown = { count: 0, chosen: null, offered: [], isBusy: false, kind: "looks" };
  let timer = null;

  const choose = (index) => dispatch({ type: "word-chosen", index });

  listen(ask, "click", () => {
    if (shown.isBusy) dispatch({ type: "words-stopped" });
    else dispatch({ type: "words-asked", kind: shown.kind });
  });
  listen(toolbar, "click", ({ target }) => {
    stop();
    const index = units(shown.count).indexOf(target.closest("button"));
    if (index >= 0) choose(index);
  });
  listen(toolbar, "keydown", (event) => {
    const { count } = shown;
    const index = units(count).indexOf(document.activeElement);
    const isBackwards = getComputedStyle(toolbar).direction === "rtl";
    const [next, before] = isBackwards ? [index - 1, index + 1] : [index + 1, index - 1];
    const to = { ArrowRight: next, ArrowLeft: before, Home: 0, End: count - 1 }[event.key];
    if (to === undefined || index < 0) return;
    event.preventDefault();
    stop();
    const at = (to + count) % count;
    choose(at);
    units(count)[at].focus();
  });
  listen(hide, "click", () => dispatch({ type: "words-hiding-asked" }));
  listen(pieces, "click", () => {
    stop();
    dispatch({ type: "pieces-toggled" });
  });
  listen(back, "click", () => {
    dispatch({ type: "words-back" });
    units(shown.count).at(0)?.focus();
  });
  listen(play, "click", () => (timer === null ? start() : stop()));
  listen(othersBox, "click", ({ target }) => {
    const index = others(shown.offered.length).findIndex((row) => row.contains(target));
    const other = shown.offered[index];
    if (!other?.isOpen) return;
    dispatch({ type: "words-branched", token: other.token, other: other.other });
    // The list may be gone once the answer is there.
    (units(shown.count)[shown.chosen] ?? toolbar).focus();
  });
  listen(heat, "input", () =>
    dispatch({ type: "setting-changed", name: "heat", value: Number(heat.value) }),
  );
  listen(heatGrid, "input", () =>
    dispatch({ type: "setting-changed", name: "heatGrid", value: heatGrid.checked }),
  );
  listen(root, "click", async ({ target }) => {
    const { save } = target.closest("[data-save]")?.dataset ?? {};
    if (!save) return;
    try {
      await SAVES[save]();
      setText(saved, "Saved");
    } catch {
      setText(saved, "The browser could not make the file.");
    }
  });

  const file = (ending, type, content) =>
    saveFile(wordsFileName(stillOf(state), ending), type, content);
  const answer = () => answerOf(wordsInView(state));
  const SAVES = {
    csv: () => file("csv", "text/csv", wordsCsv(answer())),
    json: () => file("json", "application/json", wordsJson(answer())),
    async png() {
      const still = stillOf(state);
      const shownHeat = heatInView(state);
      const strength = state.settings.heat;
      const caption = { ...stillCaption(state, still), answer: answer().text };
      file(
        "png",
        "image/png",
        await stillPng(still, caption, shownHeat && { ...shownHeat, strength }),
      );
    },
  };

  function start() {
    let at = shown.chosen !== null && shown.chosen + 1 < shown.count ? shown.chosen : -1;
    const step = () => {
      at += 1;
      if (at >= shown.count) return stop();
      return choose(at);
    };
    timer = setInterval(step, STEP_MS);
    step();
    setText(play, "Stop");
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    setText(play, "Play steps");
  }

  function showUnits(words) {
    const texts = unitTexts(words);
    const { chosen } = words;
    const focusable = chosen ?? 0;
    units(texts.length).forEach((button, index) => {
      const { text, label, grade, isChosen } = texts[index];
      setText(button.firstElementChild, text);
      setAttribute(button.firstElementChild, "data-grade", grade);
      setAttribute(button, "aria-label", label);
      setAttribute(button, "aria-pressed", String(index === chosen));
      setAttribute(button, "data-own", isChosen ? "" : null);
      setProperty(button, "tabIndex", index === focusable ? 0 : -1);
    });
    return texts.length;
  }

  function showOthers(offered) {
    setProperty(othersBox, "hidden", offered.length === 0);
    others(offered.length).forEach((row, index) => {
      const { text, probability, isOpen, label } = offered[index];
      const [button] = row.children;
      const [name, value, track] = button.children;
      setText(name, text);
      setText(value, percentText(probability));
      track.firstElementChild.style.setProperty("width", `${(probability * 100).toFixed(1)}%`);
      setAttribute(button, "aria-label", isOpen ? label : null);
      setAttribute(button, "aria-disabled", isOpen ? null : "true");
    });
  }

  return {
    update(next) {
      state = next;
      const words = wordsInView(state);
      const current = answerOf(words);
      const texts = explanation(state);
      setText(note, texts.note);
      setText(ask, texts.button);
      setProperty(ask, "hidden", texts.button === "");
      setProperty(body, "hidden", current === null);
      shown = { ...shown, isBusy: texts.isBusy, kind: texts.kind };
      if (timer !== null && (current === null || state.panel !== "explain")) stop();
      if (!current) return;
      setLanguage(toolbar, explainedTurn(stillOf(state)).lang ?? "");
      const offered = otherTexts(state);
      shown = { ...shown, count: showUnits(words), chosen: words.chosen, offered };
      showOthers(offered);
      setText(about, chosenText(state));
      setText(hidden, hiddenText(words));
      const canHide = words.chosen !== null && current.method !== "occlusion";
      setProperty(hide, "disabled", !canHide || texts.isBusy);
      setProperty(pieces, "disabled", current.tokens === null);
      setAttribute(pieces, "aria-pressed", String(words.pieces));
      setProperty(back, "hidden", words.answers.length < 2);
      setProperty(heat, "value", String(state.settings.heat));
      setProperty(heatGrid, "checked", state.settings.heatGrid);
      setText(method, methodText(state));
    },
    destroy() {
      stop();
      destroy();
    },
  };
}

function unitButton() {
  const button = createElement("button", "unit");
  button.type = "button";
  button.append(createElement("span", "unit-line"));
  return button;
}

function otherRow() {
  const row = createElement("li", "");
  const button = createElement("button", "bar other");
  button.type = "button";
  button.append(createElement("span", "bar-label"), createElement("span", "bar-value"));
  button.append(createElement("span", "bar-track"));
  button.lastElementChild.append(createElement("span", "bar-fill"));
  button.firstElementChild.dir = "auto";
  row.append(button);
  return row;
}
