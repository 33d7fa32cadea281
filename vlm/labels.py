"""The command line of `python -m vlm.labels`: own labels, or aspects, of pictures in files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import get_args

from PIL import Image

from vlm.images.files import Findings, exit_code_of, picture_parser, print_findings
from vlm.models.candidates import settings_here
from vlm.models.loading import load_engine
from vlm.results import Scored
from vlm.scoring.aspects import aspects_of, aspects_task, read_aspects
from vlm.scoring.labels import LabelQuestion, Mode, read_labels
from vlm.settings import Settings
from vlm.types import Request, ScoreTask

_WIDTH = 10


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command; return the exit code, 1 if a picture could not be read."""

    def command() -> int:
        arguments = _parser().parse_args(argv)
        flags = ["--model", arguments.model] if arguments.model else []
        return _run(arguments, Settings.from_args(flags, env))

    return exit_code_of(command)


def _parser() -> argparse.ArgumentParser:
    parser = picture_parser(
        "labels",
        "Print how likely the model finds given labels of pictures, or what their aspects are.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--labels", metavar="A,B,...", help="labels with commas between; sofa|couch is one label"
    )
    what.add_argument("--aspects", action="store_true", help="place, light, people and others")
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        default="one",
        help="one: the labels exclude each other (default); many: each may fit or not",
    )
    parser.add_argument("--model", help="as for app.py (default: the best one here)")
    return parser


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    settings = settings_here(settings, "Labels need")
    labels = () if arguments.aspects else read_labels(arguments.labels)
    engine = load_engine(settings)
    asked = aspects_of(engine.info.model)
    question = LabelQuestion(labels, arguments.mode, engine.info.model)

    def scored(task: ScoreTask) -> Scored:
        result = engine.run(Request(task))
        assert isinstance(result, Scored), "the result of a ScoreTask"
        return result

    def find(image: Image.Image) -> Findings:
        if arguments.aspects:
            aspects = read_aspects(scored(aspects_task(image, asked)), asked)
            rows = [
                f"{aspect.id.ljust(_WIDTH)}{each.probability:6.3f}  {each.label}"
                for aspect in aspects.aspects
                for each in aspect.labels[:1]
            ]
            return Findings(asdict(aspects), rows)
        found = question.read(scored(question.task(image)))
        rows = [f"{each.probability:6.3f}  {each.label}" for each in found.labels]
        if found.none is not None:
            rows.append(f"{found.none:6.3f}  (none of them)")
        return Findings(asdict(found), rows)

    return print_findings(arguments, find, "nothing found", model=engine.info.model)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
