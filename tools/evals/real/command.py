"""The command line of `python -m tools.evals real`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tools.bench.machine import describe_machine
from tools.evals import photographs
from tools.evals.figures import Figure, as_json, table
from tools.evals.real.clone import clone_figures
from tools.evals.real.memory import EARLY_FRAMES, memory_figures
from tools.evals.real.models import SmallModels
from tools.evals.real.names import look_at, name_figures, right_names
from tools.evals.real.scenes import scene_figures
from tools.evals.real.start import start_figures
from tools.evals.real.texts import text_figures
from tools.evals.real.times import time_figures
from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.errors import SettingsError, SightlineError
from vlm.models.loading import load_engine
from vlm.reading.reader import load_reader
from vlm.settings import Settings

PARTS: Final = ("names", "scenes", "texts", "time", "memory", "start", "clone")
# The photograph of the first start.
_FIRST: Final = "000000000285.jpg"


def run(argv: Sequence[str]) -> int:
    """Measure, print lines, a table and one line of JSON; return the exit code."""
    options = _parser().parse_args(argv)
    if min(options.words, options.scenes) < 1 or options.frames <= EARLY_FRAMES:
        raise SettingsError(
            f"Raise --words and --scenes to 1 and --frames to {EARLY_FRAMES + 1} at least."
        )
    lists = photographs.lists()
    images = photographs.coco(options.photos) | photographs.scikit_image(options.scikit_image)
    missing = sorted({*lists["useful"], *lists["textures"]} - images.keys())
    if missing:
        raise SightlineError(f"{len(missing)} pictures are missing, the first is {missing[0]}.")
    figures: list[Figure] = []
    report: dict[str, object] = {}
    for part in (part for part in PARTS if part in options.parts):
        _say(f"-- {part}")
        made, details = _MEASURES[part](options, lists, images)
        figures += made
        report |= details
    print(table(figures))
    print(json.dumps({"figures": as_json(figures), **report, "machine": describe_machine()}))
    return 0


_Lists = Mapping[str, Any]
_Images = Mapping[str, Image.Image]
_Measured = tuple[list[Figure], dict[str, object]]


def _names(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    pictures = look_at(SmallModels(), {name: images[name] for name in lists["useful"]})
    lines = {picture.name: picture.line.sentence for picture in pictures}
    for name, line in lines.items():
        _say(f"{name}: {line}")
    return name_figures(pictures, lists), {"lines": lines}


def _scenes(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    engine = load_engine(Settings(model=BUNDLED_MODEL))
    textures = [images[name] for name in lists["textures"]]
    figures, invented = scene_figures(engine, SmallModels(), options.scenes, textures)
    return figures, {"invented_lines": invented}


def _texts(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    without_text = {name: images[name] for name in lists["without_text"]}
    figures, invented = text_figures(load_reader(), options.words, without_text)
    return figures, {"invented_texts": invented}


def _time(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    engine = load_engine(Settings(model=BUNDLED_MODEL))
    photos = {name: images[name] for name in lists["things"]}
    return time_figures(SmallModels(), engine, photos), {}


def _memory(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    return memory_figures(options.frames, options.photos), {}


def _start(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    return start_figures(options.photos / _FIRST, right_names(_FIRST)), {}


def _clone(options: argparse.Namespace, lists: _Lists, images: _Images) -> _Measured:
    return clone_figures(), {}


_MEASURES: Final[Mapping[str, Callable[[argparse.Namespace, _Lists, _Images], _Measured]]] = {
    "names": _names,
    "scenes": _scenes,
    "texts": _texts,
    "time": _time,
    "memory": _memory,
    "start": _start,
    "clone": _clone,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evals real",
        description="What the small models say about real pictures, and what they cost. Figures "
        "of time and memory are ratios within the run, but nothing else should run meanwhile.",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        default=photographs.DEFAULT_FOLDER,
        help="24 photographs of COCO val2017 (default: %(default)s)",
    )
    parser.add_argument(
        "--scikit-image",
        type=Path,
        metavar="FOLDER",
        help="the pictures of skimage/data (default: those of the installed package)",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)"
    )
    parser.add_argument(
        "--scenes",
        type=int,
        default=240,
        help="drawn scenes, and nearly as many frames without a thing (default: %(default)s)",
    )
    parser.add_argument(
        "--words", type=int, default=200, help="scenes with a word to read (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=1000,
        help="frames for the memory, more than 50 (default: %(default)s)",
    )
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
