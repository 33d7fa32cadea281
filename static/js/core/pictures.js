// Pictures of the person's files, as stills. Pure, as state.js.

import { stoppedCamera } from "./camera.js";
import { withNewStill, withPictureInView } from "./view.js";

export const pictureHandlers = {
  /**
   * A picture was read: `picture` is a JPEG of it, `name` that of its file. The first of several comes into
   * view; each is captioned once, when it is in view.
   */
  "picture-opened"(state, { picture, width, height, name, isFirst, at, clock }) {
    const id = state.view.lastStillId + 1;
    const of = { source: name, isFile: true, mirrors: false };
    const next = withNewStill(state, { id, picture, width, height, clock, ...of });
    const counted = { ...next, view: { ...next.view, lastStillId: id } };
    return isFirst ? withPictureInView(withoutFailedCamera(counted, at), id) : counted;
  },
};

/** Instead of a camera that does not work the person looks at a file: its notice would be in the way. */
function withoutFailedCamera(state, at) {
  if (!state.started || state.camera.phase !== "failed") return state;
  return { ...state, started: false, request: null, camera: stoppedCamera(state.camera, at) };
}
