// Places in a region of a picture, as places in the picture. Pure.

import { placeOf } from "./geometry.js";

const ALL = [0, 0, 1, 1];

/** A box in 0..1 of `region`, null for all, as one in the picture. */
export function boxInPicture(region, [x0, y0, x1, y1]) {
  const [left, top, right, bottom] = region ?? ALL;
  const [width, height] = [right - left, bottom - top];
  return [left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height];
}

/** The part of the picture in which a place in 0..1 of `region` is; as placeOf of geometry.js. */
export const placeIn = (region, { x, y }) => placeOf(boxInPicture(region, [x, y, x, y]));
