// The pinned labels under the live caption. They are no live region: a screen reader finds them, but is not told of
// each change.

import { createItems, createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { createBar, showBar } from "./bars.js";
import { areGaugesOld, showsGauges } from "../core/gauges.js";
import { gaugesTexts } from "../words/explain.js";

export function mountGauges(root, dispatch) {
  const [list, note, unpin] = ["list", "note", "unpin"].map((one) =>
    root.querySelector(`.gauges-${one}`),
  );
  const bars = createItems(list, createBar);
  const { listen, destroy } = createListeners();

  listen(unpin, "click", () => {
    dispatch({ type: "labels-unpinned" });
    document.getElementById("freeze").focus();
  });

  return {
    update(state, at) {
      const isShown = showsGauges(state);
      setProperty(root, "hidden", !isShown);
      if (!isShown) return;
      const texts = gaugesTexts(state);
      setText(note, texts.note);
      setAttribute(root, "data-old", areGaugesOld(state, at) ? "" : null);
      bars(texts.bars.length).forEach((row, index) => showBar(row, texts.bars[index]));
    },
    destroy,
  };
}
