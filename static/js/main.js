// Connects the store, the components that show its state, and the driver that carries out its plan.

import { createAsker } from "./core/asker.js";
import { createDriver } from "./core/driver.js";
import { createExplainer } from "./core/explainer.js";
import { toneHz } from "./core/find.js";
import { createGauger } from "./core/gauger.js";
import { createLabeller } from "./core/labeller.js";
import { createLooker } from "./core/looker.js";
import { keptText, sessionOf } from "./core/session-kept.js";
import { initialState } from "./core/state.js";
import { changesOf, sharedOf } from "./core/settings.js";
import { createTimekeeper } from "./core/timekeeper.js";
import { createStudier } from "./core/studier.js";
import { createStore } from "./core/store.js";
import { claimOf } from "./core/tabs.js";
import * as server from "./io/api.js";
import {
  createWakeLock,
  newPageName,
  loadSettings,
  platformOf,
  saveSettings,
  watchSettings,
} from "./io/browser.js";
import {
  cameraPermission,
  listCameras,
  mayUseCamera,
  openCamera,
  problemOf,
  watchCameras,
} from "./io/camera.js";
import { createFrameClock } from "./io/frame-clock.js";
import { createFileOpener } from "./io/chosen-files.js";
import { createFrameSource } from "./io/frames.js";
import { createGlances } from "./io/glances.js";
import { createEarcons } from "./io/earcons.js";
import { createMedia, mayShareScreen } from "./io/media.js";
import { createStills } from "./io/stills.js";
import { watchPage } from "./io/page-life.js";
import { createSessionStore, loadSession } from "./io/session-store.js";
import { createSpeech } from "./io/speech.js";
import { createTabs } from "./io/tabs.js";
import * as timelineServer from "./io/timeline.js";
import { createTone } from "./io/tone.js";
import { mountApp } from "./ui/app.js";

// Ages and countdowns show whole seconds; a tick of half a second keeps them right.
const TICK_MS = 500;

const now = () => performance.now();
const storage = () => window.localStorage;
const tabStorage = () => window.sessionStorage;

const store = createStore(
  initialState({
    settings: loadSettings(storage),
    secure: mayUseCamera(),
    visible: !document.hidden,
    platform: platformOf(navigator),
    canShare: mayShareScreen(),
    host: location.host,
    kept: sessionOf(loadSession(tabStorage)),
    at: now(),
  }),
  now,
);
const { dispatch } = store;

function act(action, value) {
  if (action === "use" && value) dispatch({ type: "setting-changed", name: "deviceId", value });
  if (action === "file") document.getElementById("files").click();
  if (action === "screen") shareScreen();
  if (action === "sample") dispatch({ type: "source-chosen", source: media.addSample() });
  if (action === "camera") dispatch({ type: "camera-chosen" });
  if (action === "camera-start") {
    dispatch({ type: "camera-chosen" });
    dispatch({ type: "started" });
  }
  if (action === "close") dispatch({ type: "refusal-closed" });
  if (action === "use" && !value) dispatch({ type: "any-camera-asked" });
  if (action === "retry") dispatch({ type: "retried" });
  if (action === "models") showModels();
  if (action === "start") dispatch({ type: "started" });
  if (action === "session") dispatch({ type: "view-opened", stillId: null, panel: "history" });
  if (action === "not-continued") dispatch({ type: "not-continued" });
  if (action === "localhost") location.assign(`http://localhost:${location.port || "80"}/`);
}

/** What is in view stays until the person has chosen a window. */
async function shareScreen() {
  try {
    dispatch({ type: "source-chosen", source: await media.shareScreen() });
  } catch ({ problem }) {
    dispatch({ type: "source-refused", kind: "screen", problems: [{ name: "", why: problem }] });
  }
}

function showModels() {
  if (store.state.panel !== "preferences") {
    dispatch({ type: "panel-toggled", panel: "preferences" });
  }
  document.getElementById("models").scrollIntoView();
}

const voice = createSpeech(window.speechSynthesis, {
  onVoices: (voices) => dispatch({ type: "voices-listed", voices }),
  onFailed: () => dispatch({ type: "voice-failed" }),
});
const pageName = newPageName();
const query = new URLSearchParams(location.search);
const isKiosk = query.has("kiosk");
const video = document.getElementById("video");
const media = createMedia(video, dispatch);
const openFiles = createFileOpener(media, dispatch);
const app = mountApp(dispatch, act, { voice, earcons: createEarcons(), openFiles, isKiosk });
const clock = createFrameClock(video, now);
const isCamera = () => store.state.source.kind === "camera";
const frames = createFrameSource(video, clock, now, isCamera);
const driver = createDriver({
  server,
  cameras: {
    open: ({ source, ...options }) =>
      source.kind === "camera"
        ? openCamera(video, { ...options, clock, now })
        : media.open({ ...options, id: source.id }),
    setPlayback: media.setPlayback,
    list: listCameras,
    permission: cameraPermission,
    problemOf,
  },
  frames,
  wakeLock: createWakeLock(),
  dispatch,
  now,
  cameraName: pageName,
});

