// Boxes around the things in the live picture. Each is a button of one list, so that the list can be
// read and used by keyboard; a press asks about that part of the picture.

import { createElement, createListeners, setAttribute, setProperty } from "./dom.js";
import { shownThings } from "../core/boxes.js";
import { foundThing } from "../core/find.js";
import { areaOf, boxIn, mirrored, placeOf } from "../core/geometry.js";
import { isMirrored } from "../core/source.js";
import { boxTexts } from "../words/boxes.js";

/** The height of a name above its box; where there is no room, it stands inside. */
const NAME_PX = 24;

export function mountBoxes(root, video, dispatch) {
  const { listen, destroy } = createListeners();
  /** The drawn things: { item, button, track } by the track's id. */
  const drawn = new Map();
  let view = { width: 0, height: 0 };
  let mirrors = false;

  const resized = new ResizeObserver(([{ contentRect }]) => {
    view = { width: contentRect.width, height: contentRect.height };
    layAll();
  });
  resized.observe(video);
  listen(video, "resize", layAll);
  listen(root, "click", ({ target }) => {
    const button = target.closest("button");
    const entry = [...drawn.values()].find((one) => one.button === button);
    if (!entry) return;
    const { name, box } = entry.track;
    const place = placeOf(mirrors ? mirrored(box) : box);
    dispatch({ type: "question-asked", question: { part: box, thing: { name, place } } });
  });
  // A thing that is gone keeps its button for as long as that has the focus.
  listen(root, "focusout", ({ target }) => {
    const entry = [...drawn].find(([, { button, gone }]) => gone && button === target);
    if (entry) remove(...entry);
  });

  function add(track) {
    const item = createElement("li", "boxes-item");
    const button = createElement("button", "box");
    button.type = "button";
    button.append(createElement("span", "box-name", boxTexts(track, false).name));
    item.append(button);
    root.append(item);
    return { item, button, track, gone: false };
  }

  function remove(id, { item }) {
    drawn.delete(id);
    item.remove();
    setProperty(root, "hidden", drawn.size === 0);
  }

  /** The button that has the focus although its thing is gone, if `track` may be that thing again. */
  function takeOver(track) {
    const entry = [...drawn].find(
      ([
        ,
        {
          gone,
          track: { name },
        },
      ]) => gone && name === track.name,
    );
    if (!entry) return null;
    drawn.delete(entry[0]);
    return { ...entry[1], gone: false };
  }

  function layAll() {
    for (const entry of drawn.values()) lay(entry);
  }

  function lay({ button, track: { box } }) {
    if (!video.videoWidth || !view.width) return;
    const shown = boxIn(view, mirrors ? mirrored(box) : box);
    setStyle(button, "translate", `${px(shown.left)} ${px(shown.top)}`);
    setStyle(button, "width", px(shown.width));
    setStyle(button, "height", px(shown.height));
    // Small things lie over large ones, so that each can be pressed.
    setStyle(button, "zIndex", String(Math.round((1 - areaOf(box)) * 100)));
    setAttribute(button, "data-inside", shown.top < NAME_PX ? "" : null);
    setAttribute(button, "data-right", shown.left > view.width / 2 ? "" : null);
  }

  function show(track, found) {
    const entry = { ...(drawn.get(track.id) ?? takeOver(track) ?? add(track)), track };
    drawn.set(track.id, entry);
    setAttribute(entry.button, "aria-label", boxTexts(track, mirrors).label);
    setAttribute(entry.button, "data-found", found ? "" : null);
    setAttribute(entry.button, "data-gone", null);
    lay(entry);
  }

  return {
    update(state, at) {
      const wasMirrored = mirrors;
      mirrors = isMirrored(state);
      if (wasMirrored !== mirrors) layAll();
      const things = shownThings(state, at);
      const found = foundThing(state);
      setAttribute(root, "data-finding", found ? "" : null);
      for (const track of things) show(track, track.id === found?.id);
      const ids = new Set(things.map(({ id }) => id));
      for (const [id, entry] of drawn) {
        if (ids.has(id)) continue;
        if (entry.button === document.activeElement) {
          drawn.set(id, { ...entry, gone: true });
          setAttribute(entry.button, "data-gone", "");
        } else remove(id, entry);
      }
      setProperty(root, "hidden", drawn.size === 0);
    },
    destroy() {
      resized.disconnect();
      destroy();
      root.replaceChildren();
    },
  };
}

const px = (number) => `${Math.round(number)}px`;

function setStyle(element, name, value) {
  if (element.style[name] !== value) element.style[name] = value;
}
