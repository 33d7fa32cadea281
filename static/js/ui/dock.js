// The dock: start and stop, freeze and back to live, and the buttons that open the panels.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { isRunning } from "../core/running.js";
import { isVideo, mayOpen } from "../core/source.js";
import { keyHint } from "../words/settings.js";
import { isFrozen } from "../core/view.js";

export function mountDock(root, dispatch) {
  const start = root.querySelector("#start");
  const startLabel = start.querySelector(".button-text");
  const startIcon = start.querySelector("use");
  const freeze = root.querySelector("#freeze");
  const freezeLabel = freeze.querySelector(".button-text");
  const freezeIcon = freeze.querySelector("use");
  const say = root.querySelector("#say");
  const sayLabel = say.querySelector(".button-text");
  const openers = {
    history: root.querySelector("#open-history"),
    ask: root.querySelector("#open-ask"),
  };
  const { listen, destroy } = createListeners();
  let sayEvent = null;

  listen(start, "click", () => dispatch({ type: "start-pressed" }));
  listen(freeze, "click", () => dispatch({ type: "freeze-pressed" }));
  listen(say, "click", () => dispatch({ type: sayEvent }));
  for (const [panel, opener] of Object.entries(openers)) {
    listen(opener, "click", () => dispatch({ type: "panel-toggled", panel }));
  }

  return {
    update(state) {
      const runs = isRunning(state);
      setText(startLabel, runs ? "Stop" : "Start");
      setAttribute(startIcon, "href", runs ? "#icon-stop" : "#icon-start");
      setAttribute(start, "data-running", runs ? "" : null);
      const frozen = isFrozen(state);
      // Without a live picture behind it, a still is closed.
      const closes = frozen && !state.started;
      const behind = isVideo(state) ? "Video" : "Live";
      setText(freezeLabel, closes ? "Close" : frozen ? behind : "Freeze");
      setAttribute(
        freezeIcon,
        "href",
        closes ? "#icon-close" : frozen ? "#icon-live" : "#icon-freeze",
      );
      setAttribute(freeze, "data-frozen", frozen ? "" : null);
      setAttribute(
        freeze,
        "title",
        closes
          ? keyHint(state, "freeze", "Close the picture")
          : frozen
            ? keyHint(state, "freeze", `Back to ${isVideo(state) ? "the video" : "live"}`)
            : keyHint(state, "freeze", "Freeze the picture"),
      );
      setProperty(freeze, "disabled", !frozen && !(runs && state.camera.phase === "live"));
      const speaks = state.started && state.voice.saying !== null;
      sayEvent = speaks ? "voice-silenced" : state.started ? "now-asked" : "started";
      setProperty(say, "hidden", !state.settings.voice);
      setText(sayLabel, speaks ? "Silence" : "Say it");
      setAttribute(
        say,
        "title",
        speaks ? "Stop speaking (Esc)" : keyHint(state, "now", "Say what is there now"),
      );
      setProperty(start, "disabled", !mayOpen(state));
      setAttribute(start, "aria-describedby", mayOpen(state) ? null : "notice");
      for (const [panel, opener] of Object.entries(openers)) {
        setAttribute(opener, "aria-expanded", String(state.panel === panel));
      }
    },
    destroy,
  };
}
