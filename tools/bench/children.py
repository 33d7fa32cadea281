"""What all processes have in common that the bench starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE_VARIABLE: Final = "SIGHTLINE_CACHE"


def child_environment(cache_folder: Path) -> dict[str, str]:
    """For a process of this repository that keeps converted models in `cache_folder`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return own | {CACHE_VARIABLE: str(cache_folder), "PYTHONPATH": os.pathsep.join(paths)}
