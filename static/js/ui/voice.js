// The panel of the voice: its commands as buttons, who speaks, when and how much, and what was told; and
// the button that opens it.

import {
  createElement,
  createListeners,
  setAttribute,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { clockTime } from "../words/session.js";
import { VOICE_FORMATS, voiceHint, voiceLabel } from "../words/voice.js";

const ANY_VOICE = { value: "", label: "by language" };

export function mountVoice(root, opener, dispatch) {
  const form = root.querySelector("form");
  const hint = root.querySelector(".voice-hint");
  const retry = root.querySelector(".voice-retry");
  const list = root.querySelector(".voice-log");
  const label = opener.querySelector(".button-text");
  const { listen, destroy } = createListeners();
  let shownId = 0;

  listen(root, "click", ({ target }) => {
    const { command } = target.closest("button")?.dataset ?? {};
    if (command) dispatch({ type: command });
  });
  listen(form, "input", ({ target }) => {
    if (target.name === "who") dispatch({ type: "speaker-chosen", who: target.value });
    else dispatch({ type: "setting-changed", name: target.name, value: valueOf(target) });
  });
  listen(form, "submit", (event) => event.preventDefault());
  listen(retry, "click", () => dispatch({ type: "voice-retried" }));

  function showLog({ log, lastLogId }) {
    for (const entry of log.filter(({ id }) => id > shownId)) {
      const item = createElement("li", "");
      setAttribute(item, "data-kind", entry.kind);
      setAttribute(item, "data-by", entry.by);
      const time = createElement("span", "voice-log-time", clockTime(entry.clock));
      const text = createElement("span", "voice-log-text", entry.text);
      text.dir = "auto";
      item.append(time, text);
      list.prepend(item);
    }
    shownId = lastLogId;
    while (list.childElementCount > log.length) list.lastElementChild.remove();
  }

  return {
    update(state) {
      const { settings, voice } = state;
      const who = settings.voice ? "sightline" : settings.announces ? "reader" : "nobody";
      for (const radio of form.elements.who) setProperty(radio, "checked", radio.value === who);
      const voices = voice.voices.map(({ id, name, lang }) => ({
        value: id,
        label: `${name} (${lang})`,
      }));
      setOptions(form.elements.voiceName, [ANY_VOICE, ...voices]);
      for (const name of ["voiceWhen", "voiceMuch", "voiceName", "voiceRate", "voicePauseS"]) {
        setProperty(form.elements[name], "value", String(settings[name]));
      }
      for (const [name, format] of Object.entries(VOICE_FORMATS)) {
        setText(form.elements[`${name}Value`], format(settings[name]));
        setAttribute(form.elements[name], "aria-valuetext", format(settings[name]));
      }
      for (const name of ["sounds", "vibrates"])
        setProperty(form.elements[name], "checked", settings[name]);
      setText(hint, voiceHint(state));
      setProperty(retry, "hidden", voice.phase !== "failed" || !settings.voice);
      showLog(voice);
      setText(label, voiceLabel(state));
      setAttribute(opener, "data-speaking", voice.saying ? "" : null);
    },
    destroy,
  };
}

function valueOf(control) {
  if (control.type === "checkbox") return control.checked;
  return control.type === "range" ? Number(control.value) : control.value;
}
