// Helpers that change the document only if a value differs.

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setProperty(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Sets an attribute, or removes it if `value` is null. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** Sets the options ([{ value, label }]) of a <select>. */
export function setOptions(select, options) {
  const same =
    select.options.length === options.length &&
    options.every(({ value, label }, index) => {
      const option = select.options[index];
      return option.value === value && option.textContent === label;
    });
  if (same) return;
  select.replaceChildren(
    ...options.map(({ value, label }) => {
      const option = createElement("option", "", label);
      option.value = value;
      return option;
    }),
  );
}

/** A new element with a class and text. */
export function createElement(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
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
