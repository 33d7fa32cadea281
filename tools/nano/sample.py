"""`python -m tools.nano.sample` draws the page's sample: scenes for people without a camera.

They are SVG, since they are shown at any size. The bundled model is not trained on this renderer's
scenes; it names all objects of these right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from tools.nano.browser_scenes import drawn_scene

FOLDER: Final = Path(__file__).resolve().parents[2] / "static" / "sample"
SIZE_PX: Final = (960, 720)
SEEDS: Final = (33, 14, 19, 21, 18, 36)


def main() -> None:
    """Write 1.svg, 2.svg, …, one for each seed."""
    FOLDER.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS, start=1):
        document, _ = drawn_scene(np.random.default_rng(seed), SIZE_PX)
        (FOLDER / f"{number}.svg").write_text(f"{document}\n")


if __name__ == "__main__":
    main()
