// Make-believe browser extensions for a page's init script. Each changes the page and then follows its
// changes: `extensions.start(name, delayMs)`. `extensions.changes` counts the texts that it changed.
(() => {
  const state = { changes: 0, start };
  window.extensions = state;

  const foreign = (text) => text.replace(/\p{L}+/gu, (word) => `${word}en`);
  const isOff = (node) =>
    !node.data.trim() ||
    !node.parentElement ||
    node.parentElement.closest("script, style, [translate=no]");

  function textsIn(root) {
    if (root.nodeType === Node.TEXT_NODE) return [root];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) found.push(walker.currentNode);
    return found;
  }

  /** As Chrome's translator: each text goes into two <font> elements. */
  function translate(text) {
    if (isOff(text) || text.parentElement.closest("font")) return;
    const [outer, inner] = [document.createElement("font"), document.createElement("font")];
    inner.append(foreign(text.data));
    outer.append(inner);
    text.replaceWith(outer);
    state.changes += 1;
  }

  /** As a translator that keeps the text nodes. */
  const done = new WeakMap();
  function translateInPlace(text) {
    if (isOff(text) || done.get(text) === text.data) return;
    text.data = foreign(text.data);
    done.set(text, text.data);
    state.changes += 1;
  }

  /** As an extension that marks words. */
  function mark(text) {
    const at = text.data.search(/\b(a|the|on)\b/i);
    if (at < 0 || isOff(text) || text.parentElement.closest("mark")) return;
    const word = text.splitText(at);
    word.splitText(word.data.search(/\W|$/));
    const wrapper = document.createElement("mark");
    word.replaceWith(wrapper);
    wrapper.append(word);
    state.changes += 1;
  }

  /** As an extension for dark pages: colours as styles, and the theme in an attribute. */
  function darken(text) {
    const element = text.parentElement;
    if (document.documentElement.dataset.theme !== "dark") {
      document.documentElement.dataset.theme = "dark";
      state.changes += 1;
    }
    if (!element || element.dataset.darkened === "") return;
    element.dataset.darkened = "";
    element.style.color = "white";
    state.changes += 1;
  }

  const KINDS = { translate, translateInPlace, mark, darken };

  function start(kind, delayMs = 0) {
    const change = (root) => root.isConnected && textsIn(root).forEach(KINDS[kind]);
    change(document.body);
    new MutationObserver((records) => {
      const roots = new Set(records.flatMap(({ target, addedNodes }) => [target, ...addedNodes]));
      setTimeout(() => roots.forEach(change), delayMs);
    }).observe(document.documentElement, {
      ...{ childList: true, characterData: true, subtree: true },
      ...{ attributes: true, attributeFilter: ["data-theme"] },
    });
  }
})();
