"""A camera for both browsers that shows a picture of the test (canvas_camera.js)."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

# Sets `window.testCamera`.
CANVAS_CAMERA = (Path(__file__).parent / "canvas_camera.js").read_text()
LAST_IMAGE = """(async () => {
  const image = window.sentForms.at(-1).get("image");
  return [...new Uint8Array(await image.arrayBuffer())];
})()"""


def data_url(image: Image.Image) -> str:
    """Return `image` as a lossless data URL."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
