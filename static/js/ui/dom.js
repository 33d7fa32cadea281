// Small helpers that touch the page only where something changes.

/** Sets an element's text unless it says that already. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets a property unless it has that value already. */
export function setProperty(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Sets an attribute, removes it for null, and leaves it alone where it is as wanted. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** Shows exactly `options` ([{ value, label }]) in a <select>, rebuilt only when they differ. */
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
      const option = make("option", "", label);
      option.value = value;
      return option;
    }),
  );
}

/** A new element with a class and text. */
export function make(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** `listen(target, type, handler)` until `destroy()`: what each component's listeners go through. */
export function createListeners() {
  const controller = new AbortController();
  return {
    listen(target, type, handler, options = {}) {
      target.addEventListener(type, handler, { ...options, signal: controller.signal });
    },
    destroy: () => controller.abort(),
  };
}
