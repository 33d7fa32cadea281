// Which of the connected cameras is the chosen one, and how cameras are called. Pure.
//
// Browsers change a camera's id: Safari at each load, others when site data is cleared or the camera
// is plugged in elsewhere. Then its label tells it, unless two cameras have the same one.

/** The label without the vendor and product ids that Chromium appends, as in " (046d:08e5)". */
const plainLabel = (label) => label.replace(/\s*\([0-9a-f]{4}:[0-9a-f]{4}\)\s*$/i, "");

/** The cameras whose ids the browser tells: before the permission is given, it hides them. */
export const knownCameras = (devices) => devices.filter(({ deviceId }) => deviceId);

/**
 * The chosen camera among `devices`, or null: the one with its id, else the only one with its label,
 * else the only one with its label but for the browser's ids.
 */
export function chosenAmong(devices, { deviceId, deviceLabel, deviceIsTwin }) {
  const known = knownCameras(devices);
  const same = known.find((one) => one.deviceId === deviceId);
  if (same || !deviceLabel || deviceIsTwin) return same ?? null;
  return (
    onlyOne(known, ({ label }) => label === deviceLabel) ??
    onlyOne(known, ({ label }) => plainLabel(label) === plainLabel(deviceLabel))
  );
}

function onlyOne(devices, matches) {
  const found = devices.filter(matches);
  return found.length === 1 ? found[0] : null;
}

/** The settings of a choice of the camera `deviceId`, with what tells it if its id changes. */
export function choiceOf(devices, deviceId) {
  const label = devices.find((one) => one.deviceId === deviceId)?.label ?? "";
  return { deviceId, deviceLabel: label, deviceIsTwin: hasTwin(devices, deviceId, label) };
}

/**
 * `settings` after the cameras were listed: with the chosen camera's present id and label, and marked
 * once another camera with its label was seen beside it, since then the label no longer tells it.
 */
export function choiceAfterListing(devices, settings) {
  const found = settings.deviceId ? chosenAmong(devices, settings) : null;
  if (!found) return settings;
  const { deviceId } = found;
  const deviceLabel = found.label || settings.deviceLabel;
  const deviceIsTwin = settings.deviceIsTwin || hasTwin(devices, deviceId, deviceLabel);
  const next = { deviceId, deviceLabel, deviceIsTwin };
  const same = Object.entries(next).every(([name, value]) => settings[name] === value);
  return same ? settings : { ...settings, ...next };
}

function hasTwin(devices, deviceId, label) {
  const isTwin = (one) =>
    one.deviceId !== deviceId && label && plainLabel(one.label) === plainLabel(label);
  return knownCameras(devices).some(isTwin);
}

/** Whether other cameras are connected than before; headphones make the browser list devices, too. */
export function areOtherCameras(before, after) {
  const ids = (devices) =>
    devices
      .map(({ deviceId }) => deviceId)
      .sort()
      .join("\n");
  return before.length !== after.length || ids(before) !== ids(after);
}

/** The known cameras as [{ deviceId, name }]; equal names get a number. */
export function namedCameras(devices) {
  const known = knownCameras(devices);
  const names = known.map(({ label }, index) => label || `Camera ${index + 1}`);
  return known.map(({ deviceId }, index) => {
    const equal = names.filter((name) => name === names[index]).length > 1;
    const number = names.slice(0, index + 1).filter((name) => name === names[index]).length;
    return { deviceId, name: equal ? `${names[index]} (${number})` : names[index] };
  });
}
