"""What one run works with: its own temporary folder and cache, the model, the frame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tools.bench.children import CACHE_VARIABLE
from tools.bench.options import RANDOM, Options
from tools.bench.pictures import drawn_scene, read_picture
from tools.random_checkpoint import make_random
from vlm.checkpoints.catalogue import BUNDLED_FOLDER, BUNDLED_MODEL, resolve
from vlm.settings import Settings

Say = Callable[[str], None]
Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Setup:
    """`settings_flags` are those of `app.py`; `say` takes a line of progress."""

    options: Options
    settings_flags: list[str]
    folder: Path
    cache_folder: Path
    image: Image.Image
    image_file: Path
    say: Say

    @property
    def settings(self) -> Settings:
        """What the engine is loaded with."""
        return Settings.from_args(self.settings_flags, {})


@dataclass
class Measured:
    """The samples of one run by their figures' keys; `references` by way, in `reference_dtype`."""

    samples: Samples = field(default_factory=dict)
    references: dict[str, Samples] = field(default_factory=dict)
    reference_dtype: str | None = None

    def add(self, key: str, value: float | None, way: str | None = None) -> None:
        """One more sample of a figure, of ours or of another `way`; None adds nothing."""
        samples = self.samples if way is None else self.references.setdefault(way, {})
        if value is not None:
            samples.setdefault(key, []).append(value)


@contextmanager
def prepared(options: Options, say: Say) -> Iterator[Setup]:
    """All that is needed before anything is timed; it goes when the context is left.

    Raises SightlineError where model or frame cannot be had.
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
    """Converted models are kept in `folder` meanwhile: what is made here, nobody needs again."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before
