// The picture with its shape, the welcome text while there is none, and the last picture once captions
// are stopped.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { isMirrored } from "../core/source.js";
import { stillOf } from "../core/view.js";
import { noticeOf, welcomeOf } from "../words/page.js";
import { pictureLabel, stillLabel } from "../words/source.js";

/** `act` carries out the actions of notices, some of which the welcome offers. */
export function mountStage(root, act) {
  const video = root.querySelector("#video");
  const still = root.querySelector("#still");
  const last = root.querySelector("#last-frame");
  const welcome = root.querySelector("#welcome");
  const lead = welcome.querySelector(".welcome-lead");
  const loading = welcome.querySelector(".welcome-loading");
  const privacy = welcome.querySelector(".welcome-privacy");
  const { listen, destroy } = createListeners();
  let wasStarted = false;
  let hasLast = false;

  let shown = null;
  let url = null;

  function showShape() {
    const [width, height] = shown
      ? [shown.width, shown.height]
      : [video.videoWidth, video.videoHeight];
    if (width) root.style.setProperty("--aspect", String(width / height));
  }
  listen(welcome, "click", ({ target }) => {
    const { action } = target.closest("button")?.dataset ?? {};
    if (action) act(action);
  });
  listen(video, "resize", showShape);
  listen(video, "loadedmetadata", showShape);

  function showStill(next) {
    if (url) URL.revokeObjectURL(url);
    shown = next;
    url = next ? URL.createObjectURL(next.picture) : null;
    setProperty(still, "hidden", next === null);
    if (url) still.src = url;
    else still.removeAttribute("src");
    showShape();
  }

  /** Keeps the video's picture, before the camera is closed. */
  function keepLast() {
    hasLast = video.videoWidth > 0;
    last.width = video.videoWidth;
    last.height = video.videoHeight;
    if (hasLast) last.getContext("2d").drawImage(video, 0, 0);
  }

  return {
    update(state, at) {
      const { camera, started } = state;
      const isLive = started && camera.phase === "live";
      if (wasStarted && !started) keepLast();
      wasStarted = started;
      setAttribute(root, "data-live", isLive ? "" : null);
      const next = stillOf(state);
      if (next?.id !== shown?.id) showStill(next);
      setAttribute(root, "data-frozen", next ? "" : null);
      setAttribute(root, "data-picture", next || isLive || (hasLast && !started) ? "" : null);
      const mirror = isMirrored(state) ? "" : null;
      for (const picture of [still, video, last]) setAttribute(picture, "data-mirror", mirror);
      setAttribute(video, "aria-label", pictureLabel(state));
      setAttribute(still, "alt", stillLabel(next));
      setProperty(last, "hidden", started || !hasLast || next !== null);
      const hasPicture = started || hasLast || next !== null;
      setProperty(welcome, "hidden", hasPicture || noticeOf(state, at) !== null);
      const texts = welcomeOf(state, location.hostname);
      setText(lead, texts.lead);
      setText(privacy, texts.privacy);
      setText(loading, texts.loading);
    },
    destroy() {
      showStill(null);
      destroy();
    },
  };
}
