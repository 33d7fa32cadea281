// Wires the page: the store, the components that show it, and the driver that acts for it.

import { createDriver } from "./core/driver.js";
import { initialState } from "./core/state.js";
import { createStore } from "./core/store.js";
import * as server from "./io/api.js";
import {
  createWakeLock,
  newCameraName,
  rememberedSettings,
  rememberSettings,
} from "./io/browser.js";
import { listCameras, mayUseCamera, openCamera, problemOf, watchCameras } from "./io/camera.js";
import { createFrameSource } from "./io/frames.js";
import { mountApp } from "./ui/app.js";

// Ages and countdowns are in whole seconds or slower; half of one keeps them honest.
const TICK_MS = 500;

const now = () => performance.now();
// A getter: where storage is forbidden, merely naming it throws.
const storage = () => window.localStorage;

const store = createStore(
  initialState({
    settings: rememberedSettings(storage),
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

let remembered = store.state.settings;
function remember({ settings }) {
  if (settings !== remembered) rememberSettings(storage, settings);
  remembered = settings;
}

store.follow(app.update);
store.follow(remember);
store.follow(driver.follow);
store.tell();

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
