// Carries out what plan.js reads from the state: opens the camera, asks the server, sends frames.

import { mustSend } from "./pace.js";
import { plan } from "./plan.js";

// The server names frame_size_px; before it does no frame is sent, so this only bounds nonsense.
const MAX_SIDE_PX = { standard: 512, most: 2048 };

/**
 * `server`, `cameras`, `frames` and `wakeLock` are its hands, as main.js makes them of io/.
 *
 * Returns { follow(state), destroy() }. `follow` starts and stops work so that it is as the state
 * wants, and reports what comes of it through `dispatch(event)`; the store adds the time.
 */
export function createDriver({ server, cameras, frames, wakeLock, dispatch, now, cameraName }) {
  let state = null;
  let camera = { request: null, controller: null };
  let pass = { id: null, controller: null };
  let asking = null;
  let modelRequest = { id: null, controller: null };
  let timer;
  /** The thumbnail of the last captioned frame. */
  let reference = null;

  function followCamera(wanted) {
    if (camera.request === (wanted?.request ?? null)) return;
    camera.controller?.abort();
    camera = { request: null, controller: null };
    reference = null;
    if (wanted) open(wanted);
  }

  async function open({ request, deviceId }) {
    const controller = new AbortController();
    camera = { request, controller };
    try {
      const opened = await cameras.open({
        deviceId,
        signal: controller.signal,
        onEnded: () => dispatch({ type: "camera-failed", request, problem: "ended" }),
        onMuted: (muted) => dispatch({ type: "camera-muted", request, muted }),
      });
      if (controller.signal.aborted) return;
      dispatch({ type: "devices-listed", devices: await cameras.list(), changed: false });
      dispatch({ type: "camera-opened", request, deviceId: opened.deviceId });
    } catch (error) {
      if (controller.signal.aborted) return;
      dispatch({ type: "camera-failed", request, problem: cameras.problemOf(error) });
    }
  }

  async function ask() {
    const controller = new AbortController();
    asking = controller;
    let event;
    try {
      event = { type: "status-answered", status: await server.fetchStatus(controller.signal) };
    } catch (error) {
      event = { type: "status-missed", message: error.message };
    }
    if (controller.signal.aborted) return;
    asking = null;
    dispatch(event);
  }

  function followModelRequest(wanted) {
    if (modelRequest.id === (wanted?.id ?? null)) return;
    modelRequest.controller?.abort();
    modelRequest = { id: null, controller: null };
    if (wanted) askOfModels(wanted);
  }

  async function askOfModels({ id, action, model }) {
    const controller = new AbortController();
    modelRequest = { id, controller };
    const { signal } = controller;
    asking?.abort();
    asking = null;
    let event;
    try {
      event = {
        type: "model-request-answered",
        models: await server.postModels({ action, model, signal }),
      };
    } catch (error) {
      event = { type: "model-request-refused", kind: error.kind, message: error.message };
    }
    if (!signal.aborted) dispatch({ id, ...event });
  }

  async function look() {
    dispatch({ type: "look-begun" });
    const { id, prompt, kind, takenAt } = state.pass;
    const controller = new AbortController();
    pass = { id, controller };
    const { signal } = controller;
    const report = (event) => {
      if (!signal.aborted) dispatch({ id, ...event });
    };
    const frame = await take(takenAt).catch(() => null);
    if (!frame) {
      const message = "The browser gave no picture of the video.";
      report({ type: "pass-failed", kind: "no_frame", message });
      return;
    }
    if (!frame.blob) {
      report({ type: "frame-unchanged" });
      return;
    }
    report({ type: "frame-sent" });
    if (signal.aborted) return;
    try {
      const onText = (text) => report({ type: "words-arrived", text });
      const request = { blob: frame.blob, prompt, kind, camera: cameraName, signal, onText };
      const { text, stats } = await server.fetchCaption(request);
      if (signal.aborted) return;
      // It is over: to abort it now would only make the browser call a whole answer cut off.
      pass.controller = null;
      reference = frame.thumbnail;
      report({ type: "caption-done", text, stats });
    } catch (error) {
      const { kind: why = "bad_answer", message, retryAfterS } = error;
      report({ type: "pass-failed", kind: why, message, retryAfterS });
    }
  }

  function take(at) {
    const wanted = state.server.status?.frame_size_px || MAX_SIDE_PX.standard;
    return frames.take({
      maxSidePx: Math.min(wanted, MAX_SIDE_PX.most),
      quality: state.settings.jpegQuality,
      reference: mustSend(state, at) ? null : reference,
    });
  }

  function followPass(wantedId) {
    if (pass.id === wantedId) return;
    pass.controller?.abort();
    pass = { id: null, controller: null };
  }

  function follow(next) {
    state = next;
    const wanted = plan(state);
    followCamera(wanted.camera);
    followPass(wanted.passId);
    followModelRequest(wanted.modelRequest);
    wakeLock.follow(wanted.keepAwake);
    clearTimeout(timer);
    const askAt = asking ? null : wanted.askAt;
    const due = [askAt, wanted.lookAt].filter((at) => at !== null);
    if (due.length > 0) timer = setTimeout(wake, Math.max(0, Math.min(...due) - now()));
  }

  function wake() {
    const { askAt, lookAt } = plan(state);
    if (!asking && askAt !== null && askAt <= now()) ask();
    if (lookAt !== null && lookAt <= now()) look();
    follow(state);
  }

  return {
    follow,
    destroy() {
      clearTimeout(timer);
      asking?.abort();
      followCamera(null);
      followPass(null);
      followModelRequest(null);
      wakeLock.follow(false);
    },
  };
}
