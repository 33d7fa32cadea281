// The picture and how it is shown, and the greeting while there is none.

import { setAttribute, setProperty, setText } from "./dom.js";
import { noticeOf, welcomeOf } from "./words.js";

export function mountStage(root) {
  const video = root.querySelector("#video");
  const welcome = root.querySelector("#welcome");
  const lead = welcome.querySelector(".welcome-lead");
  const loading = welcome.querySelector(".welcome-loading");
  const privacy = welcome.querySelector(".welcome-privacy");
  return {
    update(state, at) {
      const { camera, settings, wanted } = state;
      setAttribute(root, "data-live", wanted && camera.phase === "live" ? "" : null);
      setAttribute(video, "data-mirror", settings.mirror ? "" : null);
      setAttribute(video, "data-fit", settings.fit);
      setProperty(welcome, "hidden", wanted || noticeOf(state, at) !== null);
      const words = welcomeOf(state, location.hostname);
      setText(lead, words.lead);
      setText(privacy, words.privacy);
      setText(loading, words.loading);
    },
    destroy() {},
  };
}
