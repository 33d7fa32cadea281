"""Scenes by another renderer, for evaluation only: SVG in headless Chromium.

Shapes, colours, backgrounds and shadows are defined here, not in `shapes.py`, so that the
evaluation detects a model that only learned the look of `shapes.py`. The camera is the simulated
one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from tools.nano import camera
from tools.nano.scenes import light_of
from tools.nano.truth import Scene, SceneObject
from vlm.errors import SightlineError

_BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
# No sandbox (it may run as root), no GPU, no connections to the browser vendor's hosts.
QUIET_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PAINTS: Final[dict[str, tuple[str, ...]]] = {
    "black": ("#111", "#1c1c1e"),
    "white": ("#fff", "#fafafa"),
    "grey": ("#808080", "#8e8e93"),
    "red": ("#d81e1e", "#c8102e"),
    "orange": ("#ff8c00", "#fb8b00"),
    "yellow": ("#ffe000", "#fdd835"),
    "green": ("#1e9e3a", "#2e7d32"),
    "blue": ("#1e56d8", "#1565c0"),
    "purple": ("#7b2cbf", "#6a1b9a"),
    "pink": ("#ff8fc0", "#f9a8d4"),
    "brown": ("#6b3f1d", "#5d4037"),
}
_DARK: Final = ("black", "blue", "purple", "brown", "green", "red", "grey")
_LIGHT: Final = ("white", "yellow", "orange", "pink")
_FACE: Final = (
    '<circle r="50"/><g fill="INK"><circle cx="-18" cy="-15" r="6.5"/>'
    '<circle cx="18" cy="-15" r="6.5"/></g>'
    '<path d="MOUTH" fill="none" stroke="INK" stroke-width="6.5"/>'
)
# Each shape within a square from -50 to 50.
_SHAPES: Final[dict[str, str]] = {
    "circle": '<circle r="50"/>',
    "square": '<rect x="-42" y="-42" width="84" height="84"/>',
    "rectangle": '<rect x="-50" y="-18" width="100" height="36"/>',
    "triangle": '<path d="M0-48 50 40H-50Z"/>',
    "star": '<path d="M0-50 12-16 48-15 19 6 29 40 0 20-29 40-19 6-48-15-12-16Z"/>',
    "heart": '<path d="M0 45C-60 5-50-45-22-45-8-45 0-34 0-28 0-34 8-45 22-45 50-45 60 5 0 45Z"/>',
    "cross": '<path d="M-16-50h32v34h34v32h-34v34h-32v-34h-34v-32h34Z"/>',
    "ring": '<circle r="38" fill="none" stroke="currentColor" stroke-width="23"/>',
    "diamond": '<path d="M0-50 34 0 0 50-34 0Z"/>',
    "crescent": '<path d="M14-48A50 50 0 1 0 14 48 40 40 0 1 1 14-48Z"/>',
    "right arrow": '<path d="M-50-14H8V-38L50 0 8 38V14H-50Z"/>',
    "left arrow": '<path d="M50-14H-8V-38L-50 0-8 38V14H50Z"/>',
    "up arrow": '<path d="M-14 50V-8H-38L0-50 38-8H14V50Z"/>',
    "down arrow": '<path d="M-14-50V8H-38L0 50 38 8H14V-50Z"/>',
    "smiling face": _FACE.replace("MOUTH", "M-26 10Q0 40 26 10"),
    "sad face": _FACE.replace("MOUTH", "M-26 32Q0 4 26 32"),
}


def find_browser() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def drawn_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[str, list[SceneObject]]:
    """Return an SVG document of (width, height) pixels and the objects in it."""
    light_ground = rng.random() < 0.7
    ground, inks = ("#f4f1ea", _DARK) if light_ground else ("#24323f", _LIGHT)
    if light_ground and rng.random() < 0.5:
        ground = str(rng.choice(["#ffffff", "#dfe8f2", "#f7e9d7"]))
    second = ground if rng.random() < 0.5 else ("#e3e0da" if light_ground else "#17212b")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}">',
        f'<defs><linearGradient id="g"><stop stop-color="{ground}"/>'
        f'<stop offset="1" stop-color="{second}"/></linearGradient>'
        '<filter id="s"><feDropShadow dx="0" dy="2" stdDeviation="2" flood-opacity=".35"/>'
        "</filter></defs>",
        '<rect width="100%" height="100%" fill="url(#g)"/>',
    ]
    corners = [(0.28, 0.28), (0.72, 0.28), (0.28, 0.72), (0.72, 0.72)]
    count = int(rng.integers(1, 5))
    spots = [corners[i] for i in rng.permutation(4)[:count]]
    objects = []
    for column, row in spots:
        shape = list(_SHAPES)[rng.integers(len(_SHAPES))]
        colour = inks[rng.integers(len(inks))]
        radius_share = rng.uniform(0.095, 0.19)
        x, y = column + rng.uniform(-0.03, 0.03), row + rng.uniform(-0.03, 0.03)
        centre = tuple(
            length * (0.5 + camera.VIEW_SHARE * (place - 0.5))
            for length, place in zip(size, (x, y), strict=True)
        )
        scale = radius_share * min(size) * camera.VIEW_SHARE / 50
        paint = rng.choice(_PAINTS[colour])
        ink = "#fff" if colour in ("black", "blue", "purple", "brown", "green", "red") else "#111"
        shadow = ' filter="url(#s)"' if rng.random() < 0.3 else ""
        turn_deg = rng.uniform(-9, 9)
        parts.append(
            f'<g transform="translate({centre[0]:.1f} {centre[1]:.1f}) rotate({turn_deg:.1f}) '
            f'scale({scale:.3f})" fill="{paint}" color="{paint}"{shadow}>'
            f"{_SHAPES[shape].replace('INK', ink)}</g>"
        )
        objects.append(SceneObject(shape, colour, "", "solid", x, y))
    return "".join([*parts, "</svg>"]), objects


def browser_frames(count: int, seed: int = 0) -> Iterator[tuple[Image.Image, Scene]]:
    """Yield `count` frames and their scenes; raise SightlineError if Chromium is not installed."""
    from playwright.sync_api import sync_playwright

    browser_path = find_browser()
    if browser_path is None:
        raise SightlineError("The other renderer needs Chromium. Install it and try again.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=[*QUIET_FLAGS, "--hide-scrollbars"]
        )
        page = browser.new_page()
        for index in range(count):
            rng = np.random.default_rng([seed, index, 91])
            frame_size = camera.sample_frame_size(rng)
            size = camera.canvas_size_for(frame_size)
            document, objects = drawn_scene(rng, size)
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.set_content(f'<body style="margin:0">{document}')
            drawn = Image.open(BytesIO(page.screenshot())).convert("RGB")
            view = camera.sample_view(rng, frame_size, drawn.size)
            warped = view.warp(drawn, frame_size, Image.Resampling.BILINEAR)
            image = camera.expose(warped, rng, camera.Light())
            yield image, Scene("objects", tuple(objects), light=light_of(image))
        browser.close()
