"""Files for the page to show: pictures, videos, and broken ones; and giving them to the page."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page

FRAMES_PER_S = 10
# Dispatches an event with files, each [name, type, base64], and perhaps a text.
GIVE = """([selector, name, files, text]) => {
  const given = new DataTransfer();
  for (const [file, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    given.items.add(new File([bytes], file, { type }));
  }
  if (text) given.setData("text/plain", text);
  const usual = { bubbles: true, cancelable: true };
  const event = name === "paste"
    ? new ClipboardEvent(name, { ...usual, clipboardData: given })
    : new DragEvent(name, { ...usual, dataTransfer: given });
  return document.querySelector(selector).dispatchEvent(event);
}"""

File = tuple[str, str, bytes]


def write_video(path: Path, scenes: Iterable[Image.Image], seconds: float) -> Path:
    """Write a WebM of scenes of the same size, each for `seconds`."""
    images = [cv2.cvtColor(np.asarray(scene), cv2.COLOR_RGB2BGR) for scene in scenes]
    height, width = images[0].shape[:2]
    coder = cv2.VideoWriter.fourcc(*"VP80")
    writer = cv2.VideoWriter(str(path), coder, FRAMES_PER_S, (width, height))
    for image in images:
        for _ in range(round(seconds * FRAMES_PER_S)):
            writer.write(image)
    writer.release()
    return path


def png_of(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def huge_png(side_px: int) -> bytes:
    """Return a small file of a square picture in one colour that needs much memory."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side_px * (side_px // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def give(page: Page, way: str, *files: File, selector: str = "#stage", text: str = "") -> bool:
    """Drop or paste files on an element; return whether the browser would act too."""
    listed = [[name, type_, base64.b64encode(data).decode()] for name, type_, data in files]
    acts: bool = page.evaluate(GIVE, [selector, way, listed, text])
    return acts