const stills = createStills(frames);
const asker = createAsker({ server, stills, dispatch, now });
const labeller = createLabeller({ server, stills, dispatch, now });
const explainer = createExplainer({ server, stills, dispatch, now });
const timekeeper = createTimekeeper({
  server: timelineServer,
  dispatch,
  now,
  cameraName: pageName,
});
const studier = createStudier({ server, stills, dispatch, now });
const gauger = createGauger({ server, frames, dispatch, now });
const looker = createLooker({ server, glances: createGlances(video), dispatch, now });
const tone = createTone();

let knownSettings = store.state.settings;
function saveChangedSettings({ settings }) {
  const changes = changesOf(knownSettings, settings);
  knownSettings = settings;
  if (Object.keys(changes).length === 0) return;
  dispatch({ type: "settings-kept", isKept: saveSettings(storage, changes) });
}
watchSettings(() => {
  const changes = sharedOf(changesOf(knownSettings, loadSettings(storage)));
  knownSettings = { ...knownSettings, ...changes };
  dispatch({ type: "settings-merged", changes });
});

const tabs = createTabs(pageName, {
  onHeard: (id, claim) => dispatch({ type: "tab-heard", id, claim }),
  onUsed: () => dispatch({ type: "tab-used" }),
});

let wasStarted = false;
const sessionStore = createSessionStore(
  tabStorage,
  () => {
    const { session, started, wasRunning, source, lostSource } = store.state;
    const lookedAt = wasRunning && !started ? (lostSource ?? source) : source;
    return keptText(session, wasStarted || started || wasRunning, lookedAt);
  },
  (isKept) => dispatch({ type: "session-kept", isKept }),
);
let keptSession = store.state.session;
function keepChangedSession({ session }) {
  if (session !== keptSession) sessionStore.changed();
  keptSession = session;
}

store.subscribe(app.update);
store.subscribe(keepChangedSession);
store.subscribe(saveChangedSettings);
store.subscribe(driver.update);
store.subscribe(asker.update);
store.subscribe(labeller.update);
store.subscribe(explainer.update);
store.subscribe(studier.update);
store.subscribe(gauger.update);
store.subscribe(looker.update);
store.subscribe(timekeeper.update);
store.subscribe((state) => tone.update(toneHz(state)));
store.subscribe((state) => tabs.update(claimOf(state)));
store.notify();

setInterval(() => app.update(store.state, now()), TICK_MS);

watchPage({
  onVisibility(visible) {
    dispatch({ type: "visibility-changed", visible });
    if (!visible) sessionStore.save();
  },
  onLeave() {
    wasStarted = store.state.started;
    dispatch({ type: "visibility-changed", visible: false });
    dispatch({ type: "stopped" });
    sessionStore.save();
  },
  async onReturn() {
    const isShown = ["video", "sample"].includes(store.state.source.kind);
    const isAllowed = isShown || (isCamera() && (await cameraPermission()) === "granted");
    const maySee = wasStarted && isAllowed;
    // Before the page is visible, so that no message says that captions are stopped.
    if (maySee) dispatch({ type: "started" });
    wasStarted = false;
    dispatch({ type: "visibility-changed", visible: !document.hidden });
  },
});
window.addEventListener("online", () => dispatch({ type: "network-returned" }));
window.addEventListener("resize", () => app.update(store.state, now()));

if (mayUseCamera()) {
  watchCameras(() => driver.listCameras(true), new AbortController().signal);
  // A page that was frozen or hidden may have missed a change.
  const look = () => document.hidden || driver.listCameras(true);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("resume", look);
  window.addEventListener("pageshow", ({ persisted }) => persisted && look());
  driver.listCameras(false);
}

/** After "Back" to a page that the browser has not kept, all is as it was, as in one that it has. */
async function goOn() {
  const [navigation] = performance.getEntriesByType("navigation");
  const isBack = navigation?.type === "back_forward" && store.state.wasRunning;
  if (isBack && (await cameraPermission()) === "granted") dispatch({ type: "started" });
}
goOn();

// For a page that nobody presses a button of.
if (isKiosk || query.has("start")) dispatch({ type: "started" });
