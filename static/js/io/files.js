// Saves a text as a file of the person's.

/** Offers `text` as the file `name`; the browser asks where to, or puts it with the downloads. */
export const saveFile = (name, type, text) =>
  saveBlob(name, new Blob([text], { type: `${type};charset=utf-8` }));

/** The same for a file that is one already. */
export function saveBlob(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // After the browser has read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
