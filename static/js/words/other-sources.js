// The second ways where a camera does not work, and the problems of sources that are no camera. Pure.

const CAMERA = { action: "camera", label: "Use the camera", isQuiet: true };
const FILE = { action: "file", label: "Use a file" };
const SCREEN = { action: "screen", label: "Show a window" };
const SAMPLE = { action: "sample", label: "Try the sample" };

/** What there is to see without a camera: the actions of a notice. */
export const secondWays = ({ canShare, secure }) =>
  [FILE, ...(canShare && secure ? [SCREEN] : []), SAMPLE].map((way) => ({ ...way, isQuiet: true }));

/** Each problem's title and text from the source's name, and the first way on, by the kind. */
const PROBLEMS = {
  screen: {
    way: { action: "screen", label: "Show it again" },
    ended: () => ({
      title: "The window is no longer shared",
      text: "It was closed, or the sharing was stopped. What was said is kept.",
    }),
    denied: () => ({
      title: "No window is shown",
      text: "Nothing was chosen, or the browser may not show it.",
    }),
    silent: () => ({
      title: "The window sends no picture",
      text: "Most likely it is minimised. Bring it up, and show it again.",
    }),
    other: () => ({
      title: "The window cannot be shown",
      text: "The system did not give the browser its picture.",
    }),
  },
  video: {
    way: { ...FILE, label: "Choose a file" },
    other: (name) => ({
      title: `“${name}” cannot be played any further`,
      text: "The file was moved or deleted, or is damaged from here on. What was said is kept.",
    }),
  },
  sample: {
    way: { ...SAMPLE, label: "Try again" },
    other: () => ({
      title: "The sample did not load",
      text: "Sightline’s server did not send it. Try again when the server answers.",
    }),
  },
};

/** The title, text and actions of a problem with a source that is no camera. */
export function otherProblem({ source }, problem) {
  const { way, ...texts } = PROBLEMS[source.kind];
  const textsOf = texts[problem] ?? texts.other;
  return { ...textsOf(source.name), actions: [way, CAMERA] };
}

/** After a reload: what was looked at, and how to go on with it. */
export function lostText({ kind, name }) {
  if (kind === "video") {
    return {
      text: `A reload closes the file: choose “${name}” again to go on. What was said before is kept.`,
      action: { action: "file", label: "Choose the file" },
    };
  }
  if (kind === "screen") {
    return {
      text: "A window was shown. The browser asks again before it shows one. What was said before is kept.",
      action: { action: "screen", label: "Show a window" },
    };
  }
  return {
    text: "The sample was shown. What was said before is kept.",
    action: { action: "sample", label: "Go on" },
  };
}
