// The dock: start and stop, the choice of camera, and the buttons that open the panels.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { cameraChoices } from "../words/camera.js";

export function mountDock(root, dispatch) {
  const start = root.querySelector("#start");
  const startLabel = start.querySelector(".dock-start-label");
  const startIcon = start.querySelector("use");
  const camera = root.querySelector("#camera");
  const openers = {
    history: "#open-history",
    voice: "#open-voice",
    preferences: "#open-preferences",
  };
  const { listen, destroy } = createListeners();
  let running = false;

  listen(start, "click", () => dispatch({ type: running ? "stopped" : "started" }));
  listen(camera, "change", () => {
    dispatch({ type: "setting-changed", name: "deviceId", value: camera.value });
  });
  for (const [panel, selector] of Object.entries(openers)) {
    listen(root.querySelector(selector), "click", () => dispatch({ type: "panel-toggled", panel }));
  }

  return {
    update(state) {
      running = state.started;
      setText(startLabel, running ? "Stop captions" : "Start captions");
      setAttribute(startIcon, "href", running ? "#icon-stop" : "#icon-start");
      setAttribute(start, "data-running", running ? "" : null);
      const { options, selected } = cameraChoices(state);
      setOptions(camera, options);
      setProperty(camera, "value", selected);
      for (const [panel, selector] of Object.entries(openers)) {
        setAttribute(root.querySelector(selector), "aria-expanded", String(state.panel === panel));
      }
    },
    destroy,
  };
}
