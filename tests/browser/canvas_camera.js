// A camera that shows a picture of the test, for a page's init script: `testCamera`. It sends 20 frames
// a second.
(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const pen = canvas.getContext("2d");
  const picture = new Image();
  const media = navigator.mediaDevices;
  if (!media) return;
  const tracks = [];
  let shakePx = 0;
  let bandDepth = 0;
  let frames = 0;

  const camera = (window.testCamera = {
    /** An error name with which it refuses, such as "NotAllowedError", or null. */
    failure: null,
    /** Whether it is plugged in. */
    plugged: true,
    /** Shows the picture at `url` from the next frame on. */
    async show(url) {
      picture.src = url;
      await picture.decode();
      Object.assign(canvas, { width: picture.naturalWidth, height: picture.naturalHeight });
      draw();
    },
    /** Moves the picture to and fro by some pixels, as a hand that holds it. */
    shake(px) {
      shakePx = px;
    },
    /** Rolls two bands through the picture that make it darker by up to `depth` (0..1). */
    bands(depth) {
      bandDepth = depth;
    },
    unplug() {
      camera.plugged = false;
      for (const { track, events } of tracks.splice(0)) {
        track.stop();
        events.dispatchEvent(new Event("ended"));
      }
      media.dispatchEvent(new Event("devicechange"));
    },
    plug() {
      camera.plugged = true;
      media.dispatchEvent(new Event("devicechange"));
    },
  });

  function draw() {
    frames += 1;
    const x = shakePx * Math.sin(frames * 0.7);
    const y = shakePx * Math.cos(frames * 1.1);
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (picture.complete && picture.naturalWidth) pen.drawImage(picture, x, y);
    if (bandDepth > 0) darkenBands();
    // A canvas that does not change sends no frame.
    pen.fillStyle = frames % 2 ? "#fefefe" : "white";
    pen.fillRect(0, 0, 1, 1);
  }
  function darkenBands() {
    const height = 4;
    for (let y = 0; y < canvas.height; y += height) {
      const wave = 0.5 + 0.5 * Math.sin((4 * Math.PI * y) / canvas.height + frames * 0.7);
      pen.fillStyle = `rgb(0 0 0 / ${bandDepth * wave})`;
      pen.fillRect(0, y, canvas.width, height);
    }
  }
  setInterval(draw, 50);

  media.getUserMedia = async () => {
    if (camera.failure) throw new DOMException("The test refuses.", camera.failure);
    if (!camera.plugged) throw new DOMException("The test has none.", "NotFoundError");
    const stream = canvas.captureStream(20);
    const [track] = stream.getVideoTracks();
    track.getSettings = () => ({ deviceId: "test", width: canvas.width, height: canvas.height });
    // In Firefox an event that is dispatched at a track reaches no listener.
    const events = new EventTarget();
    track.addEventListener = (...listener) => events.addEventListener(...listener);
    tracks.push({ track, events });
    return stream;
  };
  media.enumerateDevices = async () =>
    camera.plugged
      ? [{ kind: "videoinput", deviceId: "test", label: "Test camera", groupId: "" }]
      : [];
})();
