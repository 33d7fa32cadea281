"""The command line of `python -m vlm.classify`: what pictures show, by the classifier alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from PIL import Image

from vlm.classify.classifier import load_classifier
from vlm.images.files import Findings, exit_code_of, picture_parser, print_findings


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code, 1 if a picture could not be read."""
    parser = picture_parser(
        "classify",
        "Print what pictures show: names with their probability and kind, and the place if two "
        "things at least speak for it.",
    )
    return exit_code_of(lambda: _run(parser.parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    classifier = load_classifier()

    def find(image: Image.Image) -> Findings:
        labels = classifier.classify(image)
        width = max((len(label.name) for label in labels), default=0)
        things = [
            {"name": each.name, "probability": round(each.probability, 4), "kind": each.kind}
            for each in labels
        ]
        return Findings(
            {"things": things},
            [f"{each.name.ljust(width)}  {each.probability:.2f}  {each.kind}" for each in labels],
        )

    return print_findings(arguments, find, "nothing that the classifier is sure of")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
