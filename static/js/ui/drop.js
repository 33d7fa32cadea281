// Files that are dropped or pasted anywhere on the page.

import { createListeners, setProperty } from "./dom.js";

const TEXT_FIELDS = "textarea, input:not([type=file]), [contenteditable]";

/** `root` is shown over the stage while files are dragged over the page. */
export function mountDrop(root, dispatch, openFiles) {
  const { listen, destroy } = createListeners();
  /** Elements that the drag is over, the innermost last: leaving one enters another first. */
  let depth = 0;

  const holds = ({ dataTransfer }, type) => dataTransfer?.types.includes(type) ?? false;
  /** What the browser would open in place of the page. */
  const isLink = (event) => holds(event, "text/uri-list") && !event.target.matches?.(TEXT_FIELDS);

  function show(next) {
    depth = Math.max(0, next);
    setProperty(root, "hidden", depth === 0);
  }

  listen(window, "dragenter", (event) => {
    if (!holds(event, "Files")) return;
    event.preventDefault();
    show(depth + 1);
  });
  listen(window, "dragleave", (event) => {
    if (holds(event, "Files")) show(depth - 1);
  });
  listen(window, "dragover", (event) => {
    if (!holds(event, "Files") && !isLink(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  listen(window, "drop", (event) => {
    show(0);
    if (!holds(event, "Files") && !isLink(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  listen(window, "paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    // Programs copy a picture of a text beside it: in a field the text is meant.
    const hasText = event.clipboardData?.types.includes("text/plain");
    const isField = event.target.matches?.(TEXT_FIELDS);
    if (files.length === 0 || (isField && hasText)) return;
    event.preventDefault();
    openFiles(files);
  });

  function take(files) {
    if (files.length > 0) openFiles(files);
    else {
      const problems = [{ name: "", why: "link" }];
      dispatch({ type: "source-refused", kind: "files", problems });
    }
  }

  return { update() {}, destroy };
}
