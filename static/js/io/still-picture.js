// Pictures that leave the page: a still as PNG, alone or with its words under it.

import { contourOf } from "../core/heat.js";
import { drawMap } from "./heat-picture.js";

/** Of the width of the picture. */
const LETTER = 1 / 28;
const SMALLEST_LETTER_PX = 14;
const RIGHT_TO_LEFT = /^[^\p{L}]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u;

/**
 * Resolves to `still` as a PNG; `caption` is { question, answer, region }, or null for the picture alone, `heat`
 * { grid, map, region, strength } or null.
 */
export async function stillPng({ picture }, caption, heat = null) {
  const image = await createImageBitmap(picture);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const { width, height } = image;
  const letterPx = Math.max(SMALLEST_LETTER_PX, Math.round(width * LETTER));
  const lines = caption ? linesOf(context, caption, width, letterPx) : [];
  const linePx = Math.round(letterPx * 1.4);
  canvas.width = width;
  canvas.height = height + (lines.length > 0 ? lines.length * linePx + letterPx : 0);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  image.close();
  if (heat) drawHeat(context, heat, width, height);
  if (caption?.region) drawRegion(context, caption.region, width, height);
  context.fillStyle = "#14191b";
  context.textBaseline = "top";
  lines.forEach(({ text, font, isRightToLeft }, index) => {
    context.font = font;
    context.direction = isRightToLeft ? "rtl" : "ltr";
    context.textAlign = "start";
    const x = isRightToLeft ? width - letterPx : letterPx;
    context.fillText(text, x, height + letterPx / 2 + index * linePx);
  });
  return new Promise((resolve, reject) => {
    const take = (blob) => (blob ? resolve(blob) : reject(new Error("no PNG")));
    canvas.toBlob(take, "image/png");
  });
}

/** The words of a caption as lines that fit the picture's width. */
function linesOf(context, { question, answer }, width, letterPx) {
  const fonts = [`${Math.round(letterPx * 0.75)}px sans-serif`, `${letterPx}px sans-serif`];
  return [question, answer].flatMap((text, index) => {
    const font = fonts[index];
    context.font = font;
    const isRightToLeft = RIGHT_TO_LEFT.test(text);
    const fits = (line) => context.measureText(line).width <= width - 2 * letterPx;
    return text
      .split("\n")
      .flatMap((line) => wrapped(line, fits))
      .map((line) => ({ text: line, font, isRightToLeft }));
  });
}

/** `text` in lines that fit; a word that does not fit by itself is broken. */
function wrapped(text, fits) {
  const lines = [];
  let line = "";
  for (const piece of text.match(/\S+\s*/g) ?? []) {
    if (fits(line + piece.trimEnd())) {
      line += piece;
      continue;
    }
    if (line) lines.push(line.trimEnd());
    line = "";
    for (const letter of piece) {
      if (fits((line + letter).trimEnd())) line += letter;
      else {
        lines.push(line);
        line = letter;
      }
    }
  }
  return line ? [...lines, line.trimEnd()] : lines;
}

function drawHeat(context, heat, width, height) {
  const canvas = document.createElement("canvas");
  drawMap(canvas, heat, heat.strength);
  const [x0, y0, x1, y1] = heat.region ?? [0, 0, 1, 1];
  const [left, top, wide, high] = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height];
  context.drawImage(canvas, left, top, wide, high);
  strokeTwice(context, width, () => {
    context.beginPath();
    for (const [ax, ay, bx, by] of contourOf(heat.grid, heat.map)) {
      context.moveTo(left + ax * wide, top + ay * high);
      context.lineTo(left + bx * wide, top + by * high);
    }
    context.stroke();
  });
}

function drawRegion(context, [x0, y0, x1, y1], width, height) {
  const box = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height];
  strokeTwice(context, width, () => context.strokeRect(...box));
}

/** A line of light in one of dark is seen on any picture. */
function strokeTwice(context, width, stroke) {
  const lineWidth = Math.max(2, width / 320);
  for (const [color, extra] of [
    ["#000000", 2],
    ["#ffffff", 0],
  ]) {
    context.strokeStyle = color;
    context.lineWidth = lineWidth + extra;
    stroke();
  }
}
