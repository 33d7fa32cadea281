// The panel that chooses what is looked at: a camera, a window or the screen, files, or the sample.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { ACCEPTED } from "../io/chosen-files.js";
import { cameraChoices } from "../words/camera.js";
import { privacyText } from "../words/destination.js";

/** `act` carries out the actions of notices; `openFiles` reads files. */
export function mountSource(root, opener, dispatch, act, openFiles) {
  const camera = root.querySelector("#camera");
  const files = root.querySelector("#files");
  const ways = [...root.querySelectorAll("[data-action]")];
  const screenHint = root.querySelector("#screen-hint");
  const privacy = root.querySelector(".source-privacy");
  const { listen, destroy } = createListeners();
  let kind = "camera";

  files.accept = ACCEPTED;
  listen(camera, "change", () => {
    const deviceId = camera.value;
    if (kind === "camera") dispatch({ type: "setting-changed", name: "deviceId", value: deviceId });
    else dispatch({ type: "camera-chosen", deviceId });
  });
  listen(root, "click", ({ target }) => {
    const { action } = target.closest("button")?.dataset ?? {};
    if (action) act(action);
  });
  listen(files, "change", () => {
    if (files.files.length > 0) openFiles([...files.files]);
    // The same file may be chosen again.
    files.value = "";
  });

  return {
    update(state) {
      const { source, secure, canShare, server } = state;
      kind = source.kind;
      const { options, selected } = cameraChoices(state);
      setOptions(camera, options);
      setProperty(camera, "value", selected);
      setProperty(camera, "disabled", !secure);
      for (const way of ways) {
        const isShown = way.dataset.kind === kind;
        setAttribute(way, "aria-current", isShown ? "true" : null);
        if (way.dataset.kind === "camera") setProperty(way, "hidden", kind === "camera" || !secure);
        if (way.dataset.kind === "screen") setProperty(way, "disabled", !canShare || !secure);
      }
      setText(screenHint, screenText(state));
      setText(privacy, privacyText(server.status, location.hostname));
    },
    destroy,
  };
}

function screenText({ canShare, secure }) {
  if (!secure) return "Browsers share windows only with secure pages, such as localhost.";
  return canShare
    ? "The browser asks which one. Stop ends the sharing."
    : "This browser cannot share a window; those of phones cannot.";
}
