// Keeps the view and the page's address equal, both ways.

import { createListeners } from "./dom.js";
import { stepsOf, viewOf } from "../core/address.js";

export function mountAddress(dispatch) {
  const { listen, destroy } = createListeners();
  const path = location.pathname + location.search;
  let state = null;
  /** The page has sent the browser to another entry, which follows the view. */
  let isGoing = false;

  // An entry of before a reload names a still that is gone.
  const { stillId: gone } = viewOf(location.hash);
  if (gone !== null) dispatch({ type: "view-opened", stillId: gone, panel: null });
  history.replaceState({ step: 0 }, "", path);
  listen(window, "popstate", () => {
    const isOwn = isGoing;
    isGoing = false;
    if (!isOwn) dispatch({ type: "view-opened", ...viewOf(location.hash) });
    follow();
  });

  const present = () => history.state?.step ?? 0;
  const addressOf = (step) => `${path}${step}`;

  function follow() {
    // A page that is being left is hidden first: its way must not be crossed.
    if (isGoing || !state.visible) return;
    const steps = stepsOf(state);
    const last = steps.length - 1;
    if (present() > last) {
      isGoing = true;
      history.go(last - present());
      return;
    }
    if (present() > 0 && location.hash !== steps[present()]) {
      history.replaceState({ step: present() }, "", addressOf(steps[present()]));
    }
    for (let step = present() + 1; step <= last; step += 1) {
      history.pushState({ step }, "", addressOf(steps[step]));
    }
  }

  return {
    update(next) {
      state = next;
      follow();
    },
    destroy,
  };
}
