// The settings about things and text: which of them this server can follow.

import { setProperty, setText } from "./dom.js";
import { detectorOf } from "../core/boxes.js";
import { boxesHint, readingHint } from "../words/boxes.js";

export function mountThings(root) {
  const boxes = root.querySelector("[name=boxes]");
  const reading = root.querySelector("[name=reading]");
  const boxesProblem = root.querySelector("#boxes-problem");
  const readingProblem = root.querySelector("#reading-problem");
  return {
    update(state) {
      setProperty(boxes, "disabled", detectorOf(state) === null);
      setText(boxesProblem, boxesHint(state));
      const problem = readingHint(state);
      setProperty(reading, "disabled", problem !== "");
      setText(readingProblem, problem);
    },
    destroy() {},
  };
}
