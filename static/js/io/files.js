// Saves a text as a file of the person's.

/** Offers `text` as the file `name`; the browser asks where to, or puts it with the downloads. */
export function saveFile(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  // After the browser has read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
