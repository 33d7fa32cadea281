// What the two panels share: open or closed, the way out, and where the focus goes.

import { createListeners, setProperty } from "./dom.js";

export function mountPanel(root, opener, dispatch) {
  const name = root.id;
  const title = root.querySelector(".panel-title");
  const { listen, destroy } = createListeners();
  let open = false;

  const close = () => dispatch({ type: "panel-toggled", panel: name });
  listen(root.querySelector(".panel-close"), "click", close);

  return {
    update({ panel }) {
      const wasOpen = open;
      open = panel === name;
      if (open === wasOpen) return;
      const heldFocus = root.contains(document.activeElement);
      setProperty(root, "hidden", !open);
      if (open) title.focus();
      else if (heldFocus) opener.focus();
    },
    destroy,
  };
}
