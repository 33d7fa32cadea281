// The page's state and its one reducer: a state and an event in, the next state out. No DOM, clock or
// randomness: each event carries the time `at` (monotonic milliseconds) and, if needed, a `random`
// number (0..1). plan.js derives the work to do from the state, words/ the text to show.
//
// Each subject has its own part of the state and its own events, in the file of its handlers.

import { boxesHandlers, initialBoxes, withoutOldBoxes } from "./boxes.js";
import { cameraHandlers, initialCamera } from "./camera.js";
import { explainedHandlers, initialExplained } from "./explained.js";
import { initialFind } from "./find.js";
import { hiddenHandlers, initialHidden } from "./hidden.js";
import { gaugesHandlers, initialGauges, withoutOldGauges } from "./gauges.js";
import { freshPace } from "./pace.js";
import { initialRequest, requestHandlers } from "./request.js";
import { initialRunning, runningHandlers } from "./running.js";
import { initialLabels, labelsHandlers } from "./labels.js";
import { pictureHandlers } from "./pictures.js";
import { playbackHandlers } from "./playback.js";
import { initialModels, initialServer, serverHandlers } from "./server.js";
import { sessionHandlers, withInterruptions } from "./session.js";
import { lastIdOf, lastTurnOf, sessionOf } from "./session-kept.js";
import { settingsHandlers, validSettings } from "./settings.js";
import { NO_CAPTION, withWhole } from "./shown.js";
import { initialSource } from "./source.js";
import { sourceHandlers } from "./source-changes.js";
import { initialTimeline, timelineHandlers } from "./timeline.js";
import { timelineAnswerHandlers } from "./timeline-answer.js";
import { initialStudies, studyHandlers, withModelBack } from "./studies.js";
import { initialTabs, tabsHandlers } from "./tabs.js";
import { initialThread, threadHandlers, withoutCompared } from "./thread.js";
import { initialView, viewHandlers } from "./view.js";
import { initialVoice, voiceHandlers } from "./voice.js";

/**
 * `secure`: the browser lets this page use a camera at all. `platform`: the operating system, as in
 * io/browser.js, or "" if unknown. `canShare`: it can share windows. `host`: the name and
 * port in the page's address. `kept`: the session before a reload, as in session-kept.js.
 */
export function initialState(start) {
  const { settings, secure, visible, at, platform = "", canShare = false } = start;
  const { host = "localhost", kept = sessionOf(null) } = start;
  return {
    settings: validSettings(settings),
    secure,
    platform,
    canShare,
    host,
    visible,
    ...initialRunning,
    /** The open panel: "preferences", "history", "ask", "explain", "voice", "source", or null. */
    panel: null,
    /** What is in view, and the stills, oldest first; see view.js and thread.js. */
    view: initialView,
    stills: [],
    ...initialThread,
    ...initialLabels,
    ...initialExplained,
    ...initialStudies,
    ...initialGauges,
    lastTurnId: lastTurnOf(kept.session),
    ...initialHidden,
    ...initialTabs,
    server: initialServer(at),
    models: initialModels,
    ...initialSource,
    camera: initialCamera(at),
    ...initialRequest,
    lastRequestId: lastIdOf(kept.session),
    /** When to capture next, when a frame was last sent, and whether the next is sent if unchanged. */
    pace: freshPace(at),
    /** The things in the picture, and the one that the person looks for. */
    boxes: initialBoxes(at),
    find: initialFind,
    /** The newest caption and the last finished one; see shown.js. */
    caption: NO_CAPTION,
    whole: NO_CAPTION,
    /** This tab's moments and gaps; see session.js. */
    session: kept.session,
    /** What the server keeps; see timeline.js. */
    timeline: initialTimeline,
    /** Who says what is to be said, and what was said. */
    voice: initialVoice,
    /** Whether this tab's storage keeps the session for a reload, and the browser's the settings. */
    keepsSession: true,
    keepsSettings: true,
    /** Captions were running when the page was reloaded, and nobody has said since whether to go on. */
    wasRunning: kept.wasRunning,
    /** What was looked at before the reload, as source.js has it, if it was no camera; else null. */
    lostSource: kept.lostSource ?? null,
  };
}

export function reduce(state, event) {
  const done = withModelBack(handlers[event.type](state, event));
  const next = withoutOldGauges(withoutOldBoxes(done));
  return withInterruptions(withoutCompared(state, withWhole(state, next)), event);
}

const handlers = {
  ...serverHandlers,
  ...cameraHandlers,
  ...boxesHandlers,
  ...sourceHandlers,
  ...playbackHandlers,
  ...pictureHandlers,
  ...sessionHandlers,
  ...settingsHandlers,
  ...voiceHandlers,
  ...viewHandlers,
  ...hiddenHandlers,
  ...tabsHandlers,
  ...threadHandlers,
  ...timelineHandlers,
  ...timelineAnswerHandlers,
  ...labelsHandlers,
  ...explainedHandlers,
  ...studyHandlers,
  ...gaugesHandlers,
  ...runningHandlers,
  ...requestHandlers,
};
