// The list of kept moments. Only the rows in view are in the document, so that a hundred thousand moments cost no more
// than fifty; what is in view stays in its place while others come.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { createRow, fillRow } from "./timeline-row.js";
import { fetchPicture } from "../io/timeline.js";
import { saveBlob } from "../io/files.js";
import { rowAt, rowsOf, topsOf, windowOf } from "../core/timeline-list.js";
import { isRanked } from "../core/timeline-query.js";
import { listName, momentText, pictureName } from "../words/timeline.js";

/** Farther from the newest moment than this, a person looks at older ones. */
const SCROLLED_PX = 8;
/** Older moments are read once so little is below the view. */
const AHEAD_PX = 1_200;
/** Measured heights change the place of other rows, which are then measured. */
const ROUNDS = 3;

export function mountTimelineList(root, dispatch) {
  const scroller = root.querySelector(".timeline-scroll");
  const [list, pill] = [root.querySelector(".timeline-list"), root.querySelector(".timeline-new")];
  const { listen, destroy } = createListeners();
  /** The rows in the document, by key, and the heights of all that ever were there. */
  const elements = new Map();
  const heights = new Map();
  let rows = [];
  /** The place of each row by its key. */
  let indexes = new Map();
  /** The rows that `tops` is of. */
  let placed = [];
  let lastChosen = null;
  /** `listTop()` when the rows were laid out last. */
  let topThen = 0;
  let tops = topsOf([], heights);
  let state = null;
  let shown = { list: null, filter: null };
  let clock = Date.now();
  /** The key of the row that takes part in the order of Tab, and of the one whose menu is open. */
  let current = null;
  let open = null;
  let unseen = 0;
  let width = 0;
  let menuNote = { key: null, text: "" };

  const momentAt = (key) => rows[indexOf(key)]?.moment ?? null;
  const keyOf = (target) => target.closest?.(".timeline-row")?.dataset.key ?? null;
  const indexOf = (key) => indexes.get(key) ?? -1;
  /** The place of the list's first row in what scrolls. */
  const listTop = () =>
    list.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop;

  function place() {
    const top = scroller.scrollTop - listTop();
    const { first, end } = windowOf(tops, top, top + scroller.clientHeight);
    const focused = indexOf(current);
    const wanted = rows.slice(first, end);
    // What has the focus keeps it, however far it is scrolled away.
    const holds = elements.get(current)?.contains(document.activeElement);
    if (holds && focused >= 0 && (focused < first || focused >= end)) {
      if (focused < first) wanted.unshift(rows[focused]);
      else wanted.push(rows[focused]);
    }
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, element] of elements) {
      if (keys.has(key)) continue;
      element.remove();
      elements.delete(key);
    }
    let after = list.firstElementChild;
    for (const row of wanted) {
      let element = elements.get(row.key);
      if (!element) {
        element = createRow(row);
        elements.set(row.key, element);
      }
      if (element === after) after = after.nextElementSibling;
      else list.insertBefore(element, after);
      fill(element, row);
      element.style.top = `${tops[indexOf(row.key)]}px`;
    }
    list.style.height = `${tops.at(-1)}px`;
  }

  /** Measures the rows in the document; returns whether any height is another. */
  function measure() {
    let isOther = false;
    for (const [key, element] of elements) {
      const height = element.offsetHeight;
      if (height === 0 || heights.get(key) === height) continue;
      heights.set(key, height);
      isOther = true;
    }
    return isOther;
  }

  /** Lays the rows out so that the one at the top of the view stays where it is. */
  function layOut(isAnew) {
    // What stands above the list may have another height since.
    const at = scroller.scrollTop - topThen;
    const keeps = !isAnew && at > SCROLLED_PX && tops.length > 1;
    const anchor = keeps ? (placed[rowAt(tops, at)]?.key ?? null) : null;
    const offset = keeps ? at - tops[rowAt(tops, at)] : 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      tops = topsOf(rows, heights);
      list.style.height = `${tops.at(-1)}px`;
      const index = anchor === null ? -1 : indexOf(anchor);
      if (index >= 0) scroller.scrollTop = listTop() + tops[index] + offset;
      place();
      if (!measure()) break;
    }
    placed = rows;
    topThen = listTop();
  }
  /** Shows a row as it is now. */
  function fill(element, row) {
    const { key } = row;
    const note = menuNote.key === key ? menuNote.text : "";
    fillRow(element, row, { state, clock, isCurrent: current === key, isOpen: open === key, note });
  }

  const DO = {
    ask: (moment) => {
      dispatch({ type: "moment-chosen", moment, panel: "ask" });
    },
    explain: (moment) => dispatch({ type: "moment-chosen", moment, panel: "explain" }),
    keep: ({ id, kept }) => dispatch({ type: "timeline-kept", moment: id, kept: !kept }),
    copy: async (moment) => {
      await navigator.clipboard.writeText(momentText(moment));
      return "Copied";
    },
    save: async (moment) => {
      const { picture } = await fetchPicture(moment.id);
      saveBlob(pictureName(moment), picture);
      return "Saved";
    },
    alike: ({ id, from }) => {
      dispatch({ type: "timeline-filtered", changes: { like: { id, from } } });
      scroller.scrollTop = 0;
    },
    delete: (moment) => remove(moment),
  };

  async function act(action, key) {
    let text;
    try {
      text = (await DO[action](momentAt(key))) ?? "";
    } catch (error) {
      text = action === "copy" ? "The browser blocked copying." : error.message;
    }
    menuNote = { key, text };
    render();
  }

  function remove(moment) {
    const index = indexOf(current);
    const next = neighbour(index, 1) ?? neighbour(index, -1);
    open = null;
    dispatch({ type: "timeline-deleted", moment });
    if (next) focusRow(next);
  }

  /** The key of the next moment from a row in a direction, or null. */
  function neighbour(index, step) {
    for (let at = index + step; at in rows; at += step) {
      if (rows[at].type === "moment") return rows[at].key;
    }
    return null;
  }

  /** Shows a row and focuses it. */
  function focusRow(key) {
    const index = indexOf(key);
    if (index < 0) return;
    current = key;
    const [top, bottom] = [tops[index], tops[index + 1]].map((one) => one + listTop());
    const { scrollTop, clientHeight } = scroller;
    if (top < scrollTop) scroller.scrollTop = top - 40;
    else if (bottom > scrollTop + clientHeight) scroller.scrollTop = bottom - clientHeight + 8;
    place();
    elements.get(key)?.firstElementChild.focus({ preventScroll: true });
  }

  const KEYS = {
    ArrowDown: (index) => neighbour(index, 1),
    ArrowUp: (index) => neighbour(index, -1),
    Home: () => neighbour(-1, 1),
    End: () => neighbour(rows.length, -1),
    PageDown: (index) => neighbour(Math.min(rows.length, index + 8), -1),
    PageUp: (index) => neighbour(Math.max(-1, index - 8), 1),
  };
  listen(list, "keydown", (event) => {
    const key = keyOf(event.target);
    const moment = momentAt(key);
    if (!moment || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in KEYS) {
      const next = KEYS[event.key](indexOf(key));
      if (next) focusRow(next);
    } else if (event.key === "Delete") remove(moment);
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) openMenu(key);
    else if (event.key === "Escape" && open === key) closeMenu();
    else return;
    event.preventDefault();
  });
  listen(list, "focusin", ({ target }) => {
    const key = keyOf(target);
    if (!key || key === current) return;
    current = key;
    place();
  });
  listen(list, "click", ({ target }) => {
    const key = keyOf(target);
    const moment = momentAt(key);
    if (!moment) return;
    current = key;
    const { action } = target.closest("[data-action]")?.dataset ?? {};
    if (action) act(action, key);
    else if (target.closest(".timeline-more")) {
      if (open === key) closeMenu();
      else openMenu(key);
    } else if (target.closest(".timeline-entry")) dispatch({ type: "moment-chosen", moment });
  });

  function openMenu(key) {
    open = key;
    menuNote = { key: null, text: "" };
    layOut(false);
    elements.get(key)?.querySelector("[data-action]:not([hidden])").focus();
  }

  function closeMenu() {
    const key = open;
    open = null;
    layOut(false);
    elements.get(key)?.querySelector(".timeline-more").focus();
  }

  listen(scroller, "scroll", () => {
    if (!state) return;
    topThen = listTop();
    place();
    if (measure()) layOut(false);
    if (scroller.scrollTop - listTop() <= SCROLLED_PX) showUnseen(0);
    wantOlder();
  });
  listen(pill, "click", () => {
    scroller.scrollTop = 0;
    showUnseen(0);
    const first = neighbour(-1, 1);
    if (first) focusRow(first);
  });
  const resized = new ResizeObserver(() => {
    if (list.clientWidth === width) return;
    width = list.clientWidth;
    heights.clear();
    if (state) layOut(false);
  });
  resized.observe(list);

  function wantOlder() {
    const left = tops.at(-1) - (scroller.scrollTop - listTop()) - scroller.clientHeight;
    if (left < AHEAD_PX && state.timeline.list.before !== null) {
      dispatch({ type: "timeline-older-wanted" });
    }
  }

  function showUnseen(count) {
    unseen = count;
    setProperty(pill, "hidden", unseen === 0);
    setText(pill, `${unseen} new`);
  }

  function render() {
    const { list: page, filter } = state.timeline;
    const isAnew = filter !== shown.filter && page !== shown.list;
    const isScrolled = scroller.scrollTop - topThen > SCROLLED_PX;
    const arrived = page.arrived - (shown.list?.arrived ?? 0);
    if (page.isLoaded && !isAnew && arrived > 0) showUnseen(isScrolled ? unseen + arrived : 0);
    if (isAnew) showUnseen(0);
    clock = Date.now();
    const next = rowsOf(page, isRanked(filter));
    if (next !== rows) indexes = new Map(next.map(({ key }, index) => [key, index]));
    rows = next;
    if (indexOf(current) < 0) current = neighbour(-1, 1);
    if (open && indexOf(open) < 0) open = null;
    setAttribute(list, "aria-label", listName(state.timeline));
    layOut(isAnew);
    shown = { list: page, filter };
    wantOlder();
  }

  return {
    update(next) {
      state = next;
      render();
      const { chosen } = state.timeline;
      if (chosen !== lastChosen && indexOf(`m${chosen}`) >= 0) current = `m${chosen}`;
      lastChosen = chosen;
    },
    /** Focuses the first moment; returns whether there is one. */
    focus() {
      const first = indexOf(current) >= 0 ? current : neighbour(-1, 1);
      if (first) focusRow(first);
      return first !== null;
    },
    destroy() {
      resized.disconnect();
      destroy();
    },
  };
}
