// All components of the page, and what they share: the theme, and how panels open and close.

import { mountAnnouncer } from "./announcer.js";
import { mountBadge, mountPlace } from "./badge.js";
import { createListeners, setProperty } from "./dom.js";
import { mountDock } from "./dock.js";
import { mountHistory } from "./history.js";
import { mountModelCard } from "./model-card.js";
import { mountModelPicker } from "./model-picker.js";
import { mountNotice } from "./notice.js";
import { mountOverlay } from "./overlay.js";
import { mountPreferences } from "./preferences.js";
import { mountQuestion } from "./question.js";
import { mountReadout } from "./readout.js";
import { mountShortcuts } from "./shortcuts.js";
import { mountQuiet, mountStage } from "./stage.js";
import { mountUpstreams } from "./upstreams.js";

const byId = (id) => document.getElementById(id);

/**
 * Mounts every component on its part of the page. `dispatch(event)` takes what a person does,
 * `act(action)` the ways on that a notice offers. Returns { update(state, at), destroy() }.
 */
export function mountApp(dispatch, act) {
  const components = [
    mountPage(byId("app")),
    mountStage(byId("stage")),
    mountBadge(byId("badge")),
    mountPlace(byId("place")),
    mountModelCard(byId("model-card"), dispatch),
    mountNotice(byId("notice"), act),
    mountOverlay(byId("overlay")),
    mountReadout(byId("readout")),
    mountDock(byId("dock"), dispatch),
    mountQuestion(byId("question"), dispatch),
    mountHistory(byId("history"), dispatch),
    mountPreferences(byId("preferences"), dispatch),
    mountModelPicker(byId("models"), dispatch),
    mountUpstreams(byId("upstreams")),
    mountPanel(byId("history"), byId("open-history"), dispatch),
    mountPanel(byId("preferences"), byId("open-preferences"), dispatch),
    mountShortcuts(window, dispatch),
    mountQuiet(byId("stage")),
    mountAnnouncer(byId("announcer")),
  ];
  return {
    update(state, at) {
      for (const component of components) component.update(state, at);
    },
    destroy() {
      for (const component of components) component.destroy();
    },
  };
}

/** Applies what concerns the whole page. */
function mountPage(app) {
  return {
    update({ settings: { theme }, panel }) {
      if (theme === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      if (panel) app.dataset.panel = panel;
      else delete app.dataset.panel;
    },
    destroy() {},
  };
}

/** What the two panels share: open or closed, the way out, and where the focus goes. */
function mountPanel(root, opener, dispatch) {
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
