// What is told for the ear: answers, problems, what happens, and captions. Who tells it is the person's
// screen reader, by live regions, or Sightline's own voice; never both.

import { createListeners } from "./dom.js";
import { createRegions } from "./regions.js";
import { ended, failed, held, initialSpeech, silenced, stepped, told } from "../core/speech.js";
import {
  detailsAsked,
  initialTelling,
  isDetailDue,
  seen,
  toTell,
  toldOf,
} from "../core/telling.js";
import { stillOf } from "../core/view.js";
import { lastWords, speakerOf, voiceFor } from "../core/voice.js";
import { NO_MESSAGE, nextMessage } from "../words/messages.js";
import { changeAnnouncement } from "../words/models.js";
import { dateText } from "../words/session.js";
import { SAFETY, speakerText, toldCaption } from "../words/voice.js";

/** How fast a screen reader speaks, about. */
const LETTERS_PER_S = 14;
/** A person who has typed nothing for this long is not typing. */
const TYPING_MS = 2_000;
const TEXT_FIELDS = "textarea, input:not([type=checkbox], [type=radio], [type=range])";
/** While the focus is in one of these, a screen reader reads it. */
const READ = ".history :is(.panel-body, .timeline-list)";

/** `regions` are { caption, answer, alert, news }; `voice` is as in io/speech.js. */
export function mountAnnouncer(regions, voice, dispatch) {
  const reader = createRegions(regions);
  const { listen, destroy } = createListeners();
  let speech = initialSpeech;
  let telling = initialTelling;
  let message = NO_MESSAGE;
  let change = "";
  let speaker = null;
  let command = 0;
  let state = null;
  let spokenId = 0;
  let safetyDay = "";
  let typedAt = -Infinity;

  listen(window, "input", ({ target }) => {
    if (target.matches(TEXT_FIELDS)) typedAt = performance.now();
  });
  listen(window, "submit", () => {
    typedAt = -Infinity;
  });

  function isHeld(at) {
    const focus = document.activeElement;
    const types = focus?.matches(TEXT_FIELDS) && at - typedAt < TYPING_MS;
    return Boolean(types || focus?.closest(READ));
  }

  function tell(kind, text, lang = null) {
    speech = told(speech, { kind, text, lang });
  }

  /** Who speaks may have changed: then what was being said stops. */
  function followSpeaker() {
    const text = speakerText(speaker, state);
    const next = speakerOf(state);
    const hasFailed = speaker === "sightline" && next === "reader" && state.settings.voice;
    // What a voice that has failed was saying is told by the screen reader.
    if (hasFailed) speech = failed(speech, speech.speaking?.id);
    else if (next !== speaker) {
      speech = silenced(speech);
      speak();
    }
    speaker = next;
    if (text) tell("news", text);
  }

  function followCommand() {
    const { id, name } = state.voice.command;
    if (id === command) return;
    command = id;
    speech = silenced(speech);
    const words = lastWords(state);
    if (name === "again" && words) tell("answer", words.text, words.lang);
  }

  function followEvents(at) {
    const before = message;
    message = nextMessage(message, state, at);
    if (message.count > before.count) tell(message.isAlert ? "alert" : "news", message.text);
    const nextChange = changeAnnouncement(state, at);
    if (nextChange && nextChange !== change) tell("news", nextChange);
    change = nextChange;
    const today = dateText(Date.now());
    const wasSaid = [safetyDay, state.settings.safetyDay].includes(today);
    if (state.started && speaker === "sightline" && !wasSaid) {
      safetyDay = today;
      tell("alert", SAFETY, "en");
      dispatch({ type: "safety-said", day: today });
    }
  }

  /** The part of the present caption that is to be told, or null; an answer is told at once. */
  function captionToTell(at) {
    const caption = toldCaption(state);
    telling = seen(telling, caption, at);
    const isAway = !state.started || state.session.cause !== null;
    if (isAway && !stillOf(state)) return null;
    const { voiceWhen: when, voiceMuch: much } = state.settings;
    if (isDetailDue(telling, state, at)) {
      telling = detailsAsked(telling);
      dispatch({ type: "details-due" });
    }
    const next = toTell(telling, caption, { when, much }, at);
    if (next?.kind !== "answer") return next && { ...next, caption };
    telling = toldOf(telling, caption, next.text);
    tell("answer", next.text, next.lang);
    return null;
  }

  function step(at) {
    let caption = state.visible ? captionToTell(at) : null;
    for (;;) {
      const before = speech.speaking?.id ?? null;
      speech = stepped(speech, caption, at);
      const { speaking } = speech;
      if (speaking === null || speaking.id === before) break;
      if (speaking.kind === "caption") {
        telling = toldOf(telling, caption.caption, speaking.text);
        caption = null;
      }
      if (speaker !== "sightline") write(speaking, at);
    }
    if (speaker === "sightline") speak();
  }

  /** A screen reader has a queue of its own: what is written is told, and takes its time. */
  function write({ id, kind, text, lang }, at) {
    if (speaker === "reader") {
      reader.write(kind, text, lang);
      dispatch({ type: "said", kind, text, lang, by: "reader" });
    }
    const { voicePauseS } = state.settings;
    const seconds = text.length / LETTERS_PER_S + voicePauseS;
    speech = ended(speech, id, Math.max(at, speech.freeAt) + seconds * 1000);
  }

  function speak() {
    const { speaking } = speech;
    if ((speaking?.id ?? 0) === spokenId) return;
    spokenId = speaking?.id ?? 0;
    dispatch({ type: "saying-changed", kind: speaking?.kind ?? null });
    if (!speaking) {
      voice.cancel();
      return;
    }
    const { id, kind, text, lang } = speaking;
    dispatch({ type: "said", kind, text, lang, by: "sightline" });
    const { voiceRate: rate, voicePauseS } = state.settings;
    // The page's own words are English.
    const voiceId = voiceFor(state, lang ?? "en")?.id ?? "";
    voice.speak({ text, rate, voiceId }, (hasFailed) => {
      const at = performance.now();
      speech = hasFailed ? failed(speech, id) : ended(speech, id, at + voicePauseS * 1000);
      if (hasFailed) spokenId = 0;
      step(at);
    });
  }

  return {
    update(next, at) {
      state = next;
      followSpeaker();
      followCommand();
      if (state.visible) followEvents(at);
      speech = held(speech, isHeld(at));
      // Until the voices are listed, what is to be said waits.
      if (speaker === "sightline" && state.voice.phase === "waiting") return;
      step(at);
    },
    destroy() {
      destroy();
      voice.cancel();
      reader.destroy();
    },
  };
}
