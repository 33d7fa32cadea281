// What serves the ear beside the voice: sounds and vibrations for events, and the picture as one large
// target for fingers while Sightline speaks.

import { createListeners, setAttribute } from "./dom.js";
import { cueOf } from "../core/cues.js";
import { DOUBLE_TAP_MS, initialTouch, touched } from "../core/gestures.js";

/** `earcons` is as in io/earcons.js. */
export function mountCues(earcons) {
  let last = null;
  return {
    update(state) {
      const cue = last && state !== last ? cueOf(last, state) : null;
      const { sounds, vibrates } = state.settings;
      if (cue) earcons.play(cue, { sounds, vibrates });
      last = state;
    },
    destroy: () => earcons.destroy(),
  };
}

const COMMANDS = {
  tap: "now-asked",
  "double-tap": "detail-asked",
  "two-fingers": "voice-silenced",
};
/** The parts of the picture that have a press of their own. */
const OWN_PRESS = "button, a, input, select, textarea, summary, [role=button]";

/** Touches of `picture`, only while Sightline speaks; `ask()` begins a question. */
export function mountTouch(picture, dispatch, ask) {
  const { listen, destroy } = createListeners();
  let touch = initialTouch;
  let isOn = false;
  let timer;

  function follow(event) {
    const next = touched(touch, { at: performance.now(), ...event });
    touch = next.touch;
    if (next.gesture === "hold") ask();
    else if (next.gesture) dispatch({ type: COMMANDS[next.gesture] });
    clearTimeout(timer);
    if (touch.tappedAt !== null)
      timer = setTimeout(() => follow({ type: "waited" }), DOUBLE_TAP_MS);
  }

  const types = {
    pointerdown: "down",
    pointermove: "move",
    pointerup: "up",
    pointercancel: "cancel",
  };
  for (const [name, type] of Object.entries(types)) {
    listen(picture, name, ({ pointerType, pointerId: id, clientX: x, clientY: y, target }) => {
      const isOwn = type === "down" && target.closest(OWN_PRESS);
      if (isOn && pointerType === "touch" && !isOwn) follow({ type, id, x, y });
    });
  }
  listen(picture, "contextmenu", (event) => {
    if (isOn && touch.fingers.length > 0) event.preventDefault();
  });

  return {
    update({ settings }) {
      isOn = settings.voice;
      setAttribute(picture, "data-touch", isOn ? "" : null);
    },
    destroy() {
      clearTimeout(timer);
      destroy();
    },
  };
}
