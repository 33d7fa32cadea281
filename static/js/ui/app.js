// Mounts all components, sets the theme, and opens and closes the panels.

import { mountAnnouncer } from "./announcer.js";
import { mountBadge, mountDestination } from "./badge.js";
import { mountBoxes } from "./boxes.js";
import { createListeners, setAttribute, setProperty } from "./dom.js";
import { mountDock } from "./dock.js";
import { mountCues, mountTouch } from "./ear.js";
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
import { mountVoice } from "./voice.js";

const byId = (id) => document.getElementById(id);

/**
 * Mounts each component on its element; returns { update(state, at), destroy() }. User input goes to
 * `dispatch(event)`, the buttons of a notice to `act(action, value)`. `voice` and `earcons` are as in
 * io/speech.js and io/earcons.js.
 */
export function mountApp(dispatch, act, { voice, earcons }) {
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
    mountVoice(byId("voice"), byId("open-voice"), dispatch),
    mountPanel(byId("voice"), byId("open-voice"), dispatch),
    mountTouch(byId("video"), dispatch, () => focusQuestion(byId("question"))),
    mountCues(earcons),
    mountAnnouncer(
      { caption: byId("said"), answer: byId("answer"), alert: byId("answer"), news: byId("news") },
      voice,
      dispatch,
    ),
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

/** Moves the focus to the field for a question, or to the choice of one. */
function focusQuestion(root) {
  const fields = [...root.querySelectorAll("select, input, textarea")];
  fields.findLast((field) => field.checkVisibility())?.focus();
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
