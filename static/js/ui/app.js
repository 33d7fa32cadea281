// Mounts all components, sets the theme, and opens and closes the panels.

import { mountAnnouncer } from "./announcer.js";
import { mountBadge, mountDestination } from "./badge.js";
import { mountBoxes } from "./boxes.js";
import { createListeners, setAttribute, setProperty } from "./dom.js";
import { mountDock } from "./dock.js";
import { mountFind } from "./find.js";
import { mountHistory } from "./history.js";
import { mountMarks } from "./marks.js";
import { mountModelCard } from "./model-card.js";
import { mountModelPicker } from "./model-picker.js";
import { mountNotice } from "./notice.js";
import { mountOverlay } from "./overlay.js";
import { mountPreferences } from "./preferences.js";
import { mountQuestion } from "./question.js";
import { mountReadout } from "./readout.js";
import { mountShortcuts } from "./shortcuts.js";
import { mountIdle, mountStage } from "./stage.js";
import { mountThings } from "./things.js";
import { mountUpstreams } from "./upstreams.js";

const byId = (id) => document.getElementById(id);

/**
 * Mounts each component on its element; returns { update(state, at), destroy() }. User input goes to
 * `dispatch(event)`, the buttons of a notice to `act(action, value)`.
 */
export function mountApp(dispatch, act) {
  const components = [
    mountPage(byId("app")),
    mountStage(byId("stage")),
    mountBadge(byId("badge")),
    mountDestination(byId("destination")),
    mountModelCard(byId("model-card"), dispatch),
    mountNotice(byId("notice"), act),
    mountOverlay(byId("overlay")),
    mountMarks(byId("marks"), byId("caption"), dispatch),
    mountBoxes(byId("boxes"), byId("video"), dispatch),
    mountFind(byId("find"), dispatch),
    mountReadout(byId("readout")),
    mountDock(byId("dock"), dispatch),
    mountQuestion(byId("question"), dispatch),
    mountHistory(byId("history"), dispatch),
    mountPreferences(byId("preferences"), dispatch),
    mountThings(byId("things")),
    mountModelPicker(byId("models"), dispatch),
    mountUpstreams(byId("upstreams")),
    mountPanel(byId("history"), byId("open-history"), dispatch),
    mountPanel(byId("preferences"), byId("open-preferences"), dispatch),
    mountShortcuts(window, dispatch),
    mountIdle(byId("stage")),
    mountAnnouncer(byId("announcer"), byId("messages")),
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

/** The theme, and the layout beside or above an open panel. */
function mountPage(app) {
  return {
    update({ settings: { theme }, panel }) {
      setAttribute(document.documentElement, "data-theme", theme === "auto" ? null : theme);
      setAttribute(app, "data-panel", panel);
    },
    destroy() {},
  };
}

/** Opens and closes a panel; the focus moves into it and back to `opener`. */
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
      const hadFocus = root.contains(document.activeElement);
      setProperty(root, "hidden", !open);
      if (open) title.focus();
      else if (hadFocus) opener.focus();
    },
    destroy,
  };
}
