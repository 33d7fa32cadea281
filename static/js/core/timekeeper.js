// Carries out the jobs of the timeline, looks for what is new while its tab is open, and tells the server why nothing is
// captioned.

import { sourceTitle } from "./source.js";
import { timelinePollAt } from "./timeline.js";

/** Why nobody looks, as the server calls it; what it sees itself is not told. */
const GAPS = {
  stopped: "stopped",
  frozen: "stopped",
  paused: "stopped",
  hidden: "hidden",
  camera: "camera",
};

/**
 * Returns { update(state), destroy() }. `server` has the functions of io/timeline.js; results go to `dispatch(event)`.
 * `cameraName` is the name of this page's camera on the server.
 */
export function createTimekeeper({ server, dispatch, now, cameraName }) {
  /** The jobs in flight, an AbortController by the job's id. */
  const inFlight = new Map();
  let timer;
  let entries = null;
  let cause = null;
  /** Whether there was a caption since the last gap. */
  let hasCaptioned = false;

  const DO = {
    settings: (_, signal) => server.fetchSettings(signal),
    choose: ({ changes }, signal) => server.postSettings(changes, signal),
    list: ({ fields }, signal) => server.fetchMoments(fields, signal),
    days: ({ day, camera }, signal) => server.fetchDay({ ...day, camera }, signal),
    delete: ({ moment, from, to }, signal) =>
      server.deleteMoments({ id: moment?.id ?? null, from, to }, signal),
    undo: ({ deletion }, signal) => server.postUndo(deletion, signal),
    keep: ({ moment, kept }, signal) => server.postKeep(moment, kept, signal),
    async picture({ moment, panel }, signal) {
      const picture = await server.fetchPicture(moment.id, signal);
      if (!signal.aborted) dispatch({ type: "moment-pictured", moment, panel, ...picture });
    },
    async ask({ id, question, from, to, camera }, signal) {
      const told = (type) => (fields) => {
        if (!signal.aborted) dispatch({ type, id, ...fields });
      };
      const onFound = told("timeline-answer-begun");
      const onText = told("timeline-answer-text");
      const asked = { question, from, to, camera };
      const { text, sentences, seconds } = await server.askTimeline(
        { ...asked, onFound, onText },
        signal,
      );
      told("timeline-answer-done")({ text, sentences, seconds });
    },
  };

  async function start(job) {
    const controller = new AbortController();
    inFlight.set(job.id, controller);
    const { signal } = controller;
    const { id, what } = job;
    let event;
    try {
      event = { type: "timeline-job-done", answer: await DO[what](job, signal) };
    } catch ({ kind = "bad_answer", message }) {
      event = { type: "timeline-job-failed", kind, message };
    }
    if (signal.aborted) return;
    if (what === "ask" && event.kind) dispatch({ ...event, type: "timeline-answer-failed", id });
    dispatch({ id, ...event });
    inFlight.delete(id);
  }

  function reportGap(state) {
    const before = cause;
    const { session } = state;
    if (session.cause === null && session.entries !== entries) hasCaptioned = true;
    entries = session.entries;
    cause = session.cause;
    const keeps = !["off", undefined].includes(state.server.status?.timeline);
    if (cause === before || !hasCaptioned || !keeps || !(cause in GAPS)) return;
    hasCaptioned = false;
    server.postGap({ camera: cameraName, source: sourceTitle(state), why: GAPS[cause] });
  }

  return {
    update(state) {
      const { jobs } = state.timeline;
      for (const [id, controller] of inFlight) {
        if (jobs.some((job) => job.id === id)) continue;
        controller.abort();
        inFlight.delete(id);
      }
      jobs.filter(({ id }) => !inFlight.has(id)).forEach(start);
      reportGap(state);
      clearTimeout(timer);
      const pollAt = timelinePollAt(state);
      const poll = () => dispatch({ type: "timeline-poll-due" });
      if (pollAt !== null) timer = setTimeout(poll, Math.max(0, pollAt - now()));
    },
    destroy() {
      clearTimeout(timer);
      for (const controller of inFlight.values()) controller.abort();
    },
  };
}
