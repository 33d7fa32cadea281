// The browser's own speech, by voices of this computer alone: others send the text to a server.

/** How long a browser may take to list its voices. */
const LIST_MS = 3_000;
/** An utterance that has not begun by then, or takes this much longer than its text, has failed. */
const BEGIN_MS = 4_000;
const SLACK_MS = 6_000;
/** The slowest speech that counts as working. */
const SLOWEST_LETTER_MS = 150;
/** Failures in a row after which the voice is given up. */
const MOST_FAILURES = 2;

/**
 * Returns { speak(message, onEnd), cancel(), destroy() }. `message` is { text, rate, voiceId };
 * `onEnd(hasFailed)` is called once it was said, or could not be.
 *
 * `synthesis` is window.speechSynthesis, or undefined. `onVoices(voices)` gets the local voices as
 * { id, name, lang, isDefault }, also if there are none; `onFailed()` is called if the voice does not work.
 */
export function createSpeech(synthesis, { onVoices, onFailed }) {
  let current = null;
  let failures = 0;

  const localVoices = () => (synthesis?.getVoices() ?? []).filter((voice) => voice.localService);
  const described = ({ voiceURI: id, name, lang, default: isDefault }) => ({
    ...{ id, name, lang, isDefault },
  });
  const list = () => onVoices(localVoices().map(described));
  const timer = setTimeout(() => localVoices().length > 0 || list(), LIST_MS);
  synthesis?.addEventListener?.("voiceschanged", list);
  if (localVoices().length > 0) list();

  function finish(utterance, hasFailed) {
    if (current?.utterance !== utterance) return;
    const { onEnd, watchdog } = current;
    clearTimeout(watchdog);
    current = null;
    failures = hasFailed ? failures + 1 : 0;
    if (failures >= MOST_FAILURES) {
      failures = 0;
      onFailed();
    }
    onEnd(hasFailed);
  }

  function watch(utterance, ms) {
    clearTimeout(current.watchdog);
    current.watchdog = setTimeout(() => {
      // The browser is asked to stop, in case that it only forgot to tell.
      synthesis.cancel();
      finish(utterance, true);
    }, ms);
  }

  function cancel() {
    if (!current) return;
    clearTimeout(current.watchdog);
    current = null;
    synthesis?.cancel();
  }

  return {
    speak({ text, rate, voiceId }, onEnd) {
      cancel();
      const voice = localVoices().find(({ voiceURI }) => voiceURI === voiceId);
      // An empty text stops Chromium's speech for good, and without a voice the browser may choose one
      // that sends the text away.
      if (!voice || !text.trim()) {
        setTimeout(onEnd, 0, false);
        return;
      }
      const utterance = new SpeechSynthesisUtterance(text);
      utterance.voice = voice;
      utterance.lang = voice.lang;
      utterance.rate = rate;
      current = { utterance, onEnd, watchdog: null };
      watch(utterance, BEGIN_MS);
      utterance.addEventListener("start", () => {
        const ms = SLACK_MS + (text.length * SLOWEST_LETTER_MS) / rate;
        if (current?.utterance === utterance) watch(utterance, ms);
      });
      utterance.addEventListener("end", () => finish(utterance, false));
      utterance.addEventListener("error", ({ error }) => {
        // Before a press a browser lets no page speak; that is no fault of the voice.
        finish(utterance, error !== "not-allowed");
      });
      synthesis.speak(utterance);
    },
    cancel,
    destroy() {
      cancel();
      clearTimeout(timer);
      synthesis?.removeEventListener?.("voiceschanged", list);
    },
  };
}
