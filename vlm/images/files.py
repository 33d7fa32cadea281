"""Commands that print what a small model finds in the pictures of files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

from vlm.errors import BadImageError, ImageTooLargeError, SightlineError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image

# The exit code of shells for a command that Ctrl-C ended.
INTERRUPTED: Final = 130
_PICTURE_ERRORS: Final = (BadImageError, ImageTooLargeError, UnsupportedImageError)


class Findings(NamedTuple):
    """The findings in one picture, for programs and for people."""

    record: Mapping[str, Any]
    """Merged into the picture's object of the JSON."""
    lines: Sequence[str]
    """The rows of the table; none if nothing was found."""


def picture_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser for `python -m vlm.NAME FILE... [--json]`."""
    parser = argparse.ArgumentParser(prog=f"python -m vlm.{name}", description=description)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="JPEG, PNG, WebP or AVIF"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def exit_code_of(command: Callable[[], int]) -> int:
    """Return the exit code of `command`; print its SightlineError on stderr."""
    try:
        return command()
    except SightlineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED


def print_findings(
    arguments: argparse.Namespace,
    find: Callable[[Image.Image], Findings],
    nothing: str,
    **head: Any,
) -> int:
    """Print the findings in each file, and errors on stderr; return 1 if a file was no picture.

    `arguments` are those of `picture_parser`. `nothing` is printed for a picture without findings;
    `head` begins the object of the JSON.
    """
    exit_code = 0
    records: list[dict[str, Any]] = []
    for file in arguments.files:
        try:
            image = read_image(file)
        except _PICTURE_ERRORS as error:
            print(f"{file}: {error}", file=sys.stderr)
            exit_code = 1
            continue
        found = find(image)
        if arguments.json:
            records.append({"file": str(file), **found.record})
        else:
            print(f"{file}:" if found.lines else f"{file}: {nothing}")
            for line in found.lines:
                print(f"  {line}")
    if arguments.json:
        print(json.dumps({**head, "files": records}))
    return exit_code


def read_image(file: Path) -> Image.Image:
    """Return the picture in `file`, as `decode_image` does; raise its errors.

    Raise BadImageError too if the file cannot be read. A larger file than is taken is not read
    whole.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise BadImageError(f"It cannot be read: {error.strerror}.") from None
    return decode_image(data)
