// The dock: start and stop, the choice of camera, and the buttons that open the panels.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";

export function mountDock(root, dispatch) {
  const start = root.querySelector("#start");
  const startLabel = start.querySelector(".dock-start-label");
  const startIcon = start.querySelector("use");
  const camera = root.querySelector("#camera");
  const openers = { history: "#open-history", preferences: "#open-preferences" };
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
      const { devices, deviceId, phase } = state.camera;
      setOptions(camera, cameraOptions(devices));
      const current = phase === "live" ? deviceId : state.settings.deviceId;
      setProperty(
        camera,
        "value",
        devices.some((one) => one.deviceId === current) ? current : camera.options[0].value,
      );
      for (const [panel, selector] of Object.entries(openers)) {
        setAttribute(root.querySelector(selector), "aria-expanded", String(state.panel === panel));
      }
    },
    destroy,
  };
}

/** Before the permission is given, browsers name no camera: then there is one option, the default. */
function cameraOptions(devices) {
  const named = devices.filter(({ deviceId }) => deviceId);
  if (named.length === 0) return [{ value: "", label: "Default camera" }];
  return named.map(({ deviceId, label }, index) => ({
    value: deviceId,
    label: label || `Camera ${index + 1}`,
  }));
}
