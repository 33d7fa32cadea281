// The menu that saves the still in view: its words or picture to the clipboard, or files of both.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { stillOf } from "../core/view.js";
import { saveFile } from "../io/files.js";
import { stillPng } from "../io/still-picture.js";
import { stillCaption, stillFileName, stillJson, stillText } from "../words/still-files.js";

const STATUS_MS = 6_000;

export function mountSave(root, opener, dispatch) {
  const status = root.querySelector(".save-status");
  const menu = root.querySelector(".save-menu");
  const { listen, destroy } = createListeners();
  let state = null;
  let isOpen = false;
  let timer;

  const png = (caption) => stillPng(stillOf(state), caption);
  const clipboard = () => navigator.clipboard ?? Promise.reject(new Error("no clipboard"));
  const ACTIONS = {
    "copy-words": async () => (await clipboard()).writeText(stillText(state, stillOf(state))),
    // The browser takes a promise, so that the press still counts once the picture is there.
    "copy-picture": async () =>
      (await clipboard()).write([new ClipboardItem({ "image/png": png(null) })]),
    "save-picture": async () => {
      const still = stillOf(state);
      saveFile(stillFileName(still, "png"), "image/png", await png(stillCaption(state, still)));
    },
    "save-json": async () => {
      const still = stillOf(state);
      saveFile(stillFileName(still, "json"), "application/json", stillJson(state, still));
    },
  };

  function show(next) {
    isOpen = next;
    setProperty(root, "hidden", !isOpen);
    setAttribute(opener, "aria-expanded", String(isOpen));
    if (!isOpen) setText(status, "");
  }

  listen(opener, "click", () => show(!isOpen));
  listen(menu, "click", async ({ target }) => {
    const { save } = target.closest("button")?.dataset ?? {};
    if (!save) return;
    let text = save.startsWith("copy") ? "Copied" : "Saved";
    try {
      await ACTIONS[save]();
    } catch {
      text = save.startsWith("copy")
        ? "The browser blocked copying. Save a file instead."
        : "The browser could not make the file.";
    }
    setText(status, text);
    clearTimeout(timer);
    timer = setTimeout(() => setText(status, ""), STATUS_MS);
  });
  listen(window, "keydown", (event) => {
    const isSave = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
    const still = state && stillOf(state);
    if (!isSave || event.key.toLowerCase() !== "s" || !still) return;
    event.preventDefault();
    if (state.panel !== "ask") dispatch({ type: "view-opened", stillId: still.id, panel: "ask" });
    show(true);
    menu.querySelector("button").focus();
  });

  return {
    update(next) {
      state = next;
      const still = stillOf(state);
      setProperty(opener, "disabled", still === null);
      if (isOpen && still === null) show(false);
    },
    destroy() {
      clearTimeout(timer);
      destroy();
    },
  };
}
