// The top of the page: what is looked at, the model with its state, where pictures go, the voice and the settings.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { shownCaption } from "../core/shown.js";
import { destinationOf } from "../words/destination.js";
import { hintsAtModels } from "../words/models.js";
import { serverSummary } from "../words/page.js";
import { sourceName } from "../words/source.js";

/** `act` carries out the actions of notices; here "models" shows the list of models. */
export function mountHead(root, dispatch, act) {
  const source = root.querySelector("#open-source");
  const sourceText = source.querySelector(".source-name");
  const badge = root.querySelector("#badge");
  const badgeText = badge.querySelector(".badge-text");
  const destination = root.querySelector("#destination");
  const destinationText = destination.querySelector(".destination-text");
  const openers = {
    source,
    voice: root.querySelector("#open-voice"),
    preferences: root.querySelector("#open-preferences"),
  };
  const { listen, destroy } = createListeners();

  listen(badge, "click", () => {
    if (badge.hasAttribute("data-hint"))
      dispatch({ type: "setting-changed", name: "modelHint", value: false });
    act("models");
  });
  for (const [panel, opener] of Object.entries(openers)) {
    listen(opener, "click", () => dispatch({ type: "panel-toggled", panel }));
  }

  function showDestination(next) {
    setProperty(destination, "hidden", next === null);
    if (!next) return;
    setAttribute(destination, "data-leaves", next.leaves ? "" : null);
    setText(destinationText, next.text);
  }

  return {
    update(state) {
      const name = sourceName(state);
      setText(sourceText, name);
      setAttribute(source, "aria-label", `Source: ${name}`);
      setAttribute(source, "title", `Source: ${name}`);
      const summary = serverSummary(state);
      setAttribute(badge, "data-tone", summary.tone);
      setText(badgeText, summary.text);
      const hints = hintsAtModels(state, shownCaption(state));
      setAttribute(badge, "data-hint", hints ? "" : null);
      setAttribute(
        badge,
        "title",
        hints ? "nano knows drawn shapes. Here are models for real scenes." : "Model",
      );
      showDestination(destinationOf(state, location.hostname));
      for (const [panel, opener] of Object.entries(openers)) {
        setAttribute(opener, "aria-expanded", String(state.panel === panel));
      }
    },
    destroy,
  };
}
