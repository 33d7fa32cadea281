// The answer about the still in view beside another one: to another question, in another detail, about another
// picture or by another model.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { latelyAsked } from "../core/lately.js";
import { presetsOf } from "../core/prompt.js";
import { studyHindrance, studyOf, turnOf } from "../core/studies.js";
import { stillOf } from "../core/view.js";
import { choicesOf, otherHint, sidesTexts, waysOf } from "../words/studies.js";
import { showBlocks } from "./blocks.js";

export function mountSides(root, dispatch) {
  const form = root.querySelector("form");
  const { way, choice, question } = form.elements;
  const find = (name) => root.querySelector(`.sides-${name}`);
  const [ask, hint, note, list, swap] = ["ask", "hint", "note", "list", "swap"].map(find);
  const suggestions = root.querySelector("datalist");
  const items = createItems(list, createSide);
  const { listen, destroy } = createListeners();
  let state = null;
  let isAsked = false;
  let isSwapped = false;

  listen(form, "submit", (event) => {
    event.preventDefault();
    if (isAsked) dispatch({ type: "study-stopped" });
    else if (isComplete()) dispatch({ type: "study-asked", kind: "other", ask: asked() });
  });
  listen(form, "input", () => show());
  listen(swap, "click", () => {
    isSwapped = !isSwapped;
    show();
  });

  const isComplete = () => (way.value === "question" ? question.value.trim() : choice.value) !== "";

  function asked() {
    const still = stillOf(state);
    const turn = turnOf(still);
    const given = {
      way: way.value,
      prompt: turn.prompt,
      detail: turn.detail,
      about: null,
      model: null,
    };
    const chosen = {
      question: () => ({ prompt: promptOf(question.value.trim()) }),
      detail: () => ({ detail: choice.value }),
      moment: () => ({ about: Number(choice.value) }),
      model: () => ({ model: choice.value }),
    }[way.value]();
    return { ...given, ...chosen };
  }

  /** A preset's label stands for its question. */
  const promptOf = (text) =>
    presetsOf(state).find(({ label }) => label.toLowerCase() === text.toLowerCase())?.prompt ??
    text;

  function show() {
    const isQuestion = way.value === "question";
    setOptions(way, waysOf(state));
    setOptions(choice, choicesOf(state, way.value));
    setProperty(choice.closest("label"), "hidden", isQuestion);
    setProperty(question.closest("label"), "hidden", !isQuestion);
    isAsked = studyOf(state, "other")?.step === "asked";
    setText(ask, isAsked ? "Cancel" : "Compare");
    const may = studyHindrance(state, "other") === "none" && isComplete();
    setProperty(ask, "disabled", !isAsked && !may);
    setText(hint, otherHint(state, way.value));
    const texts = sidesTexts(state, isSwapped);
    setText(note, texts.note);
    setProperty(swap, "hidden", texts.sides.length === 0);
    items(texts.sides.length).forEach((item, index) => showSide(item, texts.sides[index]));
  }

  return {
    update(next) {
      state = next;
      const presets = presetsOf(state).map(({ label }) => label);
      setOptionsOf(suggestions, [...presets, ...latelyAsked(state)]);
      show();
    },
    destroy,
  };
}

const listed = new WeakMap();

function setOptionsOf(datalist, texts) {
  const key = JSON.stringify(texts);
  if (listed.get(datalist) === key) return;
  listed.set(datalist, key);
  datalist.replaceChildren(
    ...texts.map((value) => Object.assign(document.createElement("option"), { value })),
  );
}

function createSide() {
  const side = createElement("li", "side");
  side.append(
    createElement("h3", "side-name"),
    createElement("p", "side-about"),
    createElement("div", "side-text"),
    createElement("p", "side-meta"),
  );
  side.children[1].dir = "auto";
  return side;
}

const shown = new WeakMap();

function showSide(side, { name, about, text, other, meta }) {
  const [heading, question, words, line] = side.children;
  setText(heading, name);
  setText(question, about);
  setText(line, meta);
  setAttribute(side, "data-side", name);
  const key = JSON.stringify([text, meta ? other : null]);
  if (shown.get(side) === key) return;
  shown.set(side, key);
  showBlocks(words, text, meta ? other : null);
}
