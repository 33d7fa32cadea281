// Whether the browser gives back what was drawn. Hardened browsers answer with noise, against tracking
// by fingerprints (privacy.resistFingerprinting of Firefox, the Tor Browser, extensions), and a model
// captions noise.

const SIDE_PX = 16;
const COLOUR = [40, 180, 170];
// Some browsers change the last bits of pixels (Brave), and JPEG rounds; neither harms a caption.
const TOLERATED_LEVELS = 12;

/** What `compress` throws if the browser falsifies pixels. */
export class FalsifiedError extends Error {
  constructor() {
    super("The browser falsifies what is read from a canvas.");
    this.name = "FalsifiedError";
  }
}

/** Rejects with FalsifiedError if pixels or JPEGs of `canvas` are not what is drawn, which is resized. */
export async function checkCanvas(canvas, contextOf, toJpeg) {
  canvas.width = SIDE_PX;
  canvas.height = SIDE_PX;
  const context = contextOf(canvas);
  context.fillStyle = `rgb(${COLOUR.join()})`;
  context.fillRect(0, 0, SIDE_PX, SIDE_PX);
  checkPixels(context);
  if (typeof createImageBitmap !== "function") return;
  const image = await createImageBitmap(await toJpeg(canvas, 1));
  context.clearRect(0, 0, SIDE_PX, SIDE_PX);
  context.drawImage(image, 0, 0);
  image.close();
  checkPixels(context);
}

function checkPixels(context) {
  const { data } = context.getImageData(0, 0, SIDE_PX, SIDE_PX);
  for (let at = 0; at < data.length; at += 4) {
    for (let channel = 0; channel < COLOUR.length; channel += 1) {
      const isFalse = Math.abs(data[at + channel] - COLOUR[channel]) > TOLERATED_LEVELS;
      if (isFalse) throw new FalsifiedError();
    }
  }
}
