"""The command line of `python -m vlm.detect`: the boxes of things in pictures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from vlm.checkpoints.detectors import DETECTOR_NAMES, NO_DETECTOR
from vlm.detect.detector import Detector, load_detector, shown
from vlm.errors import SettingsError
from vlm.images.files import Findings, exit_code_of, picture_parser, print_findings
from vlm.settings import Settings


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command; return the exit code, 1 if a picture could not be read."""

    def command() -> int:
        settings = Settings.from_args([], env)
        return _run(_parser(settings).parse_args(argv), settings)

    return exit_code_of(command)


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = picture_parser(
        "detect",
        "Print the boxes of things in pictures: name, score, and x0 y0 x1 y1 from 0 to 1 of the "
        "upright picture.",
    )
    parser.add_argument(
        "--detector",
        choices=DETECTOR_NAMES,
        default=settings.detector,
        help="default: SIGHTLINE_DETECTOR, or nanodet; the others are downloaded",
    )
    parser.add_argument(
        "--find",
        metavar="THING",
        action="append",
        default=[],
        help="what to find, for the detectors that find what a text names; can be repeated",
    )
    parser.add_argument("--all", action="store_true", help="doubtful boxes too")
    parser.add_argument(
        "--offline", action="store_true", default=settings.offline, help="never download"
    )
    return parser


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    detector = _load(arguments.detector, settings, arguments.offline)
    if arguments.find and detector.classes:
        raise SettingsError(f"{detector.name} finds its own things only: leave out --find.")

    def find(image: Image.Image) -> Findings:
        boxes = detector.detect(image, arguments.find)
        boxes = boxes if arguments.all else shown(boxes, detector.name)
        width = max((len(box.name) for box in boxes), default=0)
        records, rows = [], []
        for box in boxes:
            corners = (box.x0, box.y0, box.x1, box.y1)
            rounded = [round(number, 4) for number in corners]
            records.append({"name": box.name, "score": round(box.score, 4), "box": rounded})
            written = " ".join(f"{number:.3f}" for number in corners)
            rows.append(f"{box.name.ljust(width)}  {box.score:.2f}  {written}")
        return Findings({"boxes": records}, rows)

    return print_findings(arguments, find, "nothing found", detector=detector.name)


def _load(name: str, settings: Settings, offline: bool) -> Detector:
    if name == NO_DETECTOR:
        raise SettingsError(
            f"SIGHTLINE_DETECTOR is {NO_DETECTOR}. Choose --detector {' or '.join(DETECTOR_NAMES)}."
        )
    from tqdm import tqdm

    with tqdm(desc=name, unit="B", unit_scale=True, delay=0.5, leave=False) as bar:

        def show(progress: Any) -> None:
            bar.total = progress.total_bytes or None
            bar.set_postfix_str(progress.note, refresh=False)
            bar.update(progress.received_bytes - bar.n)

        return load_detector(name, device=settings.device, offline=offline, on_progress=show)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
