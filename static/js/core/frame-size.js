// How large a frame is sent. Pure.

// The server's status has frame_size_px; no frame is sent before it is known. MAX bounds its value.
const DEFAULT_SIDE_PX = 512;
const MAX_SIDE_PX = 2048;

/** The longest side in pixels of a frame that is worth sending. */
export const fitFrame = ({ server }) =>
  Math.min(server.status?.frame_size_px || DEFAULT_SIDE_PX, MAX_SIDE_PX);
