// The notices about the camera: what is wrong, and what helps. Pure: a state in, text out.

import { chosenAmong, namedCameras } from "../core/devices.js";
import { mayOpen } from "../core/source.js";
import { stillOf } from "../core/view.js";
import { otherProblem, secondWays } from "./other-sources.js";

/** How long a camera may take to open before a notice says so. */
const OPENING_NOTICE_MS = 700;
/** A mute that is over sooner has no notice: virtual cameras mute and unmute all the time. */
const MUTED_NOTICE_MS = 3_000;
/** More cameras than this are offered in the list of cameras only. */
const MAX_OFFERED = 3;

const TRY_AGAIN = { action: "retry", label: "Try again" };

/** Where each system has its switch for the camera, as a whole sentence. */
const SYSTEM_SETTINGS = {
  windows: "Open Settings, Privacy & security, Camera, and allow the camera for desktop apps.",
  macos: "Open System Settings, Privacy & Security, Camera, and switch it on for this browser.",
  android:
    "Open Settings, Apps, this browser, Permissions, and allow the camera. If it is allowed there, " +
    "look for “Camera access” in the quick settings.",
  ios: "Open Settings, Apps, this browser, and switch the camera on. For Safari it is Settings, Apps, Safari, Camera.",
  chromeos: "Open Settings, Privacy and security, Privacy controls, and allow camera access.",
  linux: "Look for the camera in the privacy settings of the desktop.",
};
const ANY_SYSTEM = "Allow it in the system’s privacy settings.";

/** A browser that runs in a sandbox sees no camera until the sandbox is told to pass it on. */
const SANDBOX =
  "If one is connected, the browser may be shut off from it: a Snap or Flatpak package needs the " +
  "permission for the camera (for Snap: snap connect PACKAGE:camera).";

/**
 * Each problem's title and text, from { name, platform, isThere }: the chosen camera's name, the system,
 * and whether any camera is connected.
 */
const PROBLEMS = {
  denied: () => ({
    title: "Camera access was denied",
    text:
      "It is blocked for this page. Allow the camera with the camera or lock icon beside the address, or " +
      "in the browser’s settings for this site. Captions then start by themselves, or with “Try again”.",
  }),
  dismissed: () => ({
    title: "The camera was not allowed",
    text:
      "The browser’s question was closed or declined. Press “Try again” and allow the camera. If the " +
      "browser does not ask again, press the camera or lock icon beside the address.",
  }),
  system: ({ platform }) => ({
    title: "The operating system keeps the camera from this browser",
    text: `${SYSTEM_SETTINGS[platform] ?? ANY_SYSTEM} Then try again; some systems want the browser restarted first.`,
  }),
  embedded: () => ({
    title: "The page around this one does not pass the camera on",
    text: "Open Sightline in a tab of its own.",
  }),
  missing: ({ platform }) => ({
    title: "No camera found",
    text: `Connect one or switch it on. Captions then start by themselves.${platform === "linux" ? ` ${SANDBOX}` : ""}`,
  }),
  gone: ({ name }) => ({
    title: name ? `“${name}” is not connected` : "The chosen camera is not connected",
    text: "Captions continue by themselves when it is back. No other camera is used unless you choose it.",
  }),
  ended: ({ isThere }) =>
    isThere
      ? { title: "The camera was switched off", text: "The browser or the system ended it." }
      : {
          title: "The camera was disconnected",
          text: "Captions continue by themselves when it is back.",
        },
  taken: () => ({
    title: "The camera cannot be opened",
    text:
      "Most likely another program or browser is using it: close that one. The camera is tried again by " +
      "itself.",
  }),
  stalled: () => ({
    title: "The camera has stopped sending",
    text: "Nothing is captioned until it sends new pictures.",
  }),
  muted: () => ({
    title: "The camera is paused",
    text:
      "The system, the browser or a switch on the camera has paused it. Captions continue by themselves " +
      "when it goes on.",
  }),
  silent: () => ({
    title: "The camera sends no picture",
    text: "Look for a switch or a key that turns it off, or choose another camera.",
  }),
  black: () => ({
    title: "The camera’s picture is black",
    text:
      "Open its shutter, uncover it, or turn on a light. Captions continue by themselves when " +
      "there is something to see.",
  }),
  unknown: () => ({
    title: "The camera did not start",
    text: "Unplug it and plug it in again, or choose another camera.",
  }),
};

/**
 * The list of cameras: { options: [{ value, label }], selected }. Before the permission is given,
 * browsers name no camera: then there is one option, the default.
 */
export function cameraChoices({ camera, settings }) {
  const options = namedCameras(camera.devices).map(({ deviceId, name }) => ({
    value: deviceId,
    label: name,
  }));
  if (options.length === 0)
    return { options: [{ value: "", label: "Default camera" }], selected: "" };
  const current = camera.phase === "live" ? camera.deviceId : idOfChosen(settings, camera);
  const isListed = options.some(({ value }) => value === current);
  if (camera.phase !== "live" && settings.deviceId && !isListed) {
    const label = `${settings.deviceLabel || "The chosen camera"} (not connected)`;
    return { options: [...options, { value: current, label }], selected: current };
  }
  return { options, selected: isListed ? current : options[0].value };
}

