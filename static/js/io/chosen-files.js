// Files that the person chooses, drops or pastes: pictures become stills, one video is looked at.

import { FileError, readPicture } from "./pictures.js";

/** Pictures that are opened at once: as many as stills are kept. */
export const MOST_PICTURES = 20;
/** What the file picker offers; endings too, since browsers do not know the type of every file. */
export const ACCEPTED = "image/*,video/*,.mkv,.mov,.avi,.heic,.heif";

/**
 * Returns `open(files)`, which reads the files one after the other and dispatches what comes of each.
 * `media` is that of io/media.js.
 */
export function createFileOpener(media, dispatch) {
  return async function open(files) {
    dispatch({ type: "files-chosen", count: files.length });
    let pictures = 0;
    let hasVideo = false;
    for (const file of files) {
      const name = nameOf(file);
      try {
        if (pictures >= MOST_PICTURES) throw new FileError("many");
        const found = await read(file);
        if (found.picture) {
          dispatch({ type: "picture-opened", ...found, name, isFirst: pictures === 0 });
          pictures += 1;
        } else if (hasVideo) throw new FileError("second");
        else {
          hasVideo = true;
          dispatch({ type: "source-chosen", source: found });
        }
      } catch (error) {
        const why = error.why ?? (error.name === "FalsifiedError" ? "falsified" : "broken");
        dispatch({ type: "source-refused", kind: "files", problems: [{ name, why }] });
      }
      dispatch({ type: "file-read" });
    }
  };

  /** The file as a picture, else as a video; a browser may know neither its type nor its ending. */
  async function read(file) {
    if (isVideoFile(file)) return media.addVideo(file);
    try {
      return await readPicture(file);
    } catch (error) {
      const mayBeVideo = error.why === "type" && file.type === "";
      if (!mayBeVideo) throw error;
      return media.addVideo(file).catch(() => {
        throw error;
      });
    }
  }
}

const isVideoFile = ({ type, name }) =>
  type.startsWith("video/") || /\.(mkv|mov|avi|webm|mp4|m4v)$/i.test(name);

/** Browsers call every pasted picture "image.png". */
const nameOf = ({ name }) => (/^(image\.(png|jpe?g))?$/i.test(name) ? "Pasted picture" : name);
