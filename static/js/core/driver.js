// Carries out the plan of each state: opens the camera, polls the server, captures and sends frames.

import { mustSend } from "./pace.js";
import { plan } from "./plan.js";

// The server's status has frame_size_px; no frame is sent before it is known. MAX bounds its value.
const DEFAULT_SIDE_PX = 512;
const MAX_SIDE_PX = 2048;

/**
 * Returns { update(state), destroy() }. `update` starts and cancels work as the state's plan says.
 * Results go to `dispatch(event)`; the store adds the time.
 *
 * - `server`: the functions of io/api.js.
 * - `cameras`: { open(options), list(), problemOf(error) }, as in io/camera.js.
 * - `frames`, `wakeLock`: as in io/frames.js and io/browser.js.
 * - `cameraName`: the name of this page's camera on the server.
 */
export function createDriver({ server, cameras, frames, wakeLock, dispatch, now, cameraName }) {
  let state = null;
  let camera = { attempt: null, controller: null };
  let request = { id: null, controller: null };
  let poll = null;
  let modelRequest = { id: null, controller: null };
  let timer;
  /** The thumbnail of the last captioned frame. */
  let reference = null;

  function updateCamera(planned) {
    if (camera.attempt === (planned?.attempt ?? null)) return;
    camera.controller?.abort();
    camera = { attempt: null, controller: null };
    reference = null;
    if (planned) openCamera(planned);
  }

  async function openCamera({ attempt, deviceId }) {
    const controller = new AbortController();
    camera = { attempt, controller };
    try {
      const opened = await cameras.open({
        deviceId,
        signal: controller.signal,
        onEnded: () => dispatch({ type: "camera-failed", attempt, problem: "ended" }),
        onMuted: (muted) => dispatch({ type: "camera-muted", attempt, muted }),
      });
      if (controller.signal.aborted) return;
      dispatch({ type: "devices-listed", devices: await cameras.list(), changed: false });
      dispatch({ type: "camera-opened", attempt, deviceId: opened.deviceId });
    } catch (error) {
      if (controller.signal.aborted) return;
      dispatch({ type: "camera-failed", attempt, problem: cameras.problemOf(error) });
    }
  }

  async function pollStatus() {
    const controller = new AbortController();
    poll = controller;
    let event;
    try {
      event = { type: "status-received", status: await server.fetchStatus(controller.signal) };
    } catch (error) {
      event = { type: "status-failed", message: error.message };
    }
    if (controller.signal.aborted) return;
    poll = null;
    dispatch(event);
  }

  function updateModelRequest(planned) {
    if (modelRequest.id === (planned?.id ?? null)) return;
    modelRequest.controller?.abort();
    modelRequest = { id: null, controller: null };
    if (planned) sendModelRequest(planned);
  }

  async function sendModelRequest({ id, action, model }) {
    const controller = new AbortController();
    modelRequest = { id, controller };
    const { signal } = controller;
    poll?.abort();
    poll = null;
    let event;
    try {
      const models = await server.postModels({ action, model, signal });
      event = { type: "model-request-done", models };
    } catch (error) {
      event = { type: "model-request-failed", kind: error.kind, message: error.message };
    }
    if (!signal.aborted) dispatch({ id, ...event });
  }

  /** Capture a frame and, if the scene has changed, send it and report its caption. */
  async function captureAndSend() {
    dispatch({ type: "capture-started" });
    const { id, prompt, kind, capturedAt } = state.request;
    const controller = new AbortController();
    request = { id, controller };
    const { signal } = controller;
    const report = (event) => {
      if (!signal.aborted) dispatch({ id, ...event });
    };
    const frame = await capture(capturedAt).catch(() => null);
    if (!frame) {
      const message = "The browser could not read a picture from the video.";
      report({ type: "request-failed", kind: "no_frame", message });
      return;
    }
    if (!frame.blob) {
      report({ type: "frame-unchanged" });
      return;
    }
    report({ type: "frame-sent" });
    if (signal.aborted) return;
    try {
      const onText = (text) => report({ type: "text-received", text });
      const options = { blob: frame.blob, prompt, kind, camera: cameraName, signal, onText };
      const { text, stats } = await server.fetchCaption(options);
      if (signal.aborted) return;
      // The answer is complete; an abort now would only make the browser report it as cut off.
      request.controller = null;
      reference = frame.thumbnail;
      report({ type: "caption-done", text, stats });
    } catch (error) {
      const { kind: failure = "bad_answer", message, retryAfterS } = error;
      report({ type: "request-failed", kind: failure, message, retryAfterS });
    }
  }

  function capture(at) {
    const sidePx = state.server.status?.frame_size_px || DEFAULT_SIDE_PX;
    return frames.capture({
      maxSidePx: Math.min(sidePx, MAX_SIDE_PX),
      quality: state.settings.jpegQuality,
      reference: mustSend(state, at) ? null : reference,
    });
  }

  function updateRequest(plannedId) {
    if (request.id === plannedId) return;
    request.controller?.abort();
    request = { id: null, controller: null };
  }

  function update(next) {
    state = next;
    const planned = plan(state);
    updateCamera(planned.camera);
    updateRequest(planned.requestId);
    updateModelRequest(planned.modelRequest);
    wakeLock.update(planned.keepAwake);
    clearTimeout(timer);
    const pollAt = poll ? null : planned.pollAt;
    const due = [pollAt, planned.captureAt].filter((at) => at !== null);
    if (due.length > 0) timer = setTimeout(startDueWork, Math.max(0, Math.min(...due) - now()));
  }

  function startDueWork() {
    const { pollAt, captureAt } = plan(state);
    if (!poll && pollAt !== null && pollAt <= now()) pollStatus();
    if (captureAt !== null && captureAt <= now()) captureAndSend();
    update(state);
  }

  return {
    update,
    destroy() {
      clearTimeout(timer);
      poll?.abort();
      updateCamera(null);
      updateRequest(null);
      updateModelRequest(null);
      wakeLock.update(false);
    },
  };
}
