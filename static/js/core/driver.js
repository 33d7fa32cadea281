// Carries out the plan of each state: opens the camera, polls the server, captures and sends frames.

import { sendsPictures } from "./camera.js";
import { fitFrame } from "./frame-size.js";
import { createDirectLooks } from "./direct-looks.js";
import { createLooks } from "./looks.js";
import { mustSend } from "./pace.js";
import { plan } from "./plan.js";
import { sourceTitle } from "./source.js";

/**
 * Returns { update(state), listCameras(changed), destroy() }. `update` starts and cancels work as the
 * state's plan says. `listCameras` is called if devices or the permission may have changed. Results go
 * to `dispatch(event)`; the store adds the time.
 *
 * - `server`: the functions of io/api.js.
 * - `cameras`: { open(options), list(), permission(), problemOf(error) }, as in io/camera.js, and
 *   `setPlayback(playback)` of io/media.js; `open` opens the `source` of the state.
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
  let sentPictures = false;
  const [settlingLooks, directLooks] = [createLooks(frames), createDirectLooks(frames)];
  let looks = settlingLooks;

  function updateCamera(planned) {
    if (camera.attempt === (planned?.attempt ?? null)) return;
    camera.controller?.abort();
    camera = { attempt: null, controller: null };
    if (planned) openCamera(planned);
  }

  async function openCamera({ attempt, deviceId }) {
    const controller = new AbortController();
    const { signal } = controller;
    camera = { attempt, controller };
    const { source } = state;
    looks = source.kind === "camera" ? settlingLooks : directLooks;
    const report = (event) => {
      if (!signal.aborted) dispatch({ attempt, ...event });
    };
    const reportEnd = async () => {
      // The list tells whether it was unplugged.
      await listCameras(true);
      report({ type: "camera-failed", problem: "ended" });
    };
    try {
      const opened = await cameras.open({
        source,
        deviceId,
        signal,
        onEnded: reportEnd,
        onMuted: (muted, silentMs) => report({ type: "camera-muted", muted, silentMs }),
        onStalled: (stalled) => report({ type: "camera-stalled", stalled }),
      });
      if (signal.aborted) return;
      looks.open();
      await listCameras(false);
      report({ type: "camera-opened", deviceId: opened.deviceId });
    } catch (error) {
      const problem = await cameras.problemOf(error);
      report({ type: "camera-failed", problem });
      // After an answer to the prompt, names and ids are told.
      listCameras(false);
    }
  }

  async function listCameras(changed) {
    const listed = cameras.list().catch(() => state.camera.devices);
    const [devices, permission] = await Promise.all([listed, cameras.permission()]);
    dispatch({ type: "devices-listed", devices, permission, changed });
  }

  /** After a mute or a halt the camera may have to settle again. */
  function followPictures() {
    const sends = sendsPictures(state.camera);
    if (sends && !sentPictures) looks.reopen();
    sentPictures = sends;
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
    const { id, prompt, reading, kind, maxTokens, claims, capturedAt } = state.request;
    const controller = new AbortController();
    request = { id, controller };
    const { signal } = controller;
    const report = (event) => {
      if (!signal.aborted) dispatch({ id, ...event });
    };
    const picture = await pictureOf(capturedAt, signal).catch((error) => ({ error }));
    if (picture?.error) {
      const isFalsified = picture.error.name === "FalsifiedError";
      const message = "The browser could not read a picture from the video.";
      report({ type: "request-failed", kind: isFalsified ? "falsified" : "no_frame", message });
      return;
    }
    if (signal.aborted) return;
    const { verdict, frame } = picture;
    if (verdict === "black" || !frame.blob) {
      const { seconds } = frame;
      report({ type: verdict === "black" ? "frame-black" : "frame-unchanged", seconds });
      return;
    }
    const { at: frameAt, isFullRange, seconds } = frame;
    report({ type: "frame-sent", frameAt, isFullRange, seconds, isSame: verdict === "same" });
    if (signal.aborted) return;
    // Nothing of an answer is shown before the next look has borne out its picture.
    const confirmation = looks.confirm(picture, captureOptions(), signal).catch(() => true);
    let [isConfirmed, textSoFar] = [false, null];
    confirmation.then((isTrue) => {
      isConfirmed = isTrue === true;
      if (isTrue === false) report({ type: "frame-refuted" });
      else if (textSoFar !== null) report({ type: "text-received", text: textSoFar });
    });
    try {
      const onText = (text) => {
        textSoFar = text;
        if (isConfirmed) report({ type: "text-received", text });
      };
      const from = { camera: cameraName, source: sourceTitle(state) };
      const asked = { prompt, reading, kind, maxTokens, claims, ...from };
      const options = { ...asked, blob: frame.blob, signal, onText };
      const { text, finish_reason: end, stats, sure } = await server.fetchCaption(options);
      await confirmation;
      if (signal.aborted) return;
      // The answer is complete; an abort now would only make the browser report it as cut off.
      request.controller = null;
      looks.captioned(picture);
      report({ type: "caption-done", text, end, stats, sure });
    } catch (error) {
      await confirmation;
      const { kind: failure = "bad_answer", message, retryAfterS } = error;
      report({ type: "request-failed", kind: failure, message, retryAfterS });
    }
  }

  /** The next picture that can be believed; see looks.js. */
  const pictureOf = (at, signal) =>
    looks.take({ mustSend: mustSend(state, at), capture: captureOptions(), signal });

  const captureOptions = () => ({
    maxSidePx: fitFrame(state),
    quality: state.settings.jpegQuality,
    reference: null,
  });

  function updateRequest(plannedId) {
    if (request.id === plannedId) return;
    request.controller?.abort();
    request = { id: null, controller: null };
  }

  function update(next) {
    state = next;
    const planned = plan(state);
    updateCamera(planned.camera);
    cameras.setPlayback(planned.playback);
    followPictures();
    updateRequest(planned.requestId);
    updateModelRequest(planned.modelRequest);
    wakeLock.update(planned.keepAwake);
    clearTimeout(timer);
    const pollAt = poll ? null : planned.pollAt;
    const { captureAt, reopenAt, sleepAt } = planned;
    const due = [pollAt, captureAt, reopenAt, sleepAt].filter((at) => at !== null);
    if (due.length > 0) timer = setTimeout(startDueWork, Math.max(0, Math.min(...due) - now()));
  }

  function startDueWork() {
    const { pollAt, captureAt, reopenAt, sleepAt } = plan(state);
    if (sleepAt !== null && sleepAt <= now()) dispatch({ type: "sleep-due" });
    if (reopenAt !== null && reopenAt <= now()) dispatch({ type: "camera-retry-due" });
    if (!poll && pollAt !== null && pollAt <= now()) pollStatus();
    if (captureAt !== null && captureAt <= now()) captureAndSend();
    update(state);
  }

  return {
    update,
    listCameras,
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