/** The notice about the camera, as in page.js, or null. */
export function cameraNotice(state, at) {
  const { camera, started, source } = state;
  if (!started) return null;
  if (camera.phase === "failed") return problemNotice(state, camera.problem, camera.retryAt);
  if (camera.phase === "opening") {
    // It is opened again by itself: the notice of its problem stays until it is open.
    if (camera.problem) return problemNotice(state, camera.problem, at);
    if (source.kind !== "camera") return null;
    return at - camera.since > OPENING_NOTICE_MS ? openingNotice() : null;
  }
  if (camera.phase !== "live") return null;
  if (camera.mutedSince !== null && at - camera.mutedSince >= MUTED_NOTICE_MS) {
    return problemNotice(state, "muted", null);
  }
  if (camera.mutedSince !== null) return null;
  if (camera.stalledSince !== null) return problemNotice(state, "stalled", camera.retryAt);
  return camera.isBlack ? problemNotice(state, "black", null) : null;
}

/** A page without a camera: on an address that browsers do not trust. */
export function insecureNotice(state) {
  if (mayOpen(state) || stillOf(state)) return null;
  const isHere = state.server.status?.same_machine === true;
  const localhost = { action: "localhost", label: "Open as localhost" };
  return {
    id: "insecure",
    tone: "problem",
    title: "This address cannot use a camera",
    text: `Browsers allow cameras only on secure pages. ${secureWay(state, isHere)}`,
    until: null,
    actions: [...(isHere ? [localhost] : []), ...secondWays(state)],
  };
}

/** How to make a secure page of an address. On another machine "localhost" is that machine itself. */
function secureWay({ server, platform, host }, isHere) {
  if (!server.status) return "Wait for Sightline’s server, which knows more.";
  if (isHere) return "This computer runs Sightline: open it as localhost.";
  const [, name, port = "80"] = /^(.*?)(?::(\d+))?$/.exec(host);
  const proxy = "put an HTTPS proxy in front of Sightline’s server.";
  const page = `http://localhost:${port}`;
  if (platform === "android") {
    return `With a USB cable, run “adb reverse tcp:${port} tcp:${port}” on the computer and open ${page} here. Without a cable, ${proxy}`;
  }
  if (platform === "ios") return `For this device, ${proxy}`;
  return `If you may log in to ${name}, run “ssh -N -L ${port}:${name}:${port} ${name}” here and open ${page}. Else, ${proxy}`;
}

/** `until` is when the camera is opened again by itself, or null. */
function problemNotice(state, problem, until) {
  const { settings, platform, camera, source } = state;
  const tone = "problem";
  if (source.kind !== "camera") {
    return { id: `${source.kind}-${problem}`, tone, until, ...otherProblem(state, problem) };
  }
  const name = settings.deviceId ? settings.deviceLabel : "";
  const isThere = camera.devices.length > 0;
  const textsOf = PROBLEMS[problem] ?? PROBLEMS.unknown;
  const { title, text } = textsOf({ name, platform, isThere });
  const actions = [
    ...offers(state, problem),
    ...(helpedByRetry(problem) ? [TRY_AGAIN] : []),
    ...(HAVE_SECOND_WAYS.includes(problem) ? secondWays(state) : []),
  ];
  return { id: `camera-${problem}`, tone, title, text, until, actions };
}

/** Where no camera may be had at all. */
const HAVE_SECOND_WAYS = [
  ...["denied", "dismissed", "system", "embedded", "missing", "taken", "silent", "unknown"],
];

// A black picture stays black, and a page that is embedded stays so.
const helpedByRetry = (problem) => !["black", "embedded"].includes(problem);

/** The buttons that change to another camera, where another one helps. */
function offers({ settings, camera }, problem) {
  const isOther = ["gone", "ended", "taken", "stalled", "silent", "black", "unknown"];
  if (!isOther.includes(problem)) return [];
  const present = camera.phase === "live" ? camera.deviceId : idOfChosen(settings, camera);
  const others = namedCameras(camera.devices).filter(({ deviceId }) => deviceId !== present);
  if (problem === "gone" && others.length === 0 && camera.devices.length > 0) {
    // The browser hides the names until a camera was opened.
    return [{ action: "use", value: "", label: "Use any camera" }];
  }
  return others
    .slice(0, MAX_OFFERED)
    .map(({ deviceId, name }) => ({ action: "use", value: deviceId, label: `Use ${name}` }));
}

const idOfChosen = (settings, camera) =>
  settings.deviceId
    ? (chosenAmong(camera.devices, settings)?.deviceId ?? settings.deviceId)
    : camera.deviceId;

function openingNotice() {
  return {
    id: "camera-opening",
    tone: "wait",
    title: "Waiting for the camera",
    text: "If the browser asks, allow it to use the camera.",
    until: null,
    actions: [],
  };
}
