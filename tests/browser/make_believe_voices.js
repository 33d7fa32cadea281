// A browser's speech, for a page's init script: two voices of this computer and one of a server. What is
// spoken is noted in `window.spoken`, [{ text, voice, rate, end }]; `end` says how it ended: said |
// cancelled. `window.speech` has the ways in which a voice goes wrong.
(() => {
  const LETTER_MS = 5;
  const voice = (name, lang, localService) => ({ name, lang, localService, voiceURI: name });
  const VOICES = [
    voice("Cloud", "en-US", false),
    voice("Anna", "de-DE", true),
    voice("Brian", "en-GB", true),
  ];
  window.spoken = [];
  window.speech = { hasVoices: true, ends: true, fails: false };

  class Utterance extends EventTarget {
    constructor(text) {
      super();
      Object.assign(this, { text, voice: null, lang: "", rate: 1 });
    }
    tell(type, fields = {}) {
      this.dispatchEvent(Object.assign(new Event(type), fields));
    }
  }

  class Synthesis extends EventTarget {
    #current = null;
    getVoices() {
      return window.speech.hasVoices ? VOICES : [];
    }
    speak(utterance) {
      if (window.speech.fails) {
        setTimeout(() => utterance.tell("error", { error: "synthesis-failed" }), 1);
        return;
      }
      const { text, voice: by, rate } = utterance;
      const note = { text, voice: by?.name ?? "", rate, end: null };
      window.spoken.push(note);
      const end = () => {
        if (this.#current?.note !== note || !window.speech.ends) return;
        this.#current = null;
        note.end = "said";
        utterance.tell("end");
      };
      this.#current = { note, utterance, timer: setTimeout(end, (text.length * LETTER_MS) / rate) };
      setTimeout(() => utterance.tell("start"));
    }
    cancel() {
      if (!this.#current) return;
      const { note, utterance, timer } = this.#current;
      clearTimeout(timer);
      note.end = "cancelled";
      this.#current = null;
      setTimeout(() => utterance.tell("error", { error: "interrupted" }));
    }
  }

  Object.defineProperty(window, "speechSynthesis", { value: new Synthesis() });
  Object.defineProperty(window, "SpeechSynthesisUtterance", { value: Utterance });
})();
