// Below the picture: how a video plays, or the steps through pictures and other stills.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { SPEEDS, isVideo } from "../core/source.js";
import { neighbourOf, stillOf } from "../core/view.js";
import { placeText, speedLabel } from "../words/source.js";

/** `stage` leaves room for it; `video` is what plays. */
export function mountPlayer(root, stage, video, dispatch) {
  const find = (selector) => root.querySelector(selector);
  const [ofVideo, ofStills] = [find(".player-video"), find(".player-stills")];
  const [play, place, time] = [find("#play"), find("#place"), find(".player-time")];
  const [speed, loop] = [find("#speed"), find("#loop")];
  const [earlier, later, count] = [find("#earlier"), find("#later"), find(".player-count")];
  const playIcon = play.querySelector("use");
  const { listen, destroy } = createListeners();
  let state = null;

  setOptions(
    speed,
    SPEEDS.map((value) => ({ value: String(value), label: speedLabel(value) })),
  );
  listen(play, "click", () => dispatch({ type: "play-pressed" }));
  listen(loop, "click", () => dispatch({ type: "loop-pressed" }));
  listen(speed, "change", () => dispatch({ type: "speed-chosen", speed: Number(speed.value) }));
  listen(place, "input", () => {
    video.currentTime = Number(place.value);
    showPlace();
  });
  for (const name of ["timeupdate", "durationchange", "seeked"]) listen(video, name, showPlace);
  for (const [button, step] of [
    [earlier, -1],
    [later, 1],
  ]) {
    listen(button, "click", () => {
      const next = neighbourOf(state, step);
      if (next) dispatch({ type: "view-opened", stillId: next.id, panel: state.panel });
    });
  }

  function showPlace() {
    // A recording of the browser's own has no known length before its end.
    const length = Number.isFinite(video.duration) ? video.duration : video.currentTime;
    setProperty(place, "max", String(length));
    setProperty(place, "value", String(video.currentTime));
    const text = `${placeText(video.currentTime)} of ${placeText(length)}`;
    setAttribute(place, "aria-valuetext", text);
    setText(time, `${placeText(video.currentTime)} / ${placeText(length)}`);
  }

  function showStills(still) {
    const index = state.stills.indexOf(still);
    setText(count, `${index + 1} of ${state.stills.length}`);
    setProperty(earlier, "disabled", index === 0);
    setProperty(later, "disabled", index === state.stills.length - 1);
  }

  return {
    update(next) {
      state = next;
      const still = stillOf(state);
      const showsVideo = !still && isVideo(state) && state.started;
      const showsStills = still !== null && state.stills.length > 1;
      setProperty(root, "hidden", !showsVideo && !showsStills);
      setAttribute(stage, "data-player", showsVideo ? "video" : showsStills ? "stills" : null);
      setProperty(ofVideo, "hidden", !showsVideo);
      setProperty(ofStills, "hidden", !showsStills);
      if (showsStills) showStills(still);
      if (!showsVideo) return;
      const { isPaused, speed: rate, loops } = state.playback;
      setAttribute(playIcon, "href", isPaused ? "#icon-start" : "#icon-freeze");
      setAttribute(play, "aria-label", isPaused ? "Play" : "Pause");
      setAttribute(play, "title", isPaused ? "Play (P)" : "Pause (P)");
      setProperty(speed, "value", String(rate));
      setAttribute(loop, "aria-pressed", String(loops));
      showPlace();
    },
    destroy,
  };
}
