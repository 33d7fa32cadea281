// Helpers that write to the document what differs from what they last wrote. Texts and attributes are
// not compared with what the document holds: a translator or another extension may have changed it,
// and page and extension would undo each other without end.

/** What was last written, by element: { text, options, attributes by "@name" }. */
const written = new WeakMap();

// All texts are compared about twice a second, so this outlasts the translation of a new one.
const REWRITTEN_MS = 10_000;
let rewrittenAt = -Infinity;

/** Records `value`; returns whether it differs from the last one, at first from `initial()`. */
function record(element, name, value, initial) {
  const values = written.get(element) ?? new Map();
  written.set(element, values);
  const before = values.has(name) ? values.get(name) : initial();
  values.set(name, value);
  return before !== value;
}

/** Sets a text; returns whether it differs from the last one. */
export function setText(element, text) {
  const isNew = record(element, "text", text, () => element.textContent);
  if (isNew) element.textContent = text;
  noteRewriting(element, text);
  return isNew;
}

/** Notes whether something else has rewritten `text`, which was written to `element`. */
export function noteRewriting(element, text) {
  if (element.textContent !== text) rewrittenAt = performance.now();
}

/** Whether something else, most likely a translator, rewrites the texts of the page. */
export function isRewritten() {
  return performance.now() - rewrittenAt < REWRITTEN_MS;
}

/**
 * Sets the language of a caption. Beside a translator the caption has none of its own: the translator
 * sets the document's.
 */
export function setLanguage(element, lang) {
  setAttribute(element, "lang", isRewritten() ? null : lang);
}

/** Sets a property. It is compared with the element's own, which the user may have changed. */
export function setProperty(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Sets an attribute, or removes it if `value` is null. */
export function setAttribute(element, name, value) {
  if (!record(element, `@${name}`, value, () => element.getAttribute(name))) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/**
 * Sets the options ([{ value, label, disabled }]) of a <select>. Options that are there are changed in place: Orca
 * takes a new selected one for the person's choice, and says it.
 */
export function setOptions(select, options) {
  if (!record(select, "options", JSON.stringify(options), () => "")) return;
  while (select.options.length > options.length) select.options[options.length].remove();
  options.forEach(({ value, label, disabled = false }, index) => {
    const option = select.options[index] ?? select.appendChild(createElement("option", ""));
    setText(option, label);
    setProperty(option, "value", value);
    setProperty(option, "disabled", disabled);
  });
}

/**
 * Returns `items(count)`, which makes `root` hold `count` elements made by `make()` and returns them.
 * Elements that an extension adds to `root` are none of them.
 */
export function createItems(root, make) {
  const items = [];
  return (count) => {
    while (items.length > count) items.pop().remove();
    while (items.length < count) {
      items.push(make(items.length));
      root.append(items.at(-1));
    }
    return items;
  };
}

/** A new element with a class and text. */
export function createElement(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  setText(element, text);
  return element;
}

/** Returns { listen(target, type, handler, options), destroy() }; `destroy` removes all listeners. */
export function createListeners() {
  const controller = new AbortController();
  return {
    listen(target, type, handler, options = {}) {
      target.addEventListener(type, handler, { ...options, signal: controller.signal });
    },
    destroy: () => controller.abort(),
  };
}
