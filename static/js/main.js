// Wires the page: the store, the components that show it, and the driver that acts for it.

import { mountAnnouncer } from "./announcer.js";
import { mountBadge } from "./badge.js";
import { listCameras, mayUseCamera, watchCameras } from "./camera.js";
import { mountDock } from "./dock.js";
import { createDriver } from "./driver.js";
import { createFrameSource } from "./frames.js";
import { mountHistory } from "./history.js";
import { mountModelCard } from "./model-card.js";
import { mountModelPicker } from "./model-picker.js";
import { mountNotice } from "./notice.js";
import { mountOverlay } from "./overlay.js";
import { mountPanel } from "./panel.js";
import { mountPlace } from "./place.js";
import { mountPreferences } from "./preferences.js";
import { mountQuestion } from "./question.js";
import { mountQuiet } from "./quiet.js";
import { mountReadout } from "./readout.js";
import { rememberedSettings, rememberSettings } from "./settings.js";
import { mountShortcuts } from "./shortcuts.js";
import { mountStage } from "./stage.js";
import { initialState } from "./state.js";
import { createStore } from "./store.js";
import { mountUpstreams } from "./upstreams.js";

// Ages and countdowns are in whole seconds or slower; half of one keeps them honest.
const TICK_MS = 500;

const byId = (id) => document.getElementById(id);
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
  byId("models").scrollIntoView();
}

/** Applies what concerns the whole page, and remembers the settings when they change. */
function mountPage() {
  const app = byId("app");
  let remembered = store.state.settings;
  return {
    update({ settings, panel }) {
      const { theme } = settings;
      if (theme === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      if (panel) app.dataset.panel = panel;
      else delete app.dataset.panel;
      if (settings !== remembered) rememberSettings(storage, settings);
      remembered = settings;
    },
    destroy() {},
  };
}

const components = [
  mountPage(),
  mountStage(byId("stage")),
  mountBadge(byId("badge")),
  mountPlace(byId("place")),
  mountModelCard(byId("model-card"), dispatch),
  mountNotice(byId("notice"), act),
  mountOverlay(byId("overlay")),
  mountReadout(byId("readout")),
  mountDock(byId("dock"), dispatch),
  mountQuestion(byId("question"), dispatch),
  mountHistory(byId("history"), dispatch),
  mountPreferences(byId("preferences"), dispatch),
  mountModelPicker(byId("models"), dispatch),
  mountUpstreams(byId("upstreams")),
  mountPanel(byId("history"), byId("open-history"), dispatch),
  mountPanel(byId("preferences"), byId("open-preferences"), dispatch),
  mountShortcuts(window, dispatch),
  mountQuiet(byId("stage")),
  mountAnnouncer(byId("announcer")),
];

const video = byId("video");
const driver = createDriver({
  video,
  frames: createFrameSource(video),
  dispatch,
  now,
  cameraName: newCameraName(),
});

/** Names this page to the server, so that its frames can be told from another page's. */
function newCameraName() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function show(state, at) {
  for (const component of components) component.update(state, at);
}

store.follow(show);
store.follow((state) => driver.follow(state));
store.tell();

setInterval(() => show(store.state, now()), TICK_MS);
document.addEventListener("visibilitychange", () => {
  dispatch({ type: "visibility-changed", visible: !document.hidden });
});
window.addEventListener("online", () => dispatch({ type: "retried" }));
window.addEventListener("resize", () => show(store.state, now()));

if (mayUseCamera()) {
  const list = async (changed) => {
    dispatch({ type: "devices-listed", devices: await listCameras(), changed });
  };
  watchCameras(() => list(true), new AbortController().signal);
  list(false);
}
