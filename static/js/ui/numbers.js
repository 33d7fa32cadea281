// What the caption in view took, in numbers, and its request as a command.

import { createElement, createItems, createListeners, setProperty, setText } from "./dom.js";
import { addressOf } from "../io/api.js";
import { curlText, numbersOf } from "../words/numbers.js";

export function mountNumbers(root) {
  const find = (name) => root.querySelector(`.numbers-${name}`);
  const [sent, curl, copy, status] = ["sent", "curl", "copy", "status"].map(find);
  const rows = createItems(find("list"), () => {
    const row = createElement("div", "numbers-row");
    row.append(createElement("dt", ""), createElement("dd", ""));
    return row;
  });
  const { origin, pathname } = addressOf("api/captions");
  const { listen, destroy } = createListeners();

  listen(copy, "click", async () => {
    try {
      await navigator.clipboard.writeText(curl.textContent);
      setText(status, "Copied");
    } catch {
      setText(status, "The browser blocked copying. Select the text and copy it.");
    }
  });

  return {
    update(state) {
      const numbers = numbersOf(state);
      rows(numbers.length).forEach((row, index) => {
        const [name, value] = row.children;
        setText(name, numbers[index].name);
        setText(value, numbers[index].value);
      });
      const command = curlText(state, `${origin}${pathname}`);
      setProperty(sent, "hidden", command === "");
      if (setText(curl, command)) setText(status, "");
    },
    destroy,
  };
}
