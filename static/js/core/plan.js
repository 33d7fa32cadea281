// What a state asks of the world. Pure: the driver carries it out, the tests read it.

import { changeOf } from "./server.js";
import { promptOf } from "./state.js";

/**
 * - `camera`: null for off, else { request, deviceId }: the opening that should be under way or live.
 * - `askAt`: when to ask the server for its state, or null for not now.
 * - `lookAt`: when to take the next frame, or null for not now.
 * - `passId`: the one frame that may be under way; any other is dropped.
 * - `modelRequest`: what should be asked about models, { id, action, model }, or null.
 * - `keepAwake`: whether the screen should stay on.
 */
export function plan(state) {
  const { camera, pass, server, settings, visible, wanted } = state;
  const cameraOn = wanted && state.secure && ["opening", "live"].includes(camera.phase);
  const canLook = visible && camera.phase === "live" && server.phase === "ready" && !pass;
  // A frame under way shows by itself whether the server is there, but not how far a change has come.
  const isSent = pass && pass.step !== "looking";
  const answersAnyway = server.phase === "ready" && isSent && !changeOf(state);
  // What is told while a request about models is on its way may be older than its answer.
  const canAsk = visible && !answersAnyway && !state.models.request;
  return {
    camera: cameraOn ? { request: camera.request, deviceId: settings.deviceId } : null,
    askAt: canAsk ? server.askAt : null,
    lookAt: canLook && promptOf(state) !== null ? state.pace.lookAt : null,
    passId: pass?.id ?? null,
    modelRequest: state.models.request,
    keepAwake: visible && camera.phase === "live",
  };
}
