// The sample: drawings that the bundled model knows (tools/nano/sample.py), one after the other.

const COUNT = 6;
const EACH_MS = 6_000;
const SIZE = { width: 960, height: 720 };
const FOLDER = new URL("../../sample/", import.meta.url);

/** Resolves to a stream that shows the drawings until `signal` is aborted. */
export async function createSample(signal) {
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const context = canvas.getContext("2d", { alpha: false });
  const drawings = await Promise.all(Array.from({ length: COUNT }, (_, index) => load(index + 1)));
  const stream = canvas.captureStream();
  let index = 0;
  function draw() {
    context.drawImage(drawings[index % COUNT], 0, 0, SIZE.width, SIZE.height);
    index += 1;
  }
  draw();
  const timer = setInterval(draw, EACH_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  if (signal.aborted) clearInterval(timer);
  return stream;
}

async function load(number) {
  const image = new Image();
  image.src = new URL(`${number}.svg`, FOLDER);
  try {
    await image.decode();
  } catch {
    throw Object.assign(new Error("The sample did not load."), { problem: "missing" });
  }
  return image;
}
