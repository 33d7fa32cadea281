// Mounts all components, and sets the theme.

import { mountAddress } from "./address.js";
import { mountAnnouncer } from "./announcer.js";
import { mountAsk } from "./ask.js";
import { mountBoxes } from "./boxes.js";
import { mountChip } from "./chip.js";
import { isAwake } from "../core/hidden.js";
import { setAttribute, setText } from "./dom.js";
import { mountDock } from "./dock.js";
import { mountDrop } from "./drop.js";
import { mountCues, mountTouch } from "./ear.js";
import { mountExplain } from "./explain.js";
import { mountFind } from "./find.js";
import { mountFullScreen } from "./full-screen.js";
import { mountGauges } from "./gauges.js";
import { mountHead } from "./head.js";
import { mountHeat } from "./heat.js";
import { mountHistory } from "./history.js";
import { mountMarks } from "./marks.js";
import { mountModelCard } from "./model-card.js";
import { mountModelPicker } from "./model-picker.js";
import { mountNotice } from "./notice.js";
import { mountOverlay } from "./overlay.js";
import { mountPanel, mountTabs } from "./panel.js";
import { mountPart } from "./part.js";
import { mountPatchLayer } from "./patch-layer.js";
import { mountPlayer } from "./player.js";
import { mountPreferences } from "./preferences.js";
import { mountPanelEdge } from "./panel-edge.js";
import { mountQuestion } from "./question.js";
import { mountSave } from "./save.js";
import { mountShortcuts } from "./shortcuts.js";
import { mountSource } from "./source.js";
import { mountStage } from "./stage.js";
import { mountTimeline } from "./timeline.js";
import { mountThings } from "./things.js";
import { mountUpstreams } from "./upstreams.js";
import { mountVoice } from "./voice.js";

const byId = (id) => document.getElementById(id);

/**
 * Mounts each component on its element; returns { update(state, at), destroy() }. User input goes to
 * `dispatch(event)`, the buttons of a notice to `act(action, value)`. `voice` and `earcons` are as in
 * io/speech.js and io/earcons.js, `openFiles` is that of io/chosen-files.js; `isKiosk` lays the page out for a screen that nobody touches.
 */
export function mountApp(dispatch, act, { voice, earcons, openFiles, isKiosk }) {
  const part = mountPart(byId("part-layer"), byId("picture"), dispatch);
  const components = [
    mountPage(byId("app")),
    mountStage(byId("stage"), act),
    mountHead(byId("head"), dispatch, act),
    mountChip(byId("chip")),
    mountModelCard(byId("model-card"), dispatch),
    mountNotice(byId("notice"), act),
    mountOverlay(byId("overlay"), byId("asked"), byId("more")),
    mountMarks(byId("marks"), byId("caption"), dispatch, act),
    mountHeat(byId("heat"), byId("stage")),
    mountPatchLayer(byId("patch-layer"), byId("stage"), dispatch),
    mountGauges(byId("gauges"), dispatch),
    mountBoxes(byId("boxes"), byId("video"), dispatch),
    mountFind(byId("find"), dispatch),
    mountDock(byId("dock"), dispatch),
    mountPlayer(byId("player"), byId("stage"), byId("video"), dispatch),
    mountSource(byId("source"), byId("open-source"), dispatch, act, openFiles),
    mountPanel(byId("source"), byId("open-source"), dispatch),
    mountDrop(byId("drop"), dispatch, openFiles),
    mountQuestion(byId("question"), dispatch),
    part,
    mountAsk(byId("ask-panel"), dispatch, part.begin),
    mountExplain(byId("explain"), dispatch),
    mountSave(byId("save"), byId("save-still"), dispatch),
    mountPanelEdge(byId("panel-edge"), byId("app"), dispatch),
    mountHistory(byId("history"), dispatch),
    mountTimeline(byId("history"), dispatch),
    mountPreferences(byId("preferences"), dispatch),
    mountThings(byId("things")),
    mountModelPicker(byId("models"), dispatch),
    mountUpstreams(byId("upstreams")),
    mountTabs(
      byId("panel"),
      { history: byId("open-history"), ask: byId("open-ask"), explain: byId("open-ask") },
      dispatch,
    ),
    mountPanel(byId("preferences"), byId("open-preferences"), dispatch),
    mountShortcuts(window, dispatch),
    mountAddress(dispatch),
    mountFullScreen(byId("app"), byId("full-screen"), isKiosk),
    mountVoice(byId("voice"), byId("open-voice"), dispatch),
    mountPanel(byId("voice"), byId("open-voice"), dispatch),
    mountTouch(byId("video"), dispatch, () => byId("question-text").focus()),
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

/** The title, the theme, and the layout beside or above an open panel. */
function mountPage(app) {
  const title = document.querySelector("title");
  const name = title.textContent;
  return {
    update(state) {
      const { panel, started } = state;
      const { theme } = state.settings;
      setText(title, started && !isAwake(state) ? `Paused – ${name}` : name);
      setAttribute(document.documentElement, "data-theme", theme === "auto" ? null : theme);
      setAttribute(app, "data-panel", panel);
    },
    destroy() {},
  };
}
