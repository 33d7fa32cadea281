// What is looked at: a camera, a shared window or screen, a video file, or the sample. Pictures are stills
// instead; see pictures.js. Pure, as state.js.
//
// Only the camera is among the settings: the browser opens nothing else again without the person.

/** A source: { kind: "camera" | "screen" | "video" | "sample", id, name }, `id` as in io/media.js. */
export const CAMERA = { kind: "camera", id: null, name: "" };

export const initialPlayback = {
  /** The person, or the browser, has paused the video; at its end it pauses by itself. */
  isPaused: false,
  hasEnded: false,
  /** Another place of it is being looked up. */
  isMoving: false,
  speed: 1,
  loops: false,
};

export const SPEEDS = [0.25, 0.5, 1, 2, 4];

export const initialSource = {
  source: CAMERA,
  /** How the video plays. */
  playback: initialPlayback,
  /** How many files are being read, and since when. */
  reading: 0,
  readingAt: -Infinity,
  /** What could not be shown: { kind: "files" | "screen", problems: [{ name, why }] }, or null. */
  refusal: null,
};

/** Browsers let only secure pages use a camera or share a window; files and the sample need nothing. */
export const mayOpen = ({ secure, source }) => secure || ["video", "sample"].includes(source.kind);

export const isVideo = ({ source }) => source.kind === "video";

/** Whether the video stands still at a frame that was captioned: nobody looks on. */
export const isAtRest = (state) =>
  isVideo(state) && state.playback.isPaused && !state.pace.force && state.request === null;

/** How the session calls what is looked at; "" if the browser hides the camera's name. */
export function sourceTitle({ source, camera }) {
  if (source.kind !== "camera") return source.name;
  return camera.devices.find(({ deviceId }) => deviceId === camera.deviceId)?.label ?? "";
}

/** Whether the picture in view is mirrored: only a camera's, since others have letters. */
export function isMirrored({ settings, source, view, stills }) {
  const still = stills.find(({ id }) => id === view.stillId);
  return settings.mirror && (still ? still.mirrors : source.kind === "camera");
}
