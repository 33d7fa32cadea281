// The foot of the Timeline tab: the offer to keep, what is kept and where, files, and deletion.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { offersToKeep, showsKept, undoable } from "../core/timeline.js";
import { dayStart, fieldsOf } from "../core/timeline-query.js";
import { mayChangeModels } from "../core/server.js";
import { exportAddress } from "../io/timeline.js";
import {
  DAYS,
  FORMATS,
  deletedText,
  failureText,
  fileText,
  keptText,
  offerText,
} from "../words/timeline.js";

const HOUR_S = 3_600;

export function mountTimelineFoot(root, dispatch) {
  const find = (selector) => root.querySelector(selector);
  const [foot, tools, undo] = [".timeline-foot", ".timeline-tools", ".timeline-undo"].map(find);
  const [offer, status, kept, file] = [
    ".timeline-offer",
    ".timeline-status",
    ".timeline-kept",
    ".timeline-file",
  ].map(find);
  const named = (name) => foot.querySelector(`[name=${name}]`);
  const [format, keep, days, mb] = ["format", "keep", "keptDays", "mb"].map(named);
  const save = foot.querySelector("a");
  const menus = [...foot.querySelectorAll("[data-menu]")];
  const { listen, destroy } = createListeners();
  let open = null;
  let state = null;

  const options = (texts) => Object.entries(texts).map(([value, label]) => ({ value, label }));
  setOptions(format, options(FORMATS));
  setOptions(days, options(DAYS));
  const choose = (changes) => dispatch({ type: "timeline-keep-chosen", changes });

  function toggle(name) {
    open = open === name ? null : name;
    for (const menu of menus) setProperty(menu, "hidden", menu.dataset.menu !== open);
    for (const button of tools.children) {
      setAttribute(button, "aria-expanded", String(button.dataset.tool === open));
    }
  }

  listen(tools, "click", ({ target }) => {
    const { tool } = target.closest("button")?.dataset ?? {};
    if (tool) toggle(tool);
  });
  listen(offer, "click", ({ target }) => {
    const { keep: what, later } = target.closest("button")?.dataset ?? {};
    if (what) choose({ keep: what });
    if (later === undefined && !what) return;
    if (!what) dispatch({ type: "timeline-later" });
    root.querySelector(".history-body").focus();
  });
  listen(foot, "click", ({ target }) => {
    const what = target.closest("[data-delete]")?.dataset.delete;
    if (!what) return;
    const now = Date.now();
    const from = { hour: now / 1000 - HOUR_S, today: dayStart(now) / 1000, all: null }[what];
    dispatch({ type: "timeline-deleted", from });
    toggle("delete");
    tools.querySelector("[data-tool=delete]").focus();
  });
  listen(undo.querySelector("button"), "click", () => dispatch({ type: "timeline-undone" }));
  // The address is of now: "Today" may be another day since.
  const setAddress = () => {
    const fields = fieldsOf(state.timeline.filter, Date.now());
    setAttribute(save, "href", String(exportAddress(format.value, fields)));
  };
  for (const type of ["pointerdown", "focus", "click"]) listen(save, type, setAddress);
  listen(format, "change", setAddress);
  listen(keep, "change", () => choose({ keep: keep.value }));
  listen(days, "change", () => choose({ days: Number(days.value) }));
  listen(mb, "change", () => {
    if (mb.reportValidity()) choose({ mb: Number(mb.value) });
  });

  return {
    update(next, at) {
      state = next;
      const { settings } = state.timeline;
      const isOffered = offersToKeep(state);
      setProperty(offer, "hidden", !isOffered);
      if (isOffered) setText(offer.firstElementChild, offerText(state));
      const isHere = mayChangeModels(state) && settings?.available === true;
      setProperty(foot, "hidden", !isHere);
      if (!isHere) return;
      const shows = showsKept(state);
      for (const button of tools.children) {
        if (["export", "delete"].includes(button.dataset.tool))
          setProperty(button, "hidden", !shows);
      }
      if (!shows && open !== null && open !== "keep") toggle(open);
      if (!save.hasAttribute("href")) setAddress();
      setText(kept, keptText(state));
      setText(file, fileText(state));
      setText(status, failureText(state));
      const chosen = { keep: settings.keep, days: String(settings.days), mb: String(settings.mb) };
      for (const [field, value] of [
        [keep, chosen.keep],
        [days, chosen.days],
        [mb, chosen.mb],
      ]) {
        if (field !== document.activeElement) setProperty(field, "value", value);
      }
      const last = undoable(state, at);
      const isLosing = last === null && undo.contains(document.activeElement);
      setProperty(undo, "hidden", last === null);
      if (last) setText(undo.firstElementChild, deletedText(last));
      if (isLosing) tools.querySelector("[data-tool=keep]").focus();
    },
    destroy,
  };
}
