// Looks at the live picture for things. A glance every moment moves the boxes with their things; now and
// then a look sends a frame to the server's detector, one at a time.

import { mustLook, nextGlance, nextLook } from "./boxes.js";
import { wordsToFind } from "./find.js";
import { hasChanged, pictureOf, shiftOf } from "./motion.js";
import { movedBy } from "./tracks.js";

/**
 * Returns { update(state), destroy() }. `server` has `fetchBoxes` of io/api.js, `glances` is as in
 * io/glances.js. Results go to `dispatch(event)`.
 */
export function createLooker({ server, glances, dispatch, now }) {
  let state = null;
  let timer;
  /** The glance and the look in flight. */
  let glancing = null;
  let looking = null;
  /** The picture of the last glance. */
  let last = null;
  /** The picture of the last frame that was answered, and the words that it was searched for. */
  let answered = { picture: null, words: "" };

  async function glance() {
    const controller = new AbortController();
    glancing = controller;
    const frame = await glances.glance().catch(() => null);
    if (controller.signal.aborted) return;
    glancing = null;
    const picture = frame && pictureOf(frame.luma, frame.width, frame.height);
    const isNews = picture === null || isNew(picture, answered.picture);
    if (picture && !looking && nextLook(state) <= now() && (isNews || isOwed())) look(picture);
    const shifts = picture && last && hasChanged(last, picture) ? shiftsTo(picture) : {};
    last = picture;
    dispatch({ type: "boxes-followed", shifts, isNews });
  }

  const isNew = (picture, before) => before === null || hasChanged(before, picture);

  /** Whether a look is due although the scene has not changed. */
  const isOwed = () => mustLook(state, now()) || answered.words !== wordsToFind(state.find);

  /** How far each thing has moved since the last glance. */
  function shiftsTo(picture) {
    const entries = state.boxes.tracks.map(({ id, box }) => [id, shiftOf(last, picture, box)]);
    return Object.fromEntries(entries);
  }

  async function look(picture) {
    const controller = new AbortController();
    looking = controller;
    const { signal } = controller;
    const words = wordsToFind(state.find);
    const report = (event) => {
      if (signal.aborted) return;
      looking = null;
      dispatch(event);
    };
    dispatch({ type: "look-started" });
    try {
      const blob = await glances.look();
      if (signal.aborted) return;
      const { boxes, unknown, costMs } = await server.fetchBoxes({ blob, words, signal });
      if (signal.aborted) return;
      answered = { picture, words };
      const movedBoxes = boxes.map((one) => moved(one, picture));
      report({ type: "boxes-received", boxes: movedBoxes, words, unknown, costMs });
    } catch (error) {
      report({ type: "boxes-failed", message: error.message, retryAfterS: error.retryAfterS });
    }
  }

  /** A box of an answer, which is about a frame of some moments ago, where its thing is by now. */
  function moved(one, picture) {
    return last ? { ...one, box: movedBy(one.box, shiftOf(picture, last, one.box)) } : one;
  }

  function stop() {
    glancing?.abort();
    looking?.abort();
    [glancing, looking, last] = [null, null, null];
    answered = { picture: null, words: "" };
  }

  return {
    update(next) {
      state = next;
      clearTimeout(timer);
      const at = nextGlance(state);
      if (at === null) stop();
      else if (!glancing) timer = setTimeout(glance, Math.max(0, at - now()));
    },
    destroy() {
      clearTimeout(timer);
      stop();
    },
  };
}
