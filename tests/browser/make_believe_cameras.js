// Make-believe cameras for a page's init script: `window.cameras` plugs, unplugs, freezes, mutes and
// refuses them. Each shows a circle of its colour on white and sends frames while it is not frozen.
//
// `window.cameraSetup` is { cameras: [{ name, label, colour }], connected: [names], permission,
// hidesNames }. With `hidesNames` ids and labels are "" until a camera was opened, as in Safari.
(() => {
  // The empty page before the first one has no storage and no cameras.
  if (!navigator.mediaDevices) return;
  const { cameras, connected, permission, hidesNames } = window.cameraSetup;
  const known = Object.fromEntries(cameras.map((one) => [one.name, one]));
  const opened = {};
  const asked = [];
  const shown = [];
  let present = connected;
  let refusal = null;
  // Kept over a reload, so that a test can have other ids at the next load.
  let generation = Number(sessionStorage.getItem("generation") ?? 0);
  let wasOpened = false;
  const idOf = (name) => `${name}-id-${generation}`;
  const nameOf = (id) => present.find((name) => idOf(name) === id);

  const status = Object.assign(new EventTarget(), { name: "camera", state: permission });
  navigator.permissions.query = async () => status;

  function open(name) {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
    const pen = canvas.getContext("2d");
    let frozen = false;
    let tick = 0;
    const draw = () => {
      if (frozen) return;
      pen.fillStyle = known[name].wall ?? "#fff";
      pen.fillRect(0, 0, 640, 480);
      pen.fillStyle = known[name].colour;
      pen.beginPath();
      pen.arc(320, 240, 150, 0, 7);
      pen.fill();
      // A canvas that does not change sends no frame.
      tick += 1;
      pen.fillStyle = tick % 2 ? "#fefefe" : "#fdfdfd";
      pen.fillRect(0, 0, 2, 2);
    };
    draw();
    const timer = setInterval(draw, 40);
    const stream = canvas.captureStream(30);
    const [track] = stream.getVideoTracks();
    const stop = track.stop.bind(track);
    track.stop = () => {
      clearInterval(timer);
      stop();
    };
    track.getSettings = () => ({ deviceId: idOf(name), width: 640, height: 480 });
    // In Firefox an event that is dispatched at a track reaches no listener.
    const events = new EventTarget();
    track.addEventListener = (...listener) => events.addEventListener(...listener);
    const tell = (event) => events.dispatchEvent(new Event(event));
    opened[name] = { track, tell, freeze: (on) => (frozen = on) };
    shown.push(name);
    wasOpened = true;
    return stream;
  }

  const media = navigator.mediaDevices;
  media.getUserMedia = async ({ video }) => {
    asked.push(video);
    if (refusal) throw new DOMException(refusal.message, refusal.name);
    if (present.length === 0) {
      throw new DOMException("Requested device not found", "NotFoundError");
    }
    const wanted = video.deviceId?.exact;
    const name = wanted ? nameOf(wanted) : present[0];
    if (!name) throw Object.assign(new DOMException("", "OverconstrainedError"));
    return open(name);
  };
  media.enumerateDevices = async () =>
    present.map((name) => {
      const isHidden = hidesNames && !wasOpened;
      const [deviceId, label] = isHidden ? ["", ""] : [idOf(name), known[name].label];
      return { kind: "videoinput", deviceId, label, groupId: "" };
    });
  const end = (name) => {
    opened[name].track.stop();
    opened[name].tell("ended");
  };
  const announceChange = () => media.dispatchEvent(new Event("devicechange"));

  window.cameras = {
    /** The constraints of each call of getUserMedia, and the names of the cameras that it opened. */
    asked,
    shown,
    announceChange,
    unplug(name) {
      present = present.filter((one) => one !== name);
      if (opened[name]?.track.readyState === "live") end(name);
      announceChange();
    },
    plug(name) {
      present = [...present, name];
      announceChange();
    },
    end,
    freeze: (name, on = true) => opened[name].freeze(on),
    mute: (name, on = true) => opened[name].tell(on ? "mute" : "unmute"),
    /** Errors are { name, message }; null to open cameras again. */
    refuse: (error) => (refusal = error),
    paint: (name, colour, wall) => Object.assign(known[name], { colour, wall }),
    label: (name, label) => (known[name].label = label),
    rename() {
      generation += 1;
      sessionStorage.setItem("generation", generation);
      announceChange();
    },
    setPermission(state) {
      status.state = state;
      status.dispatchEvent(new Event("change"));
    },
  };
})();
