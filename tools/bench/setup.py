"""The setup of one run: a temporary folder with its own model cache, the model, the frame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from tools.bench.frames import drawn_scene, read_picture
from tools.bench.options import RANDOM, Options
from tools.random_checkpoint import make_random
from vlm.checkpoints.catalogue import BUNDLED_FOLDER, BUNDLED_MODEL, resolve
from vlm.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
_CACHE_VARIABLE: Final = "SIGHTLINE_CACHE"

# Prints one line of progress.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    options: Options
    # Flags of `app.py`.
    settings_flags: list[str]
    # The checkpoint.
    folder: Path
    # Where this run keeps converted models.
    cache_folder: Path
    image: Image.Image
    image_file: Path
    say: Say

    @property
    def settings(self) -> Settings:
        return Settings.from_args(self.settings_flags, {})

    def child_environment(self) -> dict[str, str]:
        """Return the environment of child processes: the run's cache, no other settings."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return own | {
            _CACHE_VARIABLE: str(self.cache_folder),
            "PYTHONPATH": os.pathsep.join(paths),
        }


@contextmanager
def prepared(options: Options, say: Say) -> Iterator[Setup]:
    """Prepare everything that is not timed; delete it at exit.

    Raises SightlineError if model or frame are not available.
    """
    image = drawn_scene(0) if options.image is None else read_picture(options.image)
    with tempfile.TemporaryDirectory(
        prefix="sightline-bench-", ignore_cleanup_errors=True
    ) as scratch:
        image_file = Path(scratch) / "frame.png"
        image.save(image_file)
        model = options.model
        if model.startswith(RANDOM):
            model = str(_random_model(model.removeprefix(RANDOM), Path(scratch), say))
        cache_folder = Path(scratch) / "cache"
        with _cache_in(cache_folder):
            yield Setup(
                options,
                options.settings_flags(model),
                resolve(model),
                cache_folder,
                image,
                image_file,
                say,
            )


def _random_model(source: str, scratch: Path, say: Say) -> Path:
    folder = BUNDLED_FOLDER if source == BUNDLED_MODEL else Path(source).expanduser()
    say(f"Making random weights in the shape of {source}, once for this run.")
    out = scratch / "random"
    make_random(folder, out)
    return out


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Keep converted models in `folder` meanwhile."""
    before = os.environ.get(_CACHE_VARIABLE)
    os.environ[_CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE_VARIABLE]
        else:
            os.environ[_CACHE_VARIABLE] = before
