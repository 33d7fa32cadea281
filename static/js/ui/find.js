// Finding a thing by its name: the field, the sentence about it, and the switch of its tone.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { detectorOf } from "../core/boxes.js";
import { findText } from "../words/boxes.js";

export function mountFind(root, dispatch) {
  const words = root.querySelector("#find-words");
  const tone = root.querySelector("#find-tone");
  const status = root.querySelector("#find-status");
  const { listen, destroy } = createListeners();
  let isOn = false;

  const ask = () => dispatch({ type: "find-asked", words: words.value });
  listen(root, "submit", (event) => {
    event.preventDefault();
    ask();
  });
  listen(words, "change", ask);
  // The field's own button to empty it.
  listen(words, "search", ask);
  listen(tone, "click", () => {
    dispatch({ type: "setting-changed", name: "findTone", value: !isOn });
  });

  return {
    update(state) {
      isOn = state.settings.findTone;
      const isShown = state.settings.boxes && state.started && detectorOf(state) !== null;
      setProperty(root, "hidden", !isShown);
      setAttribute(tone, "aria-pressed", String(isOn));
      setText(status, isShown ? findText(state) : "");
      if (document.activeElement !== words) setProperty(words, "value", state.find.words);
    },
    destroy,
  };
}
