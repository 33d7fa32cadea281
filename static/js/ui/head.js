// The top of the page: the camera, the model with its state, where pictures go, the voice and the settings.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { cameraChoices } from "../words/camera.js";
import { destinationOf } from "../words/destination.js";
import { serverSummary } from "../words/page.js";

/** `act` carries out the actions of notices; here "models" shows the list of models. */
export function mountHead(root, dispatch, act) {
  const camera = root.querySelector("#camera");
  const badge = root.querySelector("#badge");
  const badgeText = badge.querySelector(".badge-text");
  const destination = root.querySelector("#destination");
  const destinationText = destination.querySelector(".destination-text");
  const openers = {
    voice: root.querySelector("#open-voice"),
    preferences: root.querySelector("#open-preferences"),
  };
  const { listen, destroy } = createListeners();

  listen(camera, "change", () => {
    dispatch({ type: "setting-changed", name: "deviceId", value: camera.value });
  });
  listen(badge, "click", () => act("models"));
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
      const { options, selected } = cameraChoices(state);
      setOptions(camera, options);
      setProperty(camera, "value", selected);
      const summary = serverSummary(state);
      setAttribute(badge, "data-tone", summary.tone);
      setText(badgeText, summary.text);
      showDestination(destinationOf(state, location.hostname));
      for (const [panel, opener] of Object.entries(openers)) {
        setAttribute(opener, "aria-expanded", String(state.panel === panel));
      }
    },
    destroy,
  };
}
