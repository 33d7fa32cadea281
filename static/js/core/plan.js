// The work that a state calls for. Pure: the driver carries it out, the tests read it.

import { sendsPictures } from "./camera.js";
import { isExplainDue } from "./explained.js";
import { gaugeToRun, nextGauge } from "./gauges.js";
import { changeOf } from "./server.js";
import { isAwake, sleepAt } from "./hidden.js";
import { promptOf } from "./prompt.js";
import { isAtRest, isVideo, mayOpen } from "./source.js";
import { studyToRun } from "./studies.js";
import { nextAsk } from "./thread.js";
import { isFrozen } from "./view.js";

/**
 * - `camera`: { attempt, deviceId } of the camera to open or keep open, or null for none.
 * - `playback`: how the video plays, { plays, speed, loops }, or null for another source.
 * - `reopenAt`: when to open the camera again by itself, or null.
 * - `pollAt`: when to poll the server's status, or null for not now.
 * - `captureAt`: when to capture the next frame, or null for not now.
 * - `stillId`: the still to take from the next frame, or null.
 * - `sleepAt`: when to switch the camera of a hidden page off, or null.
 * - `askAt`: when to ask the next question about a still, or null for not now; `askId`: the only such
 *   question that may be in flight.
 * - `labelsId`: the only labels of a still that may be in flight.
 * - `explainId`: the only request about words of a still that may be in flight; `explainDue`: whether what the words
 *   of the answer in view looked at is to be asked by itself.
 * - `studyId`: the only study of a still that may be in flight.
 * - `gaugeAt`: when to ask for the pinned labels of the live picture, or null for not now; `gaugeId`: the only such
 *   request that may be in flight.
 * - `requestId`: the only frame request that may be in flight; any other is cancelled.
 * - `modelRequest`: the request about models to send, { id, action, model }, or null.
 * - `keepAwake`: whether the screen stays on.
 */
export function plan(state) {
  const { camera, request, server, started } = state;
  const awake = isAwake(state);
  const cameraOn = started && mayOpen(state) && ["opening", "live"].includes(camera.phase);
  const isLive = awake && sendsPictures(camera) && !state.playback.isMoving;
  const isDue = server.phase === "ready" && !request && !isFrozen(state) && !isAtRest(state);
  const canCapture = isLive && isDue;
  // A frame in flight shows that the server works, but not how far a change of models is.
  const isSent = (request && request.step !== "capturing") || state.asking;
  const needsNoPoll = server.phase === "ready" && isSent && !changeOf(state);
  // A status received while a model request is in flight may be older than the request's answer.
  const canPoll = awake && !needsNoPoll && !state.models.request;
  return {
    camera: cameraOn ? { attempt: camera.attempt, deviceId: camera.target } : null,
    playback: cameraOn && isVideo(state) ? playbackOf(state, awake) : null,
    reopenAt: awake && started ? camera.retryAt : null,
    pollAt: canPoll ? server.pollAt : null,
    captureAt: canCapture && promptOf(state) !== null ? state.pace.captureAt : null,
    stillId: isLive ? (state.view.freezing?.id ?? null) : null,
    sleepAt: sleepAt(state),
    askAt: nextAsk(state),
    askId: state.asking?.id ?? null,
    labelsId: state.labelling?.id ?? null,
    explainId: state.explaining?.id ?? null,
    explainDue: isExplainDue(state),
    studyId: studyToRun(state),
    gaugeAt: nextGauge(state),
    gaugeId: gaugeToRun(state),
    requestId: request?.id ?? null,
    modelRequest: state.models.request,
    keepAwake: state.visible && camera.phase === "live",
  };
}

/** A video stands still while nobody looks on, so that nothing of it is missed. */
function playbackOf(state, awake) {
  const { isPaused, speed, loops } = state.playback;
  const plays = !isPaused && awake && !isFrozen(state) && state.server.phase === "ready";
  return { plays, speed, loops };
}
