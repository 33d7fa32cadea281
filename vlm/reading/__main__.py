"""The command line of `python -m vlm.reading`: the text in pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from PIL import Image

from vlm.images.files import Findings, exit_code_of, picture_parser, print_findings
from vlm.reading.reader import load_reader, read_mirrored


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code, 1 if a picture could not be read."""
    parser = picture_parser(
        "reading",
        "Print the lines of text in pictures, in reading order: score, x0 y0 x1 y1 from 0 to 1 of "
        "the upright picture, and the text.",
    )
    parser.add_argument(
        "--mirrored", action="store_true", help="the camera mirrors its pictures: turn them back"
    )
    return exit_code_of(lambda: _run(parser.parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    reader = load_reader()

    def find(image: Image.Image) -> Findings:
        lines = read_mirrored(reader, image) if arguments.mirrored else reader.read(image)
        records, rows = [], []
        for line in lines:
            box = [round(number, 4) for number in line.box]
            records.append({"text": line.text, "score": round(line.score, 4), "box": box})
            corners = " ".join(f"{number:.3f}" for number in line.box)
            rows.append(f"{line.score:.2f}  {corners}  {line.text}")
        return Findings({"lines": records}, rows)

    return print_findings(arguments, find, "no text")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
