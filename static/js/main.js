// Connects the store, the components that show its state, and the driver that carries out its plan.

import { createDriver } from "./core/driver.js";
import { initialState } from "./core/state.js";
import { createStore } from "./core/store.js";
import * as server from "./io/api.js";
import { createWakeLock, newCameraName, loadSettings, saveSettings } from "./io/browser.js";
import { listCameras, mayUseCamera, openCamera, problemOf, watchCameras } from "./io/camera.js";
import { createFrameSource } from "./io/frames.js";
import { mountApp } from "./ui/app.js";

// Ages and countdowns show whole seconds; a tick of half a second keeps them right.
const TICK_MS = 500;

const now = () => performance.now();
const storage = () => window.localStorage;

const store = createStore(
  initialState({
    settings: loadSettings(storage),
    secure: mayUseCamera(),
    visible: !document.hidden,
    at: now(),
  }),
  now,
);
const { dispatch } = store;

function act(action) {
  if (action === "retry") dispatch({ type: "retried" });
  if (action === "models") showModels();
  if (action === "localhost") location.assign(`http://localhost:${location.port || "80"}/`);
}

function showModels() {
  if (store.state.panel !== "preferences") {
    dispatch({ type: "panel-toggled", panel: "preferences" });
  }
  document.getElementById("models").scrollIntoView();
}

const app = mountApp(dispatch, act);
const video = document.getElementById("video");
const driver = createDriver({
  server,
  cameras: { open: (options) => openCamera(video, options), list: listCameras, problemOf },
  frames: createFrameSource(video),
  wakeLock: createWakeLock(),
  dispatch,
  now,
  cameraName: newCameraName(),
});

let savedSettings = store.state.settings;
function saveChangedSettings({ settings }) {
  if (settings !== savedSettings) saveSettings(storage, settings);
  savedSettings = settings;
}

store.subscribe(app.update);
store.subscribe(saveChangedSettings);
store.subscribe(driver.update);
store.notify();

setInterval(() => app.update(store.state, now()), TICK_MS);
document.addEventListener("visibilitychange", () => {
  dispatch({ type: "visibility-changed", visible: !document.hidden });
});
window.addEventListener("online", () => dispatch({ type: "retried" }));
window.addEventListener("resize", () => app.update(store.state, now()));

if (mayUseCamera()) {
  const list = async (changed) => {
    dispatch({ type: "devices-listed", devices: await listCameras(), changed });
  };
  watchCameras(() => list(true), new AbortController().signal);
  list(false);
}
