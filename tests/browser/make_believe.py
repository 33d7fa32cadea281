"""Make-believe cameras, which a test plugs, unplugs, freezes, mutes and refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

SCRIPT = Path(__file__).with_name("make_believe_cameras.js")
BUILTIN = {"name": "builtin", "label": "Integrated Camera", "colour": "#d22020"}
USB = {"name": "usb", "label": "USB Camera (046d:08e5)", "colour": "#2040d8"}
TWIN = {"name": "twin", "label": "USB Camera (046d:08e5)", "colour": "#20a030"}
TRACK = "document.querySelector('video').srcObject?.getVideoTracks()[0]"


def make_believe(
    cameras: Sequence[dict[str, str]] = (BUILTIN, USB),
    connected: Sequence[str] | None = None,
    permission: str = "granted",
    hides_names: bool = False,
) -> str:
    """Return an init script with these cameras; all are connected unless `connected` is given."""
    setup = {
        "cameras": list(cameras),
        "connected": [one["name"] for one in cameras] if connected is None else list(connected),
        "permission": permission,
        "hidesNames": hides_names,
    }
    return f"window.cameraSetup = {json.dumps(setup)};\n{SCRIPT.read_text()}"


def do(page: Page, action: str, *args: Any) -> None:
    """Call a function of `window.cameras`."""
    page.evaluate("([action, args]) => { window.cameras[action](...args); }", [action, list(args)])


def shown(page: Page) -> list[str]:
    """Return the names of the cameras that were opened, in order."""
    names: list[str] = page.evaluate("window.cameras.shown")
    return names


def times_asked(page: Page) -> int:
    """Return how often the page has asked the browser for a camera."""
    return int(page.evaluate("window.cameras.asked.length"))
