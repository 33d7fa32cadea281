// Opens and closes the panels: the one with tabs, and the settings. The focus moves into a panel that
// opens and back to its opener, but stays in the question field while a person types there.

import { createListeners, setAttribute, setProperty } from "./dom.js";

/** The tabs: the name of each panel, and the ids of its tab and of what it shows. */
const TABS = {
  history: ["tab-history", "history"],
  ask: ["tab-ask", "ask-panel"],
  explain: ["tab-explain", "explain"],
};

/** `openers` are the buttons that get the focus when each tab's panel is closed. */
export function mountTabs(root, openers, dispatch) {
  const tabs = Object.entries(TABS).map(([name, [tab, panel]]) => ({
    name,
    tab: root.querySelector(`#${tab}`),
    panel: root.querySelector(`#${panel}`),
  }));
  const { listen, destroy } = createListeners();
  let open = null;

  const toggle = (panel) => dispatch({ type: "panel-toggled", panel });
  listen(root.querySelector("#panel-close"), "click", () => toggle(open));
  for (const { name, tab } of tabs) listen(tab, "click", () => open === name || toggle(name));
  listen(root.querySelector("[role=tablist]"), "keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const index = tabs.findIndex(({ name }) => name === open);
    toggle(tabs.at((index + step) % tabs.length).name);
    event.preventDefault();
  });

  return {
    update({ panel }) {
      const before = open;
      open = panel in TABS ? panel : null;
      if (open === before) return;
      const hadFocus = root.contains(document.activeElement);
      setProperty(root, "hidden", open === null);
      for (const { name, tab, panel: shown } of tabs) {
        const isOpen = name === open;
        setAttribute(tab, "aria-selected", String(isOpen));
        setProperty(tab, "tabIndex", isOpen ? 0 : -1);
        setProperty(shown, "hidden", !isOpen);
        if (isOpen && !isTyping()) tab.focus();
      }
      if (open === null && hadFocus) openers[before].focus();
    },
    destroy,
  };
}

/** The settings, opened by `opener`. */
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
      const hadFocus = root.contains(document.activeElement);
      setProperty(root, "hidden", !open);
      if (open) title.focus();
      else if (hadFocus) opener.focus();
    },
    destroy,
  };
}

const isTyping = () => document.activeElement?.id === "question-text";
